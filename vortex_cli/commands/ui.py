"""`vortex ui`: MLflow's own pages over the workspace's store."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from vortex_cli import console


def ui(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0 is any free one.")] = 5000,
) -> None:
    """Show runs, curves and models in MLflow's own pages, on this machine alone, until Ctrl-C.

    They read and write the MLflow store of this workspace, never the ledger: what is changed there is no fact of Vortex, and
    `vortex audit verify --mlflow` says what differs. Where `tracking_uri` is a server, its address is said and nothing is started.

    Example: vortex ui --port 5000
    """
    from pipelines.hub.mlflow_ui import external_address, served

    ws = console.workspace()
    address = external_address(ws)
    if address is not None:
        console.emit({"address": address, "log": None}, f"MLflow's pages of this workspace are at {address}")
        return
    try:
        with served(ws, port) as server:
            console.emit({"address": server.address, "log": server.log}, f"MLflow's pages are at {server.address} until Ctrl-C")
            sys.stdout.flush()
            server.wait()
    except KeyboardInterrupt:
        console.note("stopped")
