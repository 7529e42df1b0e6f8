"""How a folder of frames gets into `data/`: staged, flushed, renamed and versioned, or, whatever happens, not at all."""

from __future__ import annotations

import json
import os
import shutil
import socket
import uuid
from pathlib import Path
from typing import Final

from core.errors import VortexError
from core.files import flush, flush_tree, write_atomic
from pipelines.data.versioning import add, data_lock, pointer, refuse_to_forget, refuse_unversionable, restore
from pipelines.workspace import NAME, Workspace, check_name

STAGING: Final = ".vortex-staging"


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
    for left in folder.glob(f"*@{host}@*"):
        process = left.name.rsplit("@", 2)[-1]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(left, ignore_errors=True)
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
    lines = ignore.read_text(encoding="utf-8").splitlines() if ignore.exists() else []
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
    before = pointer(ws).read_bytes() if pointer(ws).exists() else None
    write_atomic(_journal(ws), json.dumps({"name": name, "pointer": None if before is None else before.decode()}))
    try:
        os.rename(staging, ws.data / name)
        flush(ws.data)
        add(ws)
    except BaseException:
        _undo(ws)
        raise
    _journal(ws).unlink()


def settle(ws: Workspace) -> None:
    """Undo what a killed `data add` left half done; one that still runs holds the lock and is left alone."""
    if not _journal(ws).exists():
        return
    from filelock import FileLock, Timeout

    try:
        with FileLock(ws.build / "data.lock", timeout=0):
            _undo(ws)
    except Timeout:
        return


def pending(ws: Workspace) -> str | None:
    """Name of the dataset that another process is publishing right now."""
    entry = _read_journal(ws)
    return entry and entry[0]


def _read_journal(ws: Workspace) -> tuple[str, str | None] | None:
    """The dataset under way, and what `data.dvc` held before it. Raises VortexError for a journal that says something else."""
    path = _journal(ws)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        name, before = said["name"], said["pointer"]
        if NAME.fullmatch(name) and (before is None or isinstance(before, str)):
            return name, before
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        # Written whole or not at all: only a damaged disk or a person gets here.
        raise _damaged(path) from error
    raise _damaged(path)


def _damaged(path: Path) -> VortexError:
    return VortexError(
        f"{path}: is not the note of an interrupted `vortex data add`, so that cannot be undone",
        "compare data/ with `dvc status`, then remove the note and run the command again",
    )


def _undo(ws: Workspace) -> None:
    entry = _read_journal(ws)
    if entry is None:
        return
    name, before = entry
    if (ws.data / name).exists():
        trash = staging_folder(ws, name)
        trash.parent.mkdir(parents=True, exist_ok=True)
        os.rename(ws.data / name, trash)
        shutil.rmtree(trash, ignore_errors=True)
    restore(pointer(ws), None if before is None else before.encode())
    _journal(ws).unlink()
