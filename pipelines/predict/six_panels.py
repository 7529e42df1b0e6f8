"""The six-panel film of a sequence: what the camera saw, what the ToF lost, and what a version puts there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from vortex_jetson.perception.fusion import fuse

from core.depth import TOF_CONFIDENT
from core.errors import VortexError
from core.progress import Progress
from pipelines.data.datasets import resolve
from pipelines.hub.open import hub
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.predict.of_version import predictor_of
from pipelines.report.film import film, require_film, usual_suffix
from pipelines.report.pictures import Picture, depth_range, sheet, turbo
from pipelines.workspace import Workspace
from validation.manifest import load_manifest

if TYPE_CHECKING:
    from pipelines.pack.decoding import Arrays
    from pipelines.pack.frame_arrays import FrameArrays
    from pipelines.predict.runtimes import Predictor
    from validation.rows import Frame

CELL_WIDTH: Final = 320
SAMPLE: Final = 16
"""Frames, evenly spread, from which the depth scale of a film is taken."""


@dataclass(frozen=True)
class Film:
    """What was filmed: the file, its size (H, W), frames, and how long it took."""

    version: str
    data: str
    split: str
    path: Path
    size: tuple[int, int]
    frames: int
    rate: float
    runtime: str
    seconds: float


def film_version(
    ws: Workspace,
    name: str,
    data: str,
    *,
    path: Path | None = None,
    split: str | None = None,
    rate: float = 10.0,
    every: int = 1,
    runtime: str = "auto",
    device: str = "auto",
    on_progress: Progress | None = None,
    on_packing: Progress | None = None,
) -> Film:
    """Film version `name` on the frames of a dataset or manifest, in their order: RGB, raw ToF, reference / student, ToF + reference, ToF + student.

    The reference (a teacher's depth where there is none) is scaled to the ToF by the median of their ratios, as the robot scales the
    student; both fusions are the robot's. What a set does not have stays grey, and its heading says so. All depth shares one scale. `split`
    is val, or test where every frame is. Raises VortexError for data without such frames, UsageError for a `path` that is no film's.
    """
    registry = hub(ws)
    version = registry.get(name)
    ref = resolve(ws, name_or_manifest=data)
    every_frame = load_manifest(ref.manifest)
    splits = {frame.split for frame in every_frame}
    split = split or ("test" if splits == {"test"} else "val")
    frames = [frame for frame in every_frame if frame.split == split][::every]
    if not frames:
        raise VortexError(f"{ref.name} has no frames of split {split!r}, it has: {', '.join(sorted(splits))}", "name one with --split")
    path = path or ws.build / "videos" / version.name / f"{ref.name.rpartition(':')[2]}-{split}{usual_suffix()}"
    require_film(path)
    predictor = predictor_of(registry, version, runtime, device)
    arrays = load_arrays(packs_folder(ws), ref, frames, version.size, on_progress=on_packing)
    started = time.perf_counter()
    size = film_frames(predictor.predict, arrays, version.name, path, rate, on_progress)
    seconds = time.perf_counter() - started
    return Film(version.name, ref.name, split, path, size, len(frames), rate, predictor.runtime, seconds)


def film_frames(
    predict: Predictor, arrays: FrameArrays, name: str, path: Path, rate: float, on_progress: Progress | None = None
) -> tuple[int, int]:
    """Film what `predict`, of the version `name`, answers for these frames, one by one; the film's size (H, W)."""
    cell = (round(CELL_WIDTH * arrays.size[0] / arrays.size[1]), CELL_WIDTH)
    depths = _range(arrays)
    paper = sheet(_headings(name, arrays.frames), cell=cell, depth=depths)
    size = (paper.paper.shape[0], paper.paper.shape[1])
    with film(path, size, rate) as add:
        for number, row in enumerate(arrays, 1):
            add(paper.filled(_panels(row, predict(row["rgb"][None]).depth[0], depths)))
            if on_progress:
                on_progress(number, len(arrays))
    return size


def _headings(version: str, frames: Sequence[Frame]) -> list[list[str]]:
    has_tof = any(frame.tof for frame in frames)
    has_depth = any(frame.depth for frame in frames)
    has_teacher = any(frame.teacher_depth and frame.teacher_unit != "relative" for frame in frames)
    reference = "reference" if has_depth else "teacher" if has_teacher else "no reference"
    tof = "ToF" if has_tof else "no ToF"
    aligned = f"{reference}, median-aligned to ToF" if has_tof and (has_depth or has_teacher) else reference
    return [["RGB", f"raw {tof}" if has_tof else tof, aligned], [f"student {version}", f"{tof} + {reference}", f"{tof} + student"]]


def _range(arrays: FrameArrays) -> tuple[float, float]:
    places = np.unique(np.linspace(0, len(arrays) - 1, SAMPLE).astype(int))
    rows = [arrays[int(place)] for place in places]
    return depth_range([depth for row in rows for depth in (_reference(row), row.get("tof_depth")) if depth is not None])


def _reference(row: Arrays) -> NDArray[np.float32] | None:
    return row["reference"] if "reference" in row else row.get("teacher_depth")


def _panels(row: Arrays, student: NDArray[np.float32], depths: tuple[float, float]) -> list[Picture | None]:
    def colours(depth: NDArray[np.float32] | None) -> Picture | None:
        return None if depth is None else turbo(depth, *depths)

    reference, tof = _reference(row), row.get("tof_depth")
    seen = colours(np.maximum(student, 1e-6))  # depth is never negative; 0 is drawn as near, not as missing
    if tof is None:
        return [row["rgb"], None, colours(reference), seen, None, None]
    confidence = row["tof_confidence"]
    raw = np.where(confidence >= TOF_CONFIDENT, tof, np.float32(0))
    with_student = fuse(student, tof, confidence)
    if reference is None:
        return [row["rgb"], colours(raw), None, seen, None, colours(with_student.depth)]
    with_reference = fuse(reference, tof, confidence)
    scaled = reference * np.float32(with_reference.scale)
    return [row["rgb"], colours(raw), colours(scaled), seen, colours(with_reference.depth), colours(with_student.depth)]
