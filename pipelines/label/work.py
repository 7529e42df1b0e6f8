"""The folder of a run under way: one mark a frame that is done, written after the frame's files, so that a kill loses one frame."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import ConfigDict, TypeAdapter

from core.errors import VortexError
from core.files import locked, write_atomic
from pipelines.data.provenance import Label

if TYPE_CHECKING:
    from pipelines.label.plan import Task
    from pipelines.workspace import Workspace

MARKS: Final = "frames"
LONGEST: Final = 180
"""Bytes of a file's name that come from the frame's id: 255 are allowed, and staging names need some of them."""


@dataclass(frozen=True)
class Fault:
    """Why a frame did not get a label, and whose answer it was."""

    label: Label
    teacher: str
    reason: str


@dataclass(frozen=True)
class Mark:
    """What became of a frame: the files it got by role, the labels it could not be given, and its pixels by class and by source."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    wanted: tuple[Label, ...]
    files: dict[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    depth_from: str | None = None
    pixels: dict[str, dict[str, int]] = field(default_factory=dict)


_MARK = TypeAdapter(Mark)


class Work:
    """A run's folder: `build/label/NAME-KEY`. Label files lie at the places they will have in the dataset."""

    def __init__(self, ws: Workspace, name: str, key: str) -> None:
        self.folder = ws.build / "label" / f"{name}-{key}"
        self.quarantine = self.folder.with_name(f"{name}-{key}.quarantine.json")

    def open(self) -> None:
        """Make the folder. Raises VortexError where it cannot be written."""
        write_atomic(
            self.folder / "README", "A run of `vortex label` that is not published yet. Run the same command again to continue it.\n"
        )

    @property
    def begun(self) -> bool:
        """Whether there is anything to continue."""
        return self.folder.is_dir()

    def finished(self, tasks: Iterable[Task]) -> dict[str, Mark]:
        """The marks of these tasks, by frame. A mark of other labels, or one that cannot be read, counts as none."""
        marks = {}
        for task in tasks:
            mark = self._read(task.frame.id)
            if mark is not None and mark.id == task.frame.id and mark.wanted == task.wanted:
                marks[mark.id] = mark
        return marks

    def keep(self, mark: Mark) -> None:
        """Note that a frame is done."""
        write_atomic(self._path(mark.id), json.dumps(asdict(mark), ensure_ascii=False))

    def forget(self, marks: Iterable[Mark]) -> None:
        """Have these frames tried again by the next run."""
        for mark in marks:
            self._path(mark.id).unlink(missing_ok=True)

    def report(self, marks: Iterable[Mark]) -> Path | None:
        """Write `NAME-KEY.quarantine.json`, the frames that were put aside and why; None when there are none."""
        faults = {mark.id: [asdict(fault) for fault in mark.faults] for mark in marks if mark.faults}
        if not faults:
            self.quarantine.unlink(missing_ok=True)
            return None
        write_atomic(self.quarantine, json.dumps(faults, indent=1, ensure_ascii=False) + "\n")
        return self.quarantine

    def remove(self) -> None:
        """Remove the folder: what it held is published."""
        # The marks first: a folder that is half removed must not pass for a run with frames done.
        shutil.rmtree(self.folder / MARKS, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, frame: str) -> Path:
        return self.folder / MARKS / f"{file_name(frame)}.json"

    def _read(self, frame: str) -> Mark | None:
        try:
            return _MARK.validate_json(self._path(frame).read_bytes())
        except (OSError, ValueError):
            return None


def file_name(frame: str) -> str:
    """An id as the name of a file; one that file systems would find too long is cut and told apart by its hash."""
    if len(os.fsencode(frame)) <= LONGEST:
        return frame
    return f"{frame[: LONGEST // 8]}-{hashlib.sha256(frame.encode()).hexdigest()[:16]}"


def unfinished(ws: Workspace, name: str) -> list[str]:
    """Keys of the runs on a dataset that were begun and not published."""
    return sorted(path.name.removeprefix(f"{name}-") for path in (ws.build / "label").glob(f"{name}-{'[0-9a-f]' * 12}") if path.is_dir())


@contextmanager
def dataset_lock(ws: Workspace, name: str) -> Iterator[None]:
    """Hold the dataset's labelling lock. Raises VortexError when another run has it, or the workspace cannot be written."""
    path = ws.build / "label" / f"{name}.lock"
    # Tried first: a lock in a folder that cannot be written says nothing about why.
    write_atomic(path.with_suffix(".writable"), "")
    path.with_suffix(".writable").unlink(missing_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, timeout=1.0))
        except VortexError as error:
            raise VortexError(
                f"another `vortex label {name}` is running: two at once would label every frame twice", "wait for it to finish, or end it"
            ) from error
        yield
