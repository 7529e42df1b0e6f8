"""MLflow's pages over the workspace's store: they answer on loopback, end with Ctrl-C, and stay out of the way of other servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import VortexError
from pipelines.hub.mlflow_ui import served
from pipelines.workspace import FILE, Workspace, load
from vortex_cli.app import app


def test_the_pages_answer_on_loopback_until_ctrl_c(workspace: Workspace, fresh_store: Path) -> None:
    shutil.copytree(fresh_store, workspace.root / "mlruns", dirs_exist_ok=True)
    # What would put the server on every interface elsewhere does not do so here.
    environment = os.environ | {"MLFLOW_HOST": "0.0.0.0", "MLFLOW_UVICORN_OPTS": "--host 0.0.0.0", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "vortex_cli.main", "ui", "--port", "0"],
        cwd=workspace.root,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        # A shell that starts a command in the background has it ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    assert process.stdout
    try:
        line = process.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+) ", line)[1])  # type: ignore[index]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/", timeout=10) as page:
            assert b"<title>MLflow</title>" in page.read()
        query = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search", b'{"max_results": 10}', {"content-type": "application/json"}
        )
        with opener.open(query, timeout=10) as answer:
            names = [experiment["name"] for experiment in json.load(answer)["experiments"]]
        assert "vortex" in names
        listening = [row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines() if row.split()[3] == "0A"]
        assert f"0100007F:{port:04X}" in listening and f"00000000:{port:04X}" not in listening
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0
    with closing(socket.socket()) as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", port))


def test_a_port_that_is_taken_is_said_before_anything_is_started(workspace: Workspace) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(VortexError, match=rf"port {port} of 127\.0\.0\.1 cannot be had: Address already in use") as caught,
            served(workspace, port),
        ):
            pass
    assert "--port 0" in caught.value.hint


def test_a_server_that_is_there_already_is_named_without_its_password(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workspace.root / FILE
    path.write_text(re.sub(r"(?m)^#? ?tracking_uri.*$", "", path.read_text()))
    path.write_text('tracking_uri = "https://ada:secret@mlflow.example:8443"\n' + path.read_text())
    monkeypatch.chdir(load(workspace.root).root)
    result = CliRunner().invoke(app, ["ui"])
    assert result.exit_code == 0 and "MLflow's pages of this workspace are at https://" in result.output
    assert "mlflow.example:8443" in result.output and "secret" not in result.output
