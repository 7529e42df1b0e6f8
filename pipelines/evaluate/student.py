"""Measure a student on frames: metrics for each camera and protocol, and the per-frame sums that they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from core.depth import RANGES_M, TOF_CONFIDENT
from core.errors import VortexError
from core.progress import Progress
from models.metrics import DepthMetrics, SegmentationMetrics
from pipelines.compare.frame_errors import CONFUSION, COUNT, SQUARED, FrameErrors
from pipelines.evaluate.fused import FusedMetrics
from pipelines.evaluate.jitter import Jitter
from pipelines.pack.frame_arrays import load_arrays
from pipelines.predict.runtimes import Predictor, flipped, of_student
from pipelines.protocol import EXAM, Protocol, Reference

if TYPE_CHECKING:
    from models.student import Student
    from pipelines.data.datasets import DataRef
    from pipelines.pack.decoding import Arrays
    from pipelines.pack.frame_arrays import FrameArrays
    from validation.rows import Frame

BATCH_PIXELS: Final = 16 * 240 * 320
"""Pixels that a network answers at once. A batch is shared out among threads: small frames need more of them before a thread's part is worth
handing out (docs/decisions/environment.md)."""


@dataclass(frozen=True)
class Evaluation:
    """What one student scored on the frames of one camera in one domain."""

    domain: str
    camera: str
    protocol: str
    values: dict[str, float]
    """Metric name → value, as `models.metrics` names them: rmse, rmse_near, miou, iou_glass, …, and fused_rmse, jitter, … What has nothing
    behind it (no label, no pixel that far away, no ToF) is left out; what is there and not finite was predicted so."""
    frames: int
    errors: FrameErrors


@dataclass
class _Group:
    """What is summed over the frames of one camera and split."""

    frames: list[Frame] = field(default_factory=list)
    depth: DepthMetrics = field(default_factory=DepthMetrics)
    classes: SegmentationMetrics = field(default_factory=SegmentationMetrics)
    fused: FusedMetrics = field(default_factory=FusedMetrics)
    jitter: Jitter = field(default_factory=Jitter)


def evaluate_student(
    student: Student,
    ref: DataRef,
    frames: Sequence[Frame],
    size: tuple[int, int],
    packs: Path,
    device: str = "cpu",
    batch: int | None = None,
    on_progress: Progress | None = None,
    on_packing: Progress | None = None,
    truth_size: tuple[int, int] | None = None,
) -> list[Evaluation]:
    """As `evaluate_predictor`, with a network on `device`, which is left in the mode (train or eval) in which it came.

    Nothing is recorded: training's validation calls this too.
    """
    training = student.training
    student.eval()
    try:
        return evaluate_predictor(of_student(student, device), ref, frames, size, packs, EXAM, batch, on_progress, on_packing, truth_size)
    finally:
        student.train(training)


def evaluate_predictor(
    predictor: Predictor,
    ref: DataRef,
    frames: Sequence[Frame],
    size: tuple[int, int],
    packs: Path,
    protocol: Protocol,
    batch: int | None = None,
    on_progress: Progress | None = None,
    on_packing: Progress | None = None,
    truth_size: tuple[int, int] | None = None,
) -> list[Evaluation]:
    """Run `predictor` over `frames` at `size` (H, W), read through the set's pack in the folder `packs`; one `Evaluation` for each camera and split among them.

    Truth is what the protocol names, else the frames' reference depth. A set without any is judged by its confident ToF, else by its metric
    teacher, and its protocol says so (`…+tof`, `…+teacher`), so that it is never compared with truth. Where frames have ToF too, what the
    robot would fuse of both is judged beside it, and where they follow each other, how much the error changes from one to the next.
    With the protocol's size, or a `truth_size` (H, W), the prediction is resized to it, bilinearly, and compared with truth of that size.
    `batch` frames are answered at a time, by default `frames_a_batch`. torch is imported only where the predictor needs it.
    Raises VortexError when there is nothing to judge by, or a file is missing or broken.
    """
    reference = reference_of(protocol, ref, frames)
    arrays = load_arrays(packs, ref, frames, size, on_progress=on_packing)
    judged_size = truth_size or protocol.size or size
    judged = arrays if judged_size == size else load_arrays(packs, ref, frames, judged_size, on_progress=on_packing)
    groups: dict[tuple[str, str], _Group] = {}
    predict = flipped(predictor) if protocol.tta == "flip" else predictor
    for frame, row, depth, logits in _predictions(predict, arrays, judged, batch or frames_a_batch(size), on_progress):
        group = groups.setdefault((frame.camera, frame.split), _Group())
        labels = row.get("segmentation", np.full(judged_size, IGNORE, np.uint8))
        answer, truth, labels = protocol.compared(depth, truth_of(row, frame, reference, judged_size), labels)
        group.frames.append(frame)
        group.depth.update(answer, truth)
        group.classes.update(logits[None], labels[None])
        group.fused.update(depth, truth if reference != "tof_depth" else None, row)
        group.jitter.update(frame, answer, truth)
    return [
        Evaluation(
            ref.domain,
            camera,
            protocol.base(split, reference),
            _figures(group, protocol.per_image),
            len(group.frames),
            FrameErrors(
                tuple(frame.id for frame in group.frames),
                {**group.depth.frames(), CONFUSION: group.classes.frames(), **group.fused.frames(), **group.jitter.frames()},
                judged_size,
                tuple(frame.sequence for frame in group.frames),
            ),
        )
        for (camera, split), group in groups.items()
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
    if any(_metric_teacher(frame) for frame in frames):
        return "teacher_depth"
    raise VortexError(
        f"{ref.manifest}: none of the {len(frames)} frames has reference depth, ToF depth or a metric teacher's depth",
        "measure on a set that has one of them",
    )


def reference_of(protocol: Protocol, ref: DataRef, frames: Sequence[Frame]) -> Reference:
    """What the protocol judges by. Raises VortexError where the set does not have it for every frame."""
    if protocol.truth is None:
        return truth_source(ref, frames)
    lacking = [frame.id for frame in frames if not _has(frame, protocol)]
    if lacking:
        what = {"reference": "reference depth", "tof_depth": "ToF depth", "teacher_depth": f"depth of the teacher {protocol.teacher}"}
        raise VortexError(
            f"{protocol.name} judges by {what[protocol.truth]}, which {len(lacking)} of {len(frames)} frames of {ref.name} do not have, for example {lacking[0]!r}",
            "measure on the set that the protocol is made for, or leave --protocol out",
        )
    return protocol.truth


def _has(frame: Frame, protocol: Protocol) -> bool:
    if protocol.truth == "teacher_depth":
        return _metric_teacher(frame) and frame.teacher == protocol.teacher
    return (frame.depth if protocol.truth == "reference" else frame.tof) is not None


def _metric_teacher(frame: Frame) -> bool:
    return frame.teacher_depth is not None and frame.teacher_unit != "relative"


def frames_a_batch(size: tuple[int, int]) -> int:
    """How many frames of a size (H, W) a network answers at once."""
    return max(1, BATCH_PIXELS // (size[0] * size[1]))


Predicted = tuple["Frame", "Arrays", NDArray[Any], NDArray[Any]]


def _predictions(
    predict: Predictor, arrays: FrameArrays, judged: FrameArrays, batch: int, on_progress: Progress | None
) -> Iterator[Predicted]:
    """Each frame with its arrays of `judged`, and predicted depth [H,W] and logits [C,H,W] of their size.

    Pictures are those of `arrays`, of the same frames.
    """
    frames = arrays.frames
    for start in range(0, len(frames), batch):
        places = range(start, min(start + batch, len(frames)))
        answers = predict(np.stack([arrays[place]["rgb"] for place in places]))
        for place, depth, logits in zip(places, answers.depth, answers.logits, strict=True):
            if judged.size != arrays.size:
                depth, logits = _bilinear(depth, judged.size), _bilinear(logits.transpose(1, 2, 0), judged.size).transpose(2, 0, 1)
            yield frames[place], judged[place], depth, logits
        if on_progress:
            on_progress(places.stop, len(frames))


def _bilinear(answer: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    import cv2

    return np.asarray(cv2.resize(answer, (size[1], size[0]), interpolation=cv2.INTER_LINEAR))


def truth_of(row: Arrays, frame: Frame, reference: Reference, size: tuple[int, int]) -> NDArray[Any]:
    """Depth [H,W] in metres to judge a frame by; 0 where there is none, or where the ToF is not confident."""
    depth = row.get(reference)
    if depth is None or (reference == "teacher_depth" and frame.teacher_unit == "relative"):
        return np.zeros(size, np.float32)
    return np.where(row["tof_confidence"] >= TOF_CONFIDENT, depth, 0) if reference == "tof_depth" else depth


def _figures(group: _Group, per_image: bool) -> dict[str, float]:
    """Every figure that has a pixel behind it."""
    sums, confusion = group.depth.frames(), group.classes.frames().sum(axis=0)
    figures: dict[str, float] = {}
    if sums[COUNT].sum():
        empty = {f"rmse_{name}" for name in RANGES_M if not sums[f"count_{name}"].sum()}
        figures |= {name: value for name, value in group.depth.compute(per_image).items() if name not in empty}
    if confusion.sum():
        occurs = confusion.sum(axis=0) + confusion.sum(axis=1)
        missing = {f"iou_{name}" for name, pixels in zip(CLASSES, occurs, strict=True) if not pixels}
        figures |= {name: value for name, value in group.classes.compute().items() if name not in missing}
    return figures | group.fused.compute() | group.jitter.compute()
