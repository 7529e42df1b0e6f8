"""One run of an ablation: trained without being registered, measured frame by frame, and kept."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from models import checkpoint
from models.metrics import SegmentationMetrics
from pipelines.compare.frame_errors import CONFUSION, COUNT, SQUARED, FrameErrors
from pipelines.data.datasets import DataRef
from pipelines.evaluate.student import Evaluation, pooled_rmse
from pipelines.experiments.ablate.factor import Factor
from pipelines.experiments.seeded_run import SeededRun, begun
from pipelines.runs.events import Diverged, Emit, TrainEvent
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.validation import evaluations, validation_data
from pipelines.workspace import Workspace


class ArmRun(BaseModel):
    """What one arm scored with one seed on the validation frames: RMSE in metres, mIoU as a share where there are labels.

    A training that `diverged` says how, and has no metrics: that too is something an arm does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: str
    seed: int
    run: str
    metrics: dict[str, float] = {}
    frames: int = 0
    errors: Path | None = None
    """Per-frame sums of the best epoch's student."""
    diverged: str | None = None


def run_name(factor: Factor, arm: str, seed: int) -> str:
    """Of an arm with a seed: always the same, so that a run that was begun is found again."""
    number = list(factor.values).index(arm) + 1
    slug = re.sub(r"[^A-Za-z0-9]+", "-", factor.values[arm]).strip("-")[:24]
    return f"{factor.name}-{number}-{slug}-s{seed}"


def carry_out(ws: Workspace, factor: Factor, arm: str, plan: TrainPlan, folder: Path, on_event: Emit) -> ArmRun:
    """Train an arm with the plan's seed, or go on with it, and measure its best student; done already, only read it."""
    run = run_name(factor, arm, plan.seed)

    def diverge(plan: TrainPlan, error: Diverged) -> ArmRun:
        on_event(TrainEvent("note", message=f"{error.message}; this is kept as a result, and the ablation goes on"))
        return ArmRun(arm=arm, seed=plan.seed, run=run, diverged=error.message)

    return SeededRun(
        path=folder / f"{run}.json",
        record=ArmRun,
        plan=lambda: begun(ws, run) or plan.model_copy(update={"run": run}),
        measure=lambda plan, result: _measure(plan, arm, result.student, folder),
        diverge=diverge,
    ).carry_out(ws, on_event)


def _measure(plan: TrainPlan, arm: str, best: Path, folder: Path) -> ArmRun:
    """Judge the best student of a finished run on the frames it was validated by."""

    student, _ = checkpoint.load(best)
    student.to(plan.device)
    scores = evaluations(plan, validation_data(plan), student, plan.device)
    errors = _joined(scores)
    path = folder / f"{plan.run}.npz"
    errors.save(path)
    metrics = {"rmse": pooled_rmse([evaluation for _, evaluation in scores])} | _miou(errors)
    return ArmRun(arm=arm, seed=plan.seed, run=plan.run, metrics=metrics, frames=len(errors.ids), errors=path)


def _joined(scores: list[tuple[DataRef, Evaluation]]) -> FrameErrors:
    """The frames of every set and camera as one, because they are one validation."""
    ids = tuple(f"{ref.name}/{name}" for ref, evaluation in scores for name in evaluation.errors.ids)
    # A camera of its own is a stream of its own.
    sequences = tuple(f"{ref.name}/{evaluation.camera}/{name}" for ref, evaluation in scores for name in evaluation.errors.sequences)
    sums = {name: np.concatenate([evaluation.errors.sums[name] for _, evaluation in scores]) for name in (SQUARED, COUNT, CONFUSION)}
    return FrameErrors(ids, sums, scores[0][1].errors.size, sequences)


def _miou(errors: FrameErrors) -> dict[str, float]:

    confusion = errors.sums[CONFUSION]
    return {"miou": SegmentationMetrics(confusion).compute()["miou"]} if confusion.sum() else {}
