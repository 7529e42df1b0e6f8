"""The folder of a run: what it is called, which files it has, and how one that was begun is found."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from core.errors import VortexError
from pipelines.workspace import Workspace

PLAN, LOCK = "plan.json", ".lock"
"""Whoever trains the run holds the lock."""
START: Final = "start.safetensors"
"""Weights that a stage starts from, in the stage's folder."""
WEIGHTS: Final = "*.safetensors"
"""Checkpoints, their optimiser states, and the weights that a stage starts from."""
STAGING: Final = ".*.staging"
"""What files and folders are called before they are whole (`core.files`)."""


def runs_folder(ws: Workspace) -> Path:
    """The folder of all runs of a workspace."""
    return ws.build / "runs"


def run_folder(ws: Workspace, name: str) -> Path:
    """The folder of a run that was begun. Raises VortexError naming those there are."""
    folders = [path.parent for path in runs_folder(ws).glob(f"*/{PLAN}")]
    folder = next((folder for folder in folders if folder.name == name), None)
    if folder is None:
        newest = sorted(folders, key=lambda folder: folder.stat().st_mtime, reverse=True)[:10]
        runs = ", ".join(folder.name for folder in newest) or "none"
        raise VortexError(f"unknown run {name[:100]!r}; runs of this workspace: {runs}", "see them with: vortex runs")
    return folder


def sweep(leftovers: Iterable[Path]) -> None:
    """Remove what a killed process was still writing."""
    for path in list(leftovers):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
