"""Why a half-precision file fails, and which parts of the network to keep in fp32: the ranges of every tensor, and a search by the task.

The search looks at training frames alone; the exam then judges what it offers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from core.environment import temporary
from core.errors import VortexError
from core.machine import cores
from core.progress import NamedProgress, Notice
from models import checkpoint
from pipelines.compare.verdict import UNDECIDED
from pipelines.evaluate.student import evaluate_predictor
from pipelines.hub.classes import class_pixels
from pipelines.hub.exports import TaskResult, task_rules
from pipelines.hub.open import hub
from pipelines.pack.preparing import packs_folder
from pipelines.predict.runtimes import Predictor, of_file
from pipelines.protocol import EXAM
from pipelines.ship.export.calibration import TrainingFrames, training_frames
from pipelines.ship.export.half import half_model, rounded
from pipelines.ship.export.parity import measure_task
from pipelines.ship.export.parts import OTHER, nodes_by_part
from pipelines.ship.export.ranges import FRAMES, TensorRange, modules_in_fp32, tensor_ranges
from pipelines.ship.export.run import exam_of, fp32_file
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from registry.records import Version

RANKED_BY: Final = (("rmse_near", "rmse"), ("iou_glass", "miou"))
"""Each with what stands in where no frame has a near pixel, or glass."""


@dataclass(frozen=True)
class PartTrial:
    """The file with one part more in fp32: `damage` is how far its near RMSE and glass IoU then are from the network's, as shares; not finite
    where its answers are not."""

    part: str
    damage: float


@dataclass(frozen=True)
class Step:
    """A file that was judged on the exam: which parts were in fp32, and what the exam said."""

    fp32_parts: tuple[str, ...]
    task: TaskResult


@dataclass(frozen=True)
class LayerReport:
    """What was found. `ranges` are the tensors with the largest values first, `needed` the parts that FP16 cannot hold, `trials` those that
    help most beside them first, `damage` that of the file without any. `fp32_parts` is the mixed file that passes, empty where plain fp16 does, None where none does."""

    ranges: tuple[TensorRange, ...]
    needed: tuple[str, ...]
    damage: float
    trials: tuple[PartTrial, ...]
    steps: tuple[Step, ...]
    fp32_parts: tuple[str, ...] | None


def find_layers(
    ws: Workspace,
    name: str,
    *,
    domain: str | None = None,
    on_step: Notice | None = None,
    on_progress: NamedProgress | None = None,
) -> LayerReport:
    """Look for the fewest parts of version `name` that have to stay in fp32 for a half-precision file that passes the exam of `domain`.

    Raises VortexError without training frames to look at, or without an exam to pass.
    """
    report = on_step or (lambda _: None)
    registry = hub(ws)
    version = registry.get(name)
    frames = training_frames(ws, version, FRAMES)
    domain = domain or version.domain
    sets = exam_of(ws, domain) if domain else ()
    if not sets:
        raise VortexError(
            f"{name} has no exam to pass: --debug ends in a file that passes one", "name a domain that has frames to judge by"
        )
    student, _ = checkpoint.load(registry.artifacts.path(version.checkpoint))
    source = fp32_file(ws, registry, version, student, report)
    report(f"ranges of every tensor over {frames.text}")
    ranges = tensor_ranges(source, frames.pictures(ws, version.size))
    steps: list[Step] = []

    def judged(parts: Collection[str]) -> bool:
        report(f"fp32: {', '.join(parts) or 'nothing'}; judging it on the exam")
        with _Mixed(source, parts) as runtime:
            task = measure_task(
                ws,
                registry,
                version,
                runtime,
                sets,
                rule=task_rules()[0],
                pixels=class_pixels(registry, version),
                on_progress=on_progress,
            )
        steps.append(Step(tuple(parts), task))
        # More fp32 does not mend an exam of too few frames.
        return not any(comparison.word == "worse" or UNDECIDED in comparison.text for _, _, comparison in task.judgements)

    expected = _figures(ws, version, frames, of_file(source, cores()))
    needed = modules_in_fp32(source, ranges)
    with _Mixed(source, ()) as runtime:
        damage = _damage(_figures(ws, version, frames, runtime), expected)
    if judged(()):
        return LayerReport(ranges, needed, damage, (), tuple(steps), ())
    trials: list[PartTrial] = []
    for part in _parts(source):
        if part not in needed:
            report(f"fp32: {', '.join((*needed, part))}; looking at training frames")
            with _Mixed(source, (*needed, part)) as runtime:
                trials.append(PartTrial(part, _damage(_figures(ws, version, frames, runtime), expected)))
    trials.sort(key=lambda trial: trial.damage if np.isfinite(trial.damage) else np.inf)
    parts = list(needed)
    passed = bool(parts) and judged(parts)
    for trial in trials:
        if passed:
            break
        parts.append(trial.part)
        passed = len(parts) < len(trials) + len(needed) and judged(parts)
    return LayerReport(ranges, needed, damage, tuple(trials), tuple(steps), tuple(parts) if passed else None)


class _Mixed:
    """The half-precision model of a file with these parts in fp32, as a predictor while it is entered."""

    def __init__(self, source: Path, fp32_parts: Collection[str]) -> None:
        self.source, self.fp32_parts = source, fp32_parts
        self.folder = tempfile.TemporaryDirectory(dir=temporary())

    def __enter__(self) -> Predictor:
        import onnx

        path = Path(self.folder.name) / "mixed.onnx"
        onnx.save(rounded(half_model(self.source, self.fp32_parts)), str(path))
        return of_file(path, cores())

    def __exit__(self, *_: object) -> None:
        self.folder.cleanup()


def _figures(ws: Workspace, version: Version, frames: TrainingFrames, runtime: Predictor) -> dict[str, float]:
    """Near RMSE and glass IoU on training frames, means over the sets, or what stands in for them."""
    values = [
        evaluation.values
        for ref, of_set in frames.sets
        for evaluation in evaluate_predictor(runtime, ref, of_set, version.size, packs_folder(ws), EXAM)
    ]
    figures = {}
    for names in RANKED_BY:
        name = next((name for name in names if any(name in each for each in values)), None)
        if name is not None:
            figures[name] = float(np.mean([each[name] for each in values if name in each]))
    return figures


def _damage(figures: dict[str, float], expected: dict[str, float]) -> float:
    """How far figures are from the expected ones, as shares, added up; infinite where one is missing or not finite."""
    shares = [abs(figures.get(name, np.nan) - value) / max(abs(value), 1e-9) for name, value in expected.items()]
    return float(np.sum(shares)) if np.isfinite(shares).all() else float("inf")


def _parts(source: Path) -> list[str]:
    import onnx

    return [part for part in nodes_by_part(onnx.load(str(source))) if part != OTHER]
