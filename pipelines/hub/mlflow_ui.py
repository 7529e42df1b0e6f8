"""MLflow's own pages over the workspace's store, for as long as somebody looks at them: one light server, on this machine alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import VortexError
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry import database

HOST: Final = "127.0.0.1"
"""Whoever reaches an MLflow server without a password may write to its store, and read any file that it can: it is bound to loopback."""
PORT: Final = 5000
PATIENCE_S: Final = 120.0
"""How long a server may take to answer for the first time: it imports MLflow twice."""
FAREWELL_S: Final = 5.0
KEEPER: Final = f"""
exec 3<&0
{{ trap '' TERM; cat <&3 >/dev/null; kill -TERM 0; sleep {FAREWELL_S:.0f}; kill -KILL 0; }} &
"$@" 3<&- </dev/null & server=$!
trap '' TERM
wait $server
"""
"""A shell that runs the server, and ends it and its workers when its own input ends: kill -9 of this process, too, closes that pipe."""
LIGHT: Final = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    # A folder `models/` where the command is run is not MLflow's business.
    "PYTHONSAFEPATH": "1",
}
"""With these and one worker it is 2 processes and 0.4 GB; by itself MLflow starts 15 and takes 2.3 GB (measured with 3.17)."""


@dataclass(frozen=True)
class Server:
    """A running server. `log` has what it says."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> None:
        """Until it ends by itself. Raises VortexError then: it was not asked to."""
        # Not `process.wait`: a library that MLflow imports has SIGINT's system calls begun again, and Ctrl-C would be heard by nobody.
        while self.process.poll() is None:
            time.sleep(0.2)
        raise VortexError(f"MLflow's server ended by itself: {_last_line(self.log)}", f"all that it said is in {self.log}")


def external_address(ws: Workspace) -> str | None:
    """Where MLflow's pages are already: the server that `tracking_uri` names; None for a database."""
    return str(ws.tracking_uri) if ws.tracking_uri.reveal().startswith(("http://", "https://")) else None


@contextmanager
def served(ws: Workspace, port: int = PORT) -> Iterator[Server]:
    """MLflow's server over the workspace's store while the block runs; `port` 0 is any free one.

    It ends with the block, also where SIGTERM or SIGHUP ends this process. Raises VortexError when the port is taken, the store cannot
    be opened, or the server does not start.
    """
    port = _free_port(port)
    _ = hub(ws).store  # several processes that create or migrate a store at once would spoil it: it is done here, under the lock
    log = ws.build / "ui" / f"mlflow-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    with log.open("wb") as output, _ended_by_signals():
        process = subprocess.Popen(
            ["sh", "-c", KEEPER, "sh", *command],
            env=_environment(ws),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            server = Server(f"http://{HOST}:{port}", process, log)
            _await(server)
            yield server
        finally:
            _end(process)


def _free_port(port: int) -> int:
    """The port, or a free one for 0. Raises VortexError when it is taken."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise VortexError(
                f"port {port} of {HOST} cannot be had: {error.strerror}", "name another one with --port, or any free one with --port 0"
            ) from error
        return int(probe.getsockname()[1])


def _environment(ws: Workspace) -> Mapping[str, str]:
    """This process's, without settings of MLflow's that would put the server elsewhere. The store is no argument: others read those."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "_MLFLOW_")) or name.startswith("MLFLOW_S3_")
    }
    root = ws.artifact_root
    location = root.absolute().as_uri() if isinstance(root, Path) else root
    return own | LIGHT | {"MLFLOW_BACKEND_STORE_URI": database.for_sqlalchemy(ws.tracking_uri), "MLFLOW_DEFAULT_ARTIFACT_ROOT": location}


def _await(server: Server) -> None:
    """Until it answers. Raises VortexError when it ends before, or takes too long."""
    # A proxy of the environment is for other hosts.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise VortexError(f"MLflow's server did not start: {_last_line(server.log)}", f"all that it said is in {server.log}")
        try:
            with opener.open(f"{server.address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise VortexError(f"MLflow's server did not answer within {PATIENCE_S:.0f} s", f"what it said is in {server.log}")


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A signal that would end this process at once ends the block instead, so that no server stays behind."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and its worker: they are a session of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(FAREWELL_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
