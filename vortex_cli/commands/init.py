"""`vortex init`: make a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex_cli import console


def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; made when it does not exist.")] = Path()) -> None:
    """Make a workspace: vortex.toml, data/ under DVC, and mlruns/ for the embedded registry.

    What already exists is kept, so it is safe to run again.

    Example: vortex init robots
    """
    from pipelines.init import init as make

    ws = make(folder)
    console.emit(
        {"workspace": ws.root, "tracking_uri": ws.tracking_uri, "ledger": ws.ledger_url, "domains": sorted(ws.config.domains)},
        f"workspace ready: {ws.root}",
        "next: put frames in with `vortex data add` or `vortex data synth`, and see `vortex doctor`",
    )
