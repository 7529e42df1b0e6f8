"""How `data/` goes from one version to another: file by file, with a note from which a kill at any moment is undone.

Where the exams of `vortex.toml` follow, they are written last and in one step: from then on the change is complete, and is not undone.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import VortexError
from core.files import staged_file, write_atomic
from core.progress import Progress
from pipelines.data.exam_names import exams_with, rename_in_exams
from pipelines.data.listings import Listing, cache_path, file_counts, missing_files, present
from pipelines.data.pointer import EMPTY_DIR, pointer, restore
from pipelines.data.repository import repository
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from dvc.repo import Repo

_STAGED: Final = re.compile(r"\..+\.[0-9a-f]{8}\.staging")
_KEYS: Final = {"pointer", "before", "after"}
_EXAMS: Final = "exams"
"""Key of a note, where exams follow: the name that they have, and the one that they get."""


def switch(
    ws: Workspace, repo: Repo, goal: Listing, on_file: Progress | None = None, exams: tuple[str, str] | None = None
) -> tuple[int, int]:
    """Make `data/` and `data.dvc` what `goal` says, and return how many files were written and removed.

    `exams` is a name that they have and the one that they get.

    The caller holds `data_lock`, and has made sure that nothing in `data/` would be lost and that DVC's cache holds all of `goal`.
    On any failure both are put back as they were. A killed one leaves a note, by which the next command puts them back.
    """
    before = present(repo, ws)
    path = pointer(ws)
    note = {
        "pointer": path.read_text(encoding="utf-8") if path.exists() else None,
        "before": before.files,
        "after": goal.files,
        _EXAMS: exams,
    }
    if before.files == goal.files:
        write_atomic(path, _pointer_text(ws, repo, goal))
        return 0, 0
    missing = missing_files(repo, before)
    if missing:
        raise VortexError(
            f"{ws.data}: {file_counts(missing)} would be lost, for nothing else has them; nothing was changed",
            "keep them with `dvc add data`, or move them away, and run the command again",
        )
    write_atomic(journal(ws), json.dumps(note))
    try:
        counts = _apply(ws, repo, before.files, goal.files, on_file)
        result = present(repo, ws)
        if result.files != goal.files:
            wrong = {name for name in result.files.keys() | goal.files.keys() if result.files.get(name) != goal.files.get(name)}
            raise VortexError(
                f"{ws.data}: {file_counts(wrong)} are not what DVC's cache should hold; data/ is as it was",
                "remove .dvc/cache/files and fetch it again with: vortex data pull",
            )
        write_atomic(path, _pointer_text(ws, repo, goal))
        if exams:
            rename_in_exams(ws, *exams)
    except BaseException:
        _back(ws, repo)
        raise
    journal(ws).unlink()
    return counts


def settle(ws: Workspace) -> None:
    """Undo what a killed `vortex data checkout`, `pull`, `remove` or `rename` left half done. Raises VortexError while one still runs."""
    if not journal(ws).exists():
        return
    from filelock import FileLock, Timeout

    try:
        with FileLock(ws.build / "data.lock", timeout=0):
            settle_locked(ws)
    except Timeout as error:
        raise VortexError(
            f"{ws.data}: another vortex process is changing it to another version right now",
            "wait for it to finish, and run the command again",
        ) from error


def settle_locked(ws: Workspace) -> None:
    """The same for a caller that holds `data_lock`."""
    if journal(ws).exists():
        with repository(ws) as repo:
            _back(ws, repo)


def journal(ws: Workspace) -> Path:
    """The note of a change under way: what `data/` and `data.dvc` were, and what they are to be."""
    return ws.build / "data-switch.json"


def _apply(ws: Workspace, repo: Repo, now: dict[str, str], goal: dict[str, str], on_file: Progress | None = None) -> tuple[int, int]:
    """Remove what `goal` has not, then write what it has otherwise: each file whole, and on the disk, before it gets its name."""
    removals = sorted(now.keys() - goal.keys())
    writes = sorted(name for name, md5 in goal.items() if now.get(name) != md5)
    for name in removals:
        (ws.data / name).unlink(missing_ok=True)
    _remove_empty_folders(ws, removals)

    def bring(name: str) -> None:
        with staged_file(ws.data / name) as staging:
            _copy(cache_path(repo, goal[name]), staging)

    ws.data.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(8)
    try:
        for number, _ in enumerate(pool.map(bring, writes), 1):
            if on_file:
                on_file(number, len(writes))
    finally:
        pool.shutdown(cancel_futures=True)
    return len(writes), len(removals)


def _remove_empty_folders(ws: Workspace, names: Iterable[str]) -> None:
    """Remove the folders that held these files, where they hold nothing any more."""
    folders = {folder for name in names for folder in (ws.data / name).parents if folder.is_relative_to(ws.data) and folder != ws.data}
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):  # it still holds something, so it stays; or it was never made
            folder.rmdir()


def _copy(source: Path, target: Path) -> None:
    """A copy, or where the file system has them a reflink: never a hard link, or changing a frame would change the cache."""
    from dvc_objects.fs.local import localfs

    try:
        localfs.reflink(str(source), str(target))
    except OSError:
        shutil.copyfile(source, target)
    else:
        target.chmod(0o644)


def _back(ws: Workspace, repo: Repo) -> None:
    """Put `data/` and `data.dvc` back to what the note says they were, unless the change was complete. Raises VortexError when somebody changed data/ since."""
    pointer_text, before, after, exams = _read(ws)
    if exams and exams_with(ws, exams[1]) and not exams_with(ws, exams[0]):
        journal(ws).unlink()
        return
    now = present(repo, ws).files
    staged = [name for name in now if name not in before and name not in after and _STAGED.fullmatch(Path(name).name)]
    for name in staged:
        (ws.data / name).unlink()
        del now[name]
    ours = {name for name, md5 in now.items() if md5 in (before.get(name), after.get(name))}
    foreign = sorted(now.keys() - ours)
    if foreign:
        raise VortexError(
            f"{ws.data}: a change to another version was cut short, and since then {file_counts(foreign)} changed",
            "move them out of data/ and run the command again; it then puts data/ back as it was before that change",
            foreign[:10],
        )
    _apply(ws, repo, now, before)
    _remove_empty_folders(ws, after.keys() - before.keys())  # of files that were never whole there
    restore(pointer(ws), None if pointer_text is None else pointer_text.encode())
    journal(ws).unlink()


def _read(ws: Workspace) -> tuple[str | None, dict[str, str], dict[str, str], tuple[str, str] | None]:
    path = journal(ws)
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        if set(note) - {_EXAMS} == _KEYS and isinstance(note["before"], dict) and isinstance(note["after"], dict):
            return note["pointer"], note["before"], note["after"], note.get(_EXAMS)
    except (OSError, ValueError, TypeError) as error:
        # Written whole or not at all: only a damaged disk or a person gets here.
        raise _damaged(path) from error
    raise _damaged(path)


def _damaged(path: Path) -> VortexError:
    return VortexError(
        f"{path}: is not the note of an interrupted `vortex data checkout`, so that cannot be undone",
        "compare data/ with `dvc status`, then remove the note and run the command again",
    )


def _pointer_text(ws: Workspace, repo: Repo, goal: Listing) -> str:
    """What `dvc add` writes for `goal`."""
    if goal.hash == EMPTY_DIR:
        return "outs: []\n"
    size = sum(cache_path(repo, md5).stat().st_size for md5 in goal.files.values())
    lines = (f"- md5: {goal.hash}", f"  size: {size}", f"  nfiles: {len(goal.files)}", "  hash: md5", f"  path: {ws.data.name}")
    return "\n".join(("outs:", *lines)) + "\n"
