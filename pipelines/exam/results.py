"""What versions answered in an exam: taken from the registry where it was measured on these very frames, else measured now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from core.errors import VortexError
from core.progress import NamedProgress, Progress
from models import checkpoint
from pipelines.compare.frame_errors import FrameErrors
from pipelines.device import choose_device
from pipelines.evaluate.student import evaluate_student, truth_source
from pipelines.evaluate.version import record_of, with_protocols
from pipelines.exam.sets import ExamSet
from pipelines.hub.open import actor, commit
from pipelines.pack.preparing import packs_folder
from pipelines.protocol import EXAM
from pipelines.workspace import Workspace
from registry.records import Series

if TYPE_CHECKING:
    from registry.records import Metrics, Version
    from registry.versions import Hub
    from validation.rows import Frame

Place = tuple[str, str]
"""A dataset's name, and one of its cameras."""


@dataclass(frozen=True)
class Result:
    """What a version answered at one place: its figures, and the errors of the frames in the order of the manifest."""

    protocol: str
    values: Mapping[str, float]
    errors: FrameErrors


def results(
    ws: Workspace,
    registry: Hub,
    version: Version,
    sets: Sequence[ExamSet],
    *,
    truth_size: tuple[int, int] | None = None,
    record: bool = True,
    on_progress: NamedProgress | None = None,
) -> dict[Place, Result]:
    """What `version` answers in the exam's sets, camera by camera.

    What the registry holds counts where it is of the sets as they are now, of all their frames, and its stored errors are whole; the rest
    is measured, and with `record` added to the registry. With a `truth_size` (H, W) other than the version's own, its predictions are
    compared with truth at that size. Raises VortexError when weights that are needed are gone.
    """
    size = truth_size if truth_size and truth_size != version.size else None
    answers: dict[Place, Result] = {}
    missing = []
    for exam_set in sets:
        stored = _stored(registry, version, exam_set, size)
        answers |= stored
        if len(stored) < len(exam_set.cameras):
            missing.append(exam_set)
    if missing:
        answers |= dict(_measured(ws, registry, version, missing, size, record, on_progress))
    return {(exam_set.ref.name, camera): answers[exam_set.ref.name, camera] for exam_set in sets for camera in exam_set.cameras}


def _stored(registry: Hub, version: Version, exam_set: ExamSet, size: tuple[int, int] | None) -> dict[Place, Result]:
    """What the registry holds of a set, by place; the newest one that counts."""
    results: dict[Place, Result] = {}
    cameras = exam_set.cameras
    name = EXAM.base(exam_set.split, truth_source(exam_set.ref, exam_set.frames)) + (f"+at-{size[0]}x{size[1]}" if size else "")
    for metrics in version.metrics:
        series = Series(exam_set.ref.domain, metrics.camera, name, exam_set.ref.name, exam_set.ref.digest)
        if metrics.series == series and metrics.camera in cameras:
            errors = _errors(registry, metrics, cameras[metrics.camera], size or version.size)
            if errors:
                results[exam_set.ref.name, metrics.camera] = Result(metrics.protocol, metrics.values, errors)
    return results


def _errors(registry: Hub, metrics: Metrics, frames: Sequence[Frame], size: tuple[int, int]) -> FrameErrors | None:
    """The stored errors of exactly these frames at this size, in their order; None where they are others, gone or not what was stored."""
    if metrics.errors is None or metrics.frames != len(frames):
        return None
    try:
        errors = FrameErrors.load(registry.artifacts.path(metrics.errors))
    except VortexError:  # gone or changed: it is measured again
        return None
    return in_order(errors, frames) if errors.size == size and sorted(errors.ids) == sorted(frame.id for frame in frames) else None


def in_order(errors: FrameErrors, frames: Sequence[Frame]) -> FrameErrors:
    """The errors in the order of `frames`, each with its sequence."""
    row_of = {name: row for row, name in enumerate(errors.ids)}
    rows = np.array([row_of[frame.id] for frame in frames], np.intp)
    return replace(
        errors,
        ids=tuple(frame.id for frame in frames),
        sums={name: np.asarray(values)[rows] for name, values in errors.sums.items()},
        sequences=tuple(frame.sequence for frame in frames),
    )


def _measured(
    ws: Workspace,
    registry: Hub,
    version: Version,
    sets: Sequence[ExamSet],
    size: tuple[int, int] | None,
    record: bool,
    on_progress: NamedProgress | None,
) -> Iterator[tuple[Place, Result]]:
    device = choose_device("auto")
    student, _ = checkpoint.load(registry.artifacts.path(version.checkpoint))
    student.to(device)

    def progress(what: str) -> Progress | None:
        return (lambda done, total: on_progress(what, done, total)) if on_progress else None

    for exam_set in sets:
        what = f"{version.name} on {exam_set.ref.name}"
        evaluations = with_protocols(
            ws,
            exam_set.ref,
            evaluate_student(
                student,
                exam_set.ref,
                exam_set.frames,
                version.size,
                packs_folder(ws),
                device,
                on_progress=progress(f"measuring {what}"),
                on_packing=progress(f"packing frames for {what}"),
                truth_size=size,
            ),
            size,
        )
        if record:
            metrics = [record_of(ws, registry, version.run_id, exam_set.ref, evaluation) for evaluation in evaluations]
            at = f" against truth of {size[0]}x{size[1]}" if size else ""
            registry.add_metrics(version.name, *metrics, actor=actor(), reason=f"measured for a promotion{at}", commit=commit(ws))
        for evaluation in evaluations:
            errors = in_order(evaluation.errors, exam_set.cameras[evaluation.camera])
            yield (exam_set.ref.name, evaluation.camera), Result(evaluation.protocol, evaluation.values, errors)
