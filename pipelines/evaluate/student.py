"""Measure a student on frames: metrics for each camera and protocol, and the per-frame sums that they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from core.depth import RANGES_M, TOF_CONFIDENT
from core.errors import VortexError
from core.progress import Progress
from models.metrics import PROTOCOL, DepthMetrics, SegmentationMetrics
from pipelines.compare.frame_errors import CONFUSION, COUNT, SQUARED, FrameErrors
from pipelines.frame_arrays import load_arrays

if TYPE_CHECKING:
    from models.student import Student
    from pipelines.data.datasets import DataRef
    from pipelines.frame_arrays import FrameArrays
    from pipelines.pack.decoding import Arrays
    from validation.rows import Frame

Reference = Literal["reference", "tof_depth", "teacher_depth"]


@dataclass(frozen=True)
class Evaluation:
    """What one student scored on the frames of one camera in one domain."""

    domain: str
    camera: str
    protocol: str
    values: dict[str, float]
    """Metric name → value, as `models.metrics` names them: rmse, rmse_near, miou, iou_glass, … What has nothing behind it
    (no label, no pixel that far away) is left out; what is there and not finite was predicted so."""
    frames: int
    errors: FrameErrors


def evaluate_student(
    student: Student,
    ref: DataRef,
    frames: Sequence[Frame],
    size: tuple[int, int],
    packs: Path,
    device: str = "cpu",
    batch: int = 8,
    on_progress: Progress | None = None,
    on_packing: Progress | None = None,
    truth_size: tuple[int, int] | None = None,
) -> list[Evaluation]:
    """Run `student` over `frames` at `size` (H, W), read through the set's pack in the folder `packs`; one `Evaluation` for each camera and protocol among them.

    Truth is the frames' reference depth. A set without any is judged by its confident ToF, else by its metric teacher, and its
    protocol says so (`…+tof`, `…+teacher`), so that it is never compared with truth. The student is left in the mode (train or
    eval) in which it came. Nothing is recorded: training's validation calls this too. With a `truth_size` (H, W) the prediction is
    resized to it, bilinearly, and compared with truth of that size.
    Raises VortexError when there is nothing to judge by, or a file is missing or broken.
    """
    reference = truth_source(ref, frames)
    arrays = load_arrays(packs, ref, frames, size, on_progress=on_packing)
    judged = arrays if truth_size in (None, size) else load_arrays(packs, ref, frames, truth_size, on_progress=on_packing)
    groups: dict[tuple[str, str], tuple[list[Frame], DepthMetrics, SegmentationMetrics]] = {}
    training = student.training
    student.eval()
    try:
        for chunk, depth, logits, truth, labels in _predictions(student, arrays, judged, device, batch, reference, on_progress):
            for row, frame in enumerate(chunk):
                key = (frame.camera, base_protocol(frame.split, reference))
                of_group, of_depth, of_classes = groups.setdefault(key, ([], DepthMetrics(), SegmentationMetrics()))
                of_group.append(frame)
                of_depth.update(depth[row], truth[row])
                of_classes.update(logits[row : row + 1], labels[row : row + 1])
    finally:
        student.train(training)
    return [
        Evaluation(
            ref.domain,
            camera,
            protocol,
            _figures(of_depth, of_classes),
            len(of_group),
            FrameErrors(
                tuple(frame.id for frame in of_group),
                {**of_depth.frames(), CONFUSION: of_classes.frames()},
                judged.size,
                tuple(frame.sequence for frame in of_group),
            ),
        )
        for (camera, protocol), (of_group, of_depth, of_classes) in groups.items()
    ]


def pooled_rmse(evaluations: Iterable[Evaluation]) -> float:
    """RMSE in metres over the pixels of all of them: the one number by which training picks its best epoch. NaN without pixels."""
    sums = [evaluation.errors.sums for evaluation in evaluations]
    count = sum(float(of_frames[COUNT].sum()) for of_frames in sums)
    return float(np.sqrt(sum(float(of_frames[SQUARED].sum()) for of_frames in sums) / count)) if count else float("nan")


def truth_source(ref: DataRef, frames: Sequence[Frame]) -> Reference:
    """What a set is judged by: reference depth where any frame has it, else ToF, else a metric teacher. VortexError when none has."""
    if any(frame.depth for frame in frames):
        return "reference"
    if any(frame.tof for frame in frames):
        return "tof_depth"
    if any(frame.teacher_depth and frame.teacher_unit != "relative" for frame in frames):
        return "teacher_depth"
    raise VortexError(
        f"{ref.manifest}: none of the {len(frames)} frames has reference depth, ToF depth or a metric teacher's depth",
        "measure on a set that has one of them",
    )


def base_protocol(split: str, reference: Reference) -> str:
    """The metrics' protocol, saying which split was measured and, where it was not the reference, by what."""
    suffix = {"reference": "", "tof_depth": "+tof", "teacher_depth": "+teacher"}[reference]
    return f"{split}-{PROTOCOL.partition('-')[2]}{suffix}"


