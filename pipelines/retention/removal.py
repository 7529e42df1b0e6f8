"""Remove what nothing needs: each thing looked at once more, under the lock of whoever could begin to need it."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import VortexError
from core.files import locked
from core.progress import Progress
from pipelines.pack.preparing import packs_folder
from pipelines.retention.survey import DAY_S, RECENT, Item, measured, survey
from pipelines.runs.folder import LOCK, runs_folder
from pipelines.workspace import Workspace
from registry.artifacts import removal_lock

PATIENCE_S = 1.0
"""How long another process may hold a lock before what it locks is left for another time."""


@dataclass(frozen=True)
class Cleaning:
    """What goes or went, what stays, and what could not be removed, with the reason."""

    applied: bool
    going: tuple[Item, ...]
    staying: tuple[Item, ...]
    failed: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """What going frees."""
        return sum(item.bytes for item in self.going)

    def reasons(self) -> list[tuple[str, int, int]]:
        """Why things stay: reason, how many, bytes; the largest first."""
        counts, sizes = Counter[str](), Counter[str]()
        for item in self.staying:
            counts[item.stays] += 1
            sizes[item.stays] += item.bytes
        return [(reason, counts[reason], size) for reason, size in sizes.most_common()]


def clean(ws: Workspace, *, apply: bool = False, older_s: float = DAY_S, on_item: Progress | None = None) -> Cleaning:
    """Survey the workspace and, with `apply`, remove what nothing needs. Repeated after a kill it goes on.

    Raises VortexError, having removed nothing, where the ledger's chain is broken.
    """
    items = survey(ws, older_s)
    going = [item for item in items if not item.stays]
    staying = [item for item in items if item.stays]
    if not apply:
        return Cleaning(False, tuple(going), tuple(staying))
    removed, failed = [], []
    for count, item in enumerate(going, 1):
        try:
            with _turn(ws, item):
                reason = _still_needed(item, older_s)
                if reason:
                    staying.append(Item(item.path, item.kind, item.bytes, reason))
                else:
                    _remove(item.path)
                    removed.append(item)
        except (VortexError, OSError) as error:
            failed.append(f"{item.path}: {error.message if isinstance(error, VortexError) else error.strerror or error}")
        if on_item:
            on_item(count, len(going))
    return Cleaning(True, tuple(removed), tuple(staying), tuple(failed))


@contextmanager
def _turn(ws: Workspace, item: Item) -> Iterator[None]:
    """Hold the lock under which others begin to use such a thing. Raises VortexError where another process has it."""
    if item.kind == "artifact" and isinstance(ws.artifact_root, Path):
        lock = removal_lock(ws.artifact_root)
    elif item.path.is_relative_to(runs_folder(ws)):
        lock = runs_folder(ws) / item.path.relative_to(runs_folder(ws)).parts[0] / LOCK
    elif item.kind == "pack":
        lock = packs_folder(ws) / f".{item.path.name.rsplit('-', 2)[0]}.lock"
    else:
        yield
        return
    with locked(lock, PATIENCE_S):
        yield


def _still_needed(item: Item, older_s: float) -> str:
    """Why it has come to be needed since the survey; empty where it has not."""
    # Whoever stores an artifact anew touches it under this lock, so a touch shows that an event is about to name it.
    return RECENT if time.time() - measured(item.path)[1] < older_s else ""


def _remove(path: Path) -> None:
    """Remove a file, or a folder that nobody can take for whole while it goes."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        _remove_empty(path.parent)
        return
    going = path.with_name(f".{path.name.strip('.')}.{uuid.uuid4().hex[:8]}.staging")
    os.rename(path, going)
    shutil.rmtree(going)


def _remove_empty(folder: Path) -> None:
    """A folder that was called after the content of its only file."""
    if len(folder.name) == 64 and not any(folder.iterdir()):
        folder.rmdir()
