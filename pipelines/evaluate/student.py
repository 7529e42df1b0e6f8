"""Measure a version: metrics for each domain and camera, and the per-frame sums that they are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from core.errors import GateRefused, VortexError
from pipelines.compare.bootstrap import COUNT, SQUARED, FrameErrors, compare, compare_errors
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from models.student import Student
    from pipelines.data.datasets import DataRef
    from pipelines.frames import Arrays, FrameArrays
    from registry.records import Artifact, Metrics
    from registry.versions import Hub
    from validation.manifest import Frame

__all__ = ["Evaluation", "as_metrics", "compare", "compare_errors", "evaluate", "evaluate_student", "log_errors", "pooled_rmse"]

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""
Reference = Literal["reference", "tof_depth", "teacher_depth"]
CONFIDENT = 0.5
"""ToF pixels below this confidence are no reference; the fusion on the robot draws the same line."""
CONFUSION = "confusion"


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
) -> list[Evaluation]:
    """Run `student` over `frames` at `size` (H, W), read through the set's pack in the folder `packs`; one `Evaluation` for each camera and protocol among them.

    Truth is the frames' reference depth. A set without any is judged by its confident ToF, else by its metric teacher, and its
    protocol says so (`…+tof`, `…+teacher`), so that it is never compared with truth. The student is left in the mode (train or
    eval) in which it came. Nothing is recorded: training's validation calls this too.
    Raises VortexError when there is nothing to judge by, or a file is missing or broken.
    """
    from models.metrics import DepthMetrics, SegmentationMetrics
    from pipelines.frames import load_arrays

    reference = truth_source(ref, frames)
    arrays = load_arrays(packs, ref, frames, size, on_progress=on_packing)
    groups: dict[tuple[str, str], tuple[list[str], DepthMetrics, SegmentationMetrics]] = {}
    training = student.training
    student.eval()
    try:
        for chunk, depth, logits, truth, labels in _predictions(student, arrays, device, batch, reference, on_progress):
            for row, frame in enumerate(chunk):
                key = (frame.camera, _protocol(frame.split, reference))
                ids, of_depth, of_classes = groups.setdefault(key, ([], DepthMetrics(), SegmentationMetrics()))
                ids.append(frame.id)
                of_depth.update(depth[row], truth[row])
                of_classes.update(logits[row : row + 1], labels[row : row + 1])
    finally:
        student.train(training)
    return [
        Evaluation(
            ref.domain,
            camera,
            protocol,
            _measured(of_depth, of_classes),
            len(ids),
            FrameErrors(tuple(ids), {**of_depth.frames(), CONFUSION: of_classes.frames()}, size),
        )
        for (camera, protocol), (ids, of_depth, of_classes) in groups.items()
    ]


def pooled_rmse(evaluations: Iterable[Evaluation]) -> float:
    """RMSE in metres over the pixels of all of them: the one number by which training picks its best epoch. NaN without pixels."""
    sums = [one.errors.sums for one in evaluations]
    count = sum(float(one[COUNT].sum()) for one in sums)
    return float(np.sqrt(sum(float(one[SQUARED].sum()) for one in sums) / count)) if count else float("nan")


def evaluate(
    ws: Workspace,
    version: str,
    *,
    domain: str | None = None,
    data: str | None = None,
    split: str = "val",
    device: str = "auto",
    batch: int = 8,
    allow_unvalidated: bool = False,
    on_progress: Progress | None = None,
    on_packing: Progress | None = None,
) -> list[Metrics]:
    """Measure a registered version on the `split` frames of a domain's datasets, or of one dataset or manifest; record it.

    `domain` defaults to the version's own. A set is read through its pack; `on_packing` hears of one that is built. Metrics go to the registry, the per-frame sums beside the run as a hashed artifact.
    Raises GateRefused for data that has not passed validation, VortexError for an unknown version, domain or dataset, for weights
    that are not those that were registered, and for a set without frames of that split.
    """
    from models import checkpoint
    from pipelines.device import choose_device
    from pipelines.hub.open import actor, commit, hub
    from pipelines.pack import packs_folder

    registry = hub(ws)
    found = registry.get(version)
    sets = data_to_measure(ws, data=data, domain=domain, own=found.domain, split=split)
    if not allow_unvalidated:
        for ref, _ in sets:
            _require_passed(ws, ref)
    chosen = choose_device(device)
    student, _ = checkpoint.load(registry.artifact_path(found.checkpoint))
    student.to(chosen)
    packs = packs_folder(ws)
    recorded = [
        as_metrics(evaluation, ref, log_errors(ws, registry, found.run_id, ref, evaluation))
        for ref, frames in sets
        for evaluation in evaluate_student(student, ref, frames, found.size, packs, chosen, batch, on_progress, on_packing)
    ]
    reason = f"evaluated on {split} frames{', data not validated' if allow_unvalidated else ''}"
    registry.add_metrics(found.name, *recorded, actor=actor(), reason=reason, commit=commit(ws))
    return recorded


def as_metrics(evaluation: Evaluation, ref: DataRef, errors: Artifact | None) -> Metrics:
    """An evaluation as the registry records it."""
    from registry.records import Metrics

    one = evaluation
    return Metrics(one.domain, one.camera, one.protocol, ref.name, ref.digest, one.values, one.frames, errors)


def log_errors(ws: Workspace, registry: Hub, run_id: str, ref: DataRef, evaluation: Evaluation) -> Artifact:
    """Store the per-frame sums with the run; the file's hash is part of the answer."""
    name = "-".join(_slug(part) for part in (ref.name, evaluation.camera, evaluation.protocol, ref.digest[:8]))
    path = ws.build / "evaluations" / run_id / f"{name}.npz"
    evaluation.errors.save(path)
    return registry.store.log_artifact(run_id, path, "evaluations")


