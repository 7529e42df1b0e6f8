"""What several test processes need and none changes: the first one makes it, the others wait for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.files import locked

PATIENCE = 900.0
"""Seconds that it may take: half a minute on an idle machine, minutes where others work too."""


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` filled, in this process or in another one of the same tests. It is copied, not written to."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made-once" / name
    whole = folder.with_suffix(".whole")
    with locked(folder.with_suffix(".lock"), PATIENCE):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder
