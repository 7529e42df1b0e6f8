"""The teachers of one process at work on one frame: what they are asked, in which order, and what is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from core.depth import FARTHEST_M, millimetres
from core.errors import VortexError
from core.files import write_atomic
from models.teachers.contract import Masks, View
from models.teachers.merge import SOURCES, merge
from pipelines.label.answers import Failed, ask, usable_boxes, usable_depth, usable_structure
from pipelines.label.choice import SelectedTeacher, close_all, make_all
from pipelines.label.inputs import fitted, stored_depth, view
from pipelines.label.plan import Task, depth_source
from pipelines.label.work import Fault, Mark, file_name
from validation.decode import metres
from validation.rows import Frame

if TYPE_CHECKING:
    from models.teachers.contract import AnyTeacher

FILES = "the frame's files"


@dataclass(frozen=True)
class Job:
    """What every process of a run needs to know. `folder` is where results are written, at their places in the dataset."""

    root: Path
    folder: Path
    key: str
    selection: tuple[SelectedTeacher, ...]


@dataclass
class Labeller:
    """The teachers of one process; without any it makes its own. `label` is the whole work on a frame."""

    job: Job
    teachers: Mapping[str, AnyTeacher] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.teachers = self.teachers or make_all(self.job.selection)
        self._role: dict[str, tuple[str, Any]] = {
            selected.kind.role: (selected.name, self.teachers[selected.name]) for selected in self.job.selection
        }

    def label(self, task: Task) -> Mark:
        """Label one frame; its files are on the disk when this returns. What a teacher cannot do is a fault in the mark.

        Raises VortexError only for what concerns every frame: a full disk, a folder that cannot be written.
        """
        frame, files, faults = task.frame, dict[str, str](), list[Fault]()
        try:
            seen = view(self.job.root, frame)
        except VortexError as error:
            return Mark(frame.id, task.wanted, {}, tuple(Fault(label, FILES, error.message) for label in task.wanted))
        depth: NDArray[np.float32] | None = None
        if "depth" in task.wanted:
            try:
                depth = self._depth(seen, files)
            except Failed as failed:
                faults.append(Fault("depth", *failed.args))
        source, pixels = None, dict[str, dict[str, int]]()
        if "segmentation" in task.wanted:
            try:
                if "structure" in self._role:
                    source = depth_source(frame, task.wanted, self.job.selection)
                    seen = dataclasses.replace(seen, depth=fitted(self._metres(frame, source, task, depth), seen.size))
                pixels = self._segmentation(seen, files)
            except Failed as failed:
                faults.append(Fault("segmentation", *failed.args))
        return Mark(frame.id, task.wanted, files, tuple(faults), source, pixels)

    def close(self) -> None:
        """Give back what the teachers hold."""
        close_all(self.teachers)

    def _depth(self, seen: View, files: dict[str, str]) -> NDArray[np.float32] | None:
        """Write the depth teacher's answer, and return it in metres exactly as the file has it; None when it is relative."""
        name, teacher = self._role["depth"]
        kind = next(selected.kind for selected in self.job.selection if selected.name == name)
        depth = ask(name, self.job.folder, lambda: usable_depth(teacher.depth(seen), kind.unit, seen.size))
        if kind.unit == "relative":
            files["teacher_depth"] = self._write(f"teacher/{self.job.key}/{file_name(seen.id)}.npy", _npy(depth))
            return None
        steps = millimetres(depth)
        if not steps.any():
            raise Failed(name, f"no pixel of its depth is between 1 mm and {FARTHEST_M:g} m")
        files["teacher_depth"] = self._picture("teacher", seen.id, steps)
        return metres(steps, "mm")  # as reading the file gives it

    def _metres(self, frame: Frame, source: str | None, task: Task, depth: NDArray[np.float32] | None) -> NDArray[np.float32]:
        if source == "teacher" and "depth" in task.wanted:
            if depth is None:
                raise Failed(self._role["depth"][0], "gave no depth to see structure in")
            return depth
        try:
            return stored_depth(self.job.root, frame, source)
        except VortexError as error:
            raise Failed(FILES, error.message) from error

    def _segmentation(self, seen: View, files: dict[str, str]) -> dict[str, dict[str, int]]:
        """Ask the teachers of masks and structure, merge, write labels and sources; return the pixels by class and by source."""
        masks: Masks | None = None
        structure: NDArray[np.uint8] | None = None
        folder = self.job.folder
        if "masks" in self._role:
            name, boxer = self._role["boxes"]
            boxes = ask(name, folder, lambda: usable_boxes(boxer.boxes(seen)))
            name, masker = self._role["masks"]
            masks = ask(name, folder, lambda: masker.masks(seen, boxes))
        if "structure" in self._role:
            name, geometer = self._role["structure"]
            structure = ask(name, folder, lambda: usable_structure(geometer.structure(seen)))
        merged = ask(
            "+".join(name for role, (name, _) in self._role.items() if role != "depth"), folder, lambda: merge(seen.size, structure, masks)
        )
        files["segmentation"] = self._picture("segmentation", seen.id, merged.labels)
        files["segmentation_sources"] = self._picture("sources", seen.id, merged.sources)
        classes = np.bincount(merged.labels.ravel(), minlength=256)
        sources = np.bincount(merged.sources.ravel(), minlength=len(SOURCES))
        counted = {name: int(classes[index]) for index, name in enumerate(CLASSES)} | {"undecided": int(classes[IGNORE])}
        return {"classes": counted, "sources": {name: int(sources[index]) for index, name in enumerate(SOURCES)}}

    def _picture(self, folder: str, frame: str, values: NDArray[Any]) -> str:
        import cv2

        whole, data = cv2.imencode(".png", values)
        if not whole:
            raise VortexError(f"frame {frame}: its {folder} cannot be written as PNG", "please report this as a bug")
        return self._write(f"{folder}/{self.job.key}/{file_name(frame)}.png", data.tobytes())

    def _write(self, path: str, data: bytes) -> str:
        write_atomic(self.job.folder / path, data)
        return path


def _npy(values: NDArray[np.float32]) -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()
