"""MLflow's pages over the workspace's store. That they answer, on loopback alone, and end with Ctrl-C, `make bench-deciding` asks."""

from __future__ import annotations

import re
import socket
from contextlib import closing

import pytest
from typer.testing import CliRunner

from core.errors import VortexError
from pipelines.hub.mlflow_ui import served
from pipelines.workspace import FILE, Workspace, load
from vortex_cli.app import app


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
