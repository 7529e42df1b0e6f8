"""`data/` and its pointer `data.dvc`, through DVC's own library: quiet, offline, and with one clear error when DVC says no."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import VortexError
from core.files import locked
from pipelines.data import contents
from pipelines.data.pointer import EMPTY_DIR, data_hash, pointer, restore
from pipelines.data.repository import repository
from pipelines.data.switch import settle_locked
from pipelines.workspace import Workspace


def version(ws: Workspace) -> str:
    """Version `data/` as it is now: add it to DVC's cache, write `data.dvc`, return its `.dir` hash."""
    with data_lock(ws):
        refuse_to_forget(ws)
        return add(ws)


def refuse_unversionable(ws: Workspace) -> None:
    """Raise VortexError where DVC could not version `data/`, before any work is done for it."""
    if ws.data.is_symlink() or not ws.data.resolve().is_relative_to(ws.root.resolve()):
        raise VortexError(
            f"{ws.data}: is a link or lies outside {ws.root}, and DVC versions neither",
            "make it a folder of the workspace (another disk may be mounted there); "
            "`dvc cache dir DIR` moves the second copy that DVC keeps of the frames",
        )


def refuse_to_forget(ws: Workspace) -> None:
    """Raise VortexError when `data/` was never fetched: the next version would record that all its frames are gone.

    Somebody who removed the frames here still has their listing in DVC's cache, and may go on.
    """
    recorded = data_hash(ws)
    if recorded in (None, EMPTY_DIR) or any(ws.data.glob("*/dataset.json")):
        return
    with repository(ws) as repo:
        here = repo.cache.local.exists(recorded)
    if not here:
        raise VortexError(
            f"{pointer(ws)} records frames that are not here: adding now would drop them from the next version",
            "fetch them first with: vortex data pull",
        )


def add(ws: Workspace) -> str:
    """`dvc add data`; the caller holds `data_lock`. Raises VortexError when DVC refuses; the pointer is then as it was."""
    path = pointer(ws)
    before = path.read_bytes() if path.exists() else None
    ws.data.mkdir(parents=True, exist_ok=True)
    started = time.time()
    try:
        with repository(ws) as repo:
            contents.require_all(ws, repo)
            repo.add([str(ws.data)])
            hash_ = data_hash(ws)
            if hash_ is None:
                raise VortexError(f"{path}: DVC did not write it", "look at `dvc add data` in the workspace")
            _check_cache(ws, repo.cache.local, hash_, started)
            if contents.tree(ws, repo).hash_info.value != hash_:
                raise VortexError(
                    f"{ws.data}: holds other files than DVC versioned; {path.name} is as it was",
                    "is something else writing there? run the command again when it has ended",
                )
    except BaseException:
        restore(path, before)
        raise
    return hash_


def unversioned_changes(ws: Workspace) -> bool | None:
    """Whether `data/` is not what `data.dvc` records: somebody changed frames behind Vortex's back.

    None where that cannot be known: DVC keeps notes while it looks, which a read-only workspace does not let it.
    """
    recorded = data_hash(ws)
    present = ws.data.is_dir() and any(files for _, _, files in os.walk(ws.data))
    if recorded in (None, EMPTY_DIR):
        return present
    try:
        with repository(ws) as repo:
            return present is False or contents.tree(ws, repo).hash_info.value != recorded
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        return None


@contextmanager
def data_lock(ws: Workspace, timeout: float = 600.0) -> Iterator[None]:
    """Only one process at a time changes `data/` and `data.dvc`; a large set takes minutes to hash.

    What a killed one left half done is undone first, so that whoever holds the lock sees one version and no mixture of two.
    """
    with locked(ws.build / "data.lock", timeout):
        settle_locked(ws)
        yield


def _check_cache(ws: Workspace, cache: Any, hash_: str, started: float) -> None:
    """Compare the size of every cached object with its file's, for DVC does not: measured on a full disk, it reports success.

    What DVC left cut short is removed, or the next `dvc add` would take it for whole. Raises VortexError when anything is missing.
    """
    if hash_ == EMPTY_DIR:
        return
    listing = Path(cache.oid_to_path(hash_))
    entries: list[dict[str, str]] = []
    with suppress(OSError, ValueError):
        entries = json.loads(listing.read_bytes())
    pairs = [(Path(cache.oid_to_path(entry["md5"])), ws.data / entry["relpath"]) for entry in entries]
    damaged = [object_ for object_, file in pairs if not object_.exists() or object_.stat().st_size != file.stat().st_size]
    if pairs and not damaged:
        return
    for object_ in damaged:
        object_.unlink(missing_ok=True)
    for folder in {object_.parent for object_ in damaged}:
        for partial in folder.glob(".*.tmp"):
            if partial.stat().st_mtime >= started:  # since then the lock was ours, so it is nobody else's
                partial.unlink()
    full = shutil.disk_usage(ws.root).free < 1 << 20 or shutil.disk_usage(listing.parents[1]).free < 1 << 20
    what = "no space left on the disk" if full else f"{len(damaged) or 'all'} files did not reach DVC's cache"
    raise VortexError(f"DVC cannot version {ws.data}: {what}; {pointer(ws).name} is as it was", "free some space and run the command again")