def data_to_measure(
    ws: Workspace, *, data: str | None, domain: str | None, own: str | None, split: str
) -> list[tuple[DataRef, list[Frame]]]:
    """The sets to measure on with their frames of `split`: `data` alone, or those of `domain` (default: `own`, the version's) that have any.

    Raises VortexError when there is no such set, or none of them has frames of that split.
    """
    from validation.manifest import LEGACY_DOMAIN, load_manifest

    sets = []
    for ref in _refs(ws, data, domain, own):
        frames = load_manifest(ref.manifest)
        # A domain picks frames, it does not rename them: figures of rooms must never be recorded as those of a corridor.
        of_domain = [frame for frame in frames if frame.domain in (ref.domain, LEGACY_DOMAIN)]
        if not of_domain:
            found = ", ".join(sorted({frame.domain for frame in frames})) or "no domain"
            raise VortexError(f"{ref.name} has no frames of the domain {ref.domain!r}, they are of: {found}", "name data of that domain")
        sets.append((ref, of_domain))
    chosen = [(ref, [frame for frame in frames if frame.split == split]) for ref, frames in sets]
    if any(frames for _, frames in chosen):
        return [(ref, frames) for ref, frames in chosen if frames]
    counts = [f"{ref.name} has {_counted(frame.split for frame in frames)}" for ref, frames in sets]
    raise VortexError(f"no {split!r} frames to measure on: {'; '.join(counts)}", "name another split with --split")


def _counted(splits: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(splits).items()))


def _refs(ws: Workspace, data: str | None, domain: str | None, own: str | None) -> list[DataRef]:
    from pipelines.data.datasets import for_domain, resolve
    from validation.manifest import LEGACY_DOMAIN

    if domain is not None:
        ws.domain(domain)
    if data is not None:
        ref = resolve(ws, name_or_manifest=data, domain=domain)
        if ref.domain == LEGACY_DOMAIN:
            raise VortexError(f"{ref.manifest}: its rows name no domain", "say which it is with --domain")
        return [ref]
    chosen = domain or own
    if chosen is None:
        raise VortexError("which data? the version has no domain of its own", "name a domain with --domain, or a set with --data")
    return [resolve(ws, name_or_manifest=dataset.name) for dataset in for_domain(ws, chosen)]


def _require_passed(ws: Workspace, ref: DataRef) -> None:
    from pipelines.validate import passed

    answer = passed(ws, ref, use="evaluation")
    if answer:
        return
    state = "was never validated as it is now" if answer is None else "failed validation"
    raise GateRefused(f"data {ref.name!r} {state}", f"vortex validate {ref.name}; --allow-unvalidated measures on it all the same")


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


def _protocol(split: str, reference: Reference) -> str:
    """The metrics' protocol, saying which split was measured and, where it was not the reference, by what."""
    from models.metrics import PROTOCOL

    suffix = {"reference": "", "tof_depth": "+tof", "teacher_depth": "+teacher"}[reference]
    return f"{split}-{PROTOCOL.partition('-')[2]}{suffix}"


Chunk = tuple[Sequence["Frame"], NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def _predictions(
    student: Student, arrays: FrameArrays, device: str, batch: int, reference: Reference, on_progress: Progress | None
) -> Iterator[Chunk]:
    """Frames batch by batch with depth [B,H,W], logits [B,C,H,W], true depth [B,H,W] (0 invalid) and labels [B,H,W]."""
    import torch

    frames, size = arrays.frames, arrays.size
    for start in range(0, len(frames), batch):
        rows = [arrays[index] for index in range(start, min(start + batch, len(frames)))]
        rgb = torch.from_numpy(np.stack([row["rgb"] for row in rows]).transpose(0, 3, 1, 2).copy())
        with torch.inference_mode():
            prediction = student(rgb.to(device).float() / 255)
        truth = np.stack([truth_of(row, frame, reference, size) for row, frame in zip(rows, frames[start : start + batch], strict=True)])
        labels = np.stack([row.get("segmentation", np.full(size, IGNORE, np.uint8)) for row in rows])
        yield (frames[start : start + len(rows)], prediction.depth[:, 0].cpu().numpy(), prediction.logits.cpu().numpy(), truth, labels)
        if on_progress:
            on_progress(start + len(rows), len(frames))


def truth_of(row: Arrays, frame: Frame, reference: Reference, size: tuple[int, int]) -> NDArray[Any]:
    """Depth [H,W] in metres to judge a frame by; 0 where there is none, or where the ToF is not confident."""
    depth = row.get(reference)
    if depth is None or (reference == "teacher_depth" and frame.teacher_unit == "relative"):
        return np.zeros(size, np.float32)
    return np.where(row["tof_confidence"] >= CONFIDENT, depth, 0) if reference == "tof_depth" else depth


def _measured(depth: Any, classes: Any) -> dict[str, float]:
    """Every figure that has a pixel behind it."""
    from models.metrics import RANGES_M

    sums, confusion = depth.frames(), classes.frames().sum(axis=0)
    figures: dict[str, float] = {}
    if sums[COUNT].sum():
        empty = {f"rmse_{name}" for name in RANGES_M if not sums[f"count_{name}"].sum()}
        figures |= {name: value for name, value in depth.compute().items() if name not in empty}
    if confusion.sum():
        occurs = confusion.sum(axis=0) + confusion.sum(axis=1)
        absent = {f"iou_{name}" for name, pixels in zip(CLASSES, occurs, strict=True) if not pixels}
        figures |= {name: value for name, value in classes.compute().items() if name not in absent}
    return figures


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in text)