Chunk = tuple[Sequence["Frame"], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def _predictions(
    student: Student, arrays: FrameArrays, judged: FrameArrays, device: str, batch: int, reference: Reference, on_progress: Progress | None
) -> Iterator[Chunk]:
    """Frames batch by batch with depth [B,H,W], logits [B,C,H,W], true depth [B,H,W] (0 invalid) and labels [B,H,W].

    Pictures are those of `arrays`, truth and size of the answer those of `judged`, the same frames.
    """
    import torch
    from torch.nn.functional import interpolate

    frames, size = arrays.frames, judged.size
    for start in range(0, len(frames), batch):
        places = range(start, min(start + batch, len(frames)))
        rgb = torch.from_numpy(np.stack([arrays[place]["rgb"] for place in places]).transpose(0, 3, 1, 2).copy())
        with torch.inference_mode():
            prediction = student(rgb.to(device).float() / 255)
            depth, logits = prediction.depth, prediction.logits
            if size != arrays.size:
                depth, logits = (interpolate(answer, size, mode="bilinear", align_corners=False) for answer in (depth, logits))
        rows = [judged[place] for place in places]
        truth = np.stack([truth_of(row, frame, reference, size) for row, frame in zip(rows, frames[start : start + batch], strict=True)])
        labels = np.stack([row.get("segmentation", np.full(size, IGNORE, np.uint8)) for row in rows])
        yield (frames[start : start + len(rows)], depth[:, 0].cpu().numpy(), logits.cpu().numpy(), truth, labels)
        if on_progress:
            on_progress(start + len(rows), len(frames))


def truth_of(row: Arrays, frame: Frame, reference: Reference, size: tuple[int, int]) -> NDArray[Any]:
    """Depth [H,W] in metres to judge a frame by; 0 where there is none, or where the ToF is not confident."""
    depth = row.get(reference)
    if depth is None or (reference == "teacher_depth" and frame.teacher_unit == "relative"):
        return np.zeros(size, np.float32)
    return np.where(row["tof_confidence"] >= TOF_CONFIDENT, depth, 0) if reference == "tof_depth" else depth


def _figures(depth: DepthMetrics, classes: SegmentationMetrics) -> dict[str, float]:
    """Every figure that has a pixel behind it."""

    sums, confusion = depth.frames(), classes.frames().sum(axis=0)
    figures: dict[str, float] = {}
    if sums[COUNT].sum():
        empty = {f"rmse_{name}" for name in RANGES_M if not sums[f"count_{name}"].sum()}
        figures |= {name: value for name, value in depth.compute().items() if name not in empty}
    if confusion.sum():
        occurs = confusion.sum(axis=0) + confusion.sum(axis=1)
        missing = {f"iou_{name}" for name, pixels in zip(CLASSES, occurs, strict=True) if not pixels}
        figures |= {name: value for name, value in classes.compute().items() if name not in missing}
    return figures
