"""How a folder of frames gets into `data/`, or a new state of one replaces it: staged, flushed, renamed and versioned, or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import VortexError
from core.files import flush, flush_tree, read_text_of_user, sha256_file, write_atomic
from pipelines.data.pointer import pointer, restore
from pipelines.data.versioning import add, data_lock, refuse_to_forget, refuse_unversionable
from pipelines.workspace import NAME, Workspace, check_name
from validation.manifest import MANIFEST, read_manifest

STAGING: Final = ".vortex-staging"
REPLACED: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}\.[0-9a-f]{8}\.replaced")
"""Where the old state of a dataset waits until the new one is versioned. Never swept while a journal names it."""
_NO_LINKS: Final = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class _Journal:
    """What is under way: the dataset, what `data.dvc` held before, and for a revision the folder that holds its old state."""

    name: str
    pointer: str | None
    old: str | None = None


def refuse_existing(ws: Workspace, name: str) -> None:
    """Raise VortexError when `name` cannot be a new dataset: not a name, or taken."""
    check_name("dataset", name)
    refuse_unversionable(ws)
    settle(ws)
    root = ws.data / name
    if root.exists() or root.is_symlink():
        raise VortexError(
            f"{root}: this dataset exists already; nothing is ever overwritten",
            f"choose another name, or first remove it with: rm -r {root}",
        )


def staging_folder(ws: Workspace, name: str) -> Path:
    """A folder that a rename can move into `data/`; those that dead processes of this machine left behind are swept."""
    ws.data.mkdir(parents=True, exist_ok=True)
    ws.build.mkdir(parents=True, exist_ok=True)
    folder = _staging_place(ws)
    host = socket.gethostname()
    for leftover in folder.glob(f"*@{host}@*"):
        process = leftover.name.rsplit("@", 2)[-1]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(leftover, ignore_errors=True)
    return folder / f"{name}.{uuid.uuid4().hex[:8]}@{host}@{os.getpid()}"


def _staging_place(ws: Workspace) -> Path:
    """A folder on the file system of `data/`: only there is the move into it one rename."""
    device = ws.data.stat().st_dev
    if ws.build.stat().st_dev == device:
        return ws.build / "staging"
    if ws.data.parent.stat().st_dev == device:
        return ws.data.parent / STAGING
    # data/ is a mount of its own. DVC reads what to leave out from a file beside it, never from inside.
    ignore = ws.data.parent / ".dvcignore"
    entry = f"/{ws.data.name}/{STAGING}"
    lines = read_text_of_user(ignore).splitlines() if ignore.exists() else []
    if entry not in lines:
        write_atomic(ignore, "\n".join([*lines, entry]) + "\n")
    return ws.data / STAGING


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _journal(ws: Workspace) -> Path:
    return ws.build / "data-publish.json"


def publish(ws: Workspace, name: str, staging: Path) -> None:
    """Rename a staged folder into `data/` and version. On any failure `data/` and `data.dvc` are as they were.

    A journal lets the next command undo what a process that was killed left between the two.
    """
    flush_tree(staging)
    with data_lock(ws):
        _publish(ws, name, staging)


def _publish(ws: Workspace, name: str, staging: Path) -> None:
    _undo(ws)
    refuse_existing(ws, name)
    refuse_to_forget(ws)
    _begin(ws, name)
    try:
        os.rename(staging, ws.data / name)
        flush(ws.data)
        add(ws)
    except BaseException:
        _undo(ws)
        raise
    _end(ws)


def revise(ws: Workspace, name: str, staging: Path, *, base: str | None = None) -> None:
    """Replace dataset `name` by its new state and version it: afterwards it is the old one or the new one, never a mixture.

    `staging`, a folder that `staging_folder` named, holds `manifest.jsonl`, `dataset.json` and the new files at their places. All
    other files of the dataset are taken over by hard links, except those that only the old manifest names. `base` is the SHA-256 of
    the manifest that the revision was made from. Raises VortexError when that is no longer the dataset's, when the dataset is gone,
    or when DVC refuses; `data/` and `data.dvc` are then as they were, and a journal lets the next command undo what a kill left.
    """
    root = ws.data / name
    flush_tree(staging)
    with data_lock(ws):
        _undo(ws)
        refuse_unversionable(ws)
        refuse_to_forget(ws)
        if not (root / MANIFEST).is_file() or (base is not None and sha256_file(root / MANIFEST) != base):
            raise VortexError(
                f"dataset {name!r} was changed or removed by another command meanwhile; nothing was published",
                "run the command again: it begins with the dataset as it is now",
            )
        paths = [{path for frame in read_manifest(at / MANIFEST) for path in frame.files().values()} for at in (root, staging)]
        _take_over(root, staging, paths[0] - paths[1])
        for leftover in staging.parent.glob("*.replaced"):  # of a revision that was published, and killed before it cleaned up
            shutil.rmtree(leftover, ignore_errors=True)
        old = staging.parent / f"{name}.{uuid.uuid4().hex[:8]}.replaced"
        _begin(ws, name, old.name)
        try:
            os.rename(root, old)
            os.rename(staging, root)
            flush(ws.data)
            flush(old.parent)
            add(ws)
        except BaseException:
            _undo(ws)
            raise
        _end(ws)
        shutil.rmtree(old, ignore_errors=True)


def _take_over(root: Path, staging: Path, without: Collection[str]) -> None:
    """Link every file of `root` into `staging`, except `without` and what is there already. Links stay links."""

    def refuse(error: OSError) -> None:
        raise error  # what cannot be listed would be lost

    for folder, below, names in os.walk(root, onerror=refuse):
        here = Path(folder).relative_to(root)
        linked = [name for name in below if Path(folder, name).is_symlink()]
        for name in [*names, *linked]:
            if (here / name).as_posix() in without or os.path.lexists(staging / here / name):
                continue
            (staging / here).mkdir(parents=True, exist_ok=True)
            link(Path(folder, name), staging / here / name)
        if (staging / here).is_dir():
            flush(staging / here)


def link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the file system has no hard links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target, follow_symlinks=False)
        if not target.is_symlink():
            flush(target)


def settle(ws: Workspace) -> None:
    """Undo what a killed command left half done; one that still runs holds the lock and is left alone."""
    if not _journal(ws).exists():
        return
    from filelock import FileLock, Timeout

    try:
        with FileLock(ws.build / "data.lock", timeout=0):
            _undo(ws)
    except Timeout:
        return


def pending(ws: Workspace) -> str | None:
    """Name of the dataset that another process is adding right now. One that is being revised is there, whole, all the time."""
    entry = _read_journal(ws)
    return entry.name if entry and entry.old is None else None


def _begin(ws: Workspace, name: str, old: str | None = None) -> None:
    before = pointer(ws).read_bytes() if pointer(ws).exists() else None
    note = {"name": name, "pointer": None if before is None else before.decode()}
    write_atomic(_journal(ws), json.dumps(note if old is None else {**note, "old": old}))


def _end(ws: Workspace) -> None:
    _journal(ws).unlink()
    # A note that a power cut brought back would undo what was published.
    flush(ws.build)


def _read_journal(ws: Workspace) -> _Journal | None:
    """What is under way. Raises VortexError for a journal that says something else."""
    path = _journal(ws)
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        name, before, old = note["name"], note["pointer"], note.get("old")
        if NAME.fullmatch(name) and (before is None or isinstance(before, str)) and (old is None or REPLACED.fullmatch(old)):
            return _Journal(name, before, old)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Written whole or not at all: only a damaged disk or a person gets here.
        raise _damaged(path) from error
    raise _damaged(path)


def _damaged(path: Path) -> VortexError:
    return VortexError(
        f"{path}: is not the note of an interrupted `vortex data add` or `vortex label`, so that cannot be undone",
        "compare data/ with `dvc status`, then remove the note and run the command again",
    )


def _undo(ws: Workspace) -> None:
    entry = _read_journal(ws)
    if entry is None:
        return
    root, old = ws.data / entry.name, _staging_place(ws) / (entry.old or "")
    # A revision that did not come to its first rename left the dataset where it is.
    if root.exists() and (entry.old is None or old.exists()):
        trash = staging_folder(ws, entry.name)
        trash.parent.mkdir(parents=True, exist_ok=True)
        os.rename(root, trash)
        shutil.rmtree(trash, ignore_errors=True)
    if entry.old is not None and old.exists():
        os.rename(old, root)
        flush(ws.data)
    restore(pointer(ws), None if entry.pointer is None else entry.pointer.encode())
    _end(ws)
