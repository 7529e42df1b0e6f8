"""From runs to an effect with its interval, and to what may be said of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors, pooled_errors
from pipelines.compare.intervals import level_of_each
from pipelines.compare.verdict import Verdict, judge_frames, judge_seeds
from pipelines.experiments.ablate.arm_runs import ArmRun
from pipelines.experiments.ablate.factor import Factor

JUDGED: Final = ("rmse", "miou")
"""What is judged, the latter where there are labels."""


class ArmScore(BaseModel):
    """One metric of one arm over its seeds; `sd` is None for a single one, `mean` too when the training `diverged` with any of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: str
    value: str
    metric: str
    mean: float | None
    sd: float | None
    seeds: int
    diverged: int = 0


class Effect(BaseModel):
    """One metric of `arm` minus that of `base`, paired by seed; without a `verdict` where one of the two diverged.

    `verdict` is over the seeds, at the ablation's `level`: what other seeds would give on these frames. `frames` holds a verdict for each
    seed, at 95 %: what other frames would give for these students; where they allow none, `without_frames` says why. `meaning` is all
    that may be said.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    arm: str
    metric: str
    difference: float | None
    verdict: Verdict | None
    frames: tuple[Verdict, ...]
    without_frames: str | None = None
    meaning: str


class Ablation(BaseModel):
    """A finished ablation. `effects` compare each arm with the first; `level` is that of each interval over seeds.

    With several arms it is raised above 95 %, so that all intervals of a metric hold at once with 95 %.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    recipe: str
    factor: str
    seeds: tuple[int, ...]
    frames: int
    level: float
    scores: tuple[ArmScore, ...]
    effects: tuple[Effect, ...]
    runs: tuple[ArmRun, ...]


def judge(factor: Factor, runs: Sequence[ArmRun]) -> Ablation:
    """Put the runs of all arms and seeds side by side. Every arm has every seed."""
    base, *others = factor.values
    whole = [run for run in runs if not run.diverged]
    metrics = [metric for metric in JUDGED if all(metric in run.metrics for run in whole)] if whole else ["rmse"]
    return Ablation(
        name=factor.name,
        recipe=factor.recipe,
        factor=factor.key,
        seeds=tuple(dict.fromkeys(run.seed for run in runs)),
        frames=whole[0].frames if whole else 0,
        level=level_of_each(len(others)),
        scores=tuple(_score(factor, arm, metric, _of(arm, runs)) for arm in factor.values for metric in metrics),
        effects=tuple(effect(metric, _of(base, runs), _of(arm, runs), len(others)) for arm in others for metric in metrics),
        runs=tuple(runs),
    )


def effect(metric: str, base: Sequence[ArmRun], arm: Sequence[ArmRun], comparisons: int = 1) -> Effect:
    """The difference that an arm makes, from its runs and those of the base with the same seeds, in the same order.

    `comparisons` is the number of arms that are compared with the base.
    """
    names = base[0].arm, arm[0].arm
    diverged = [f"{runs[0].arm} {words}" for runs in (base, arm) if (words := divergence(runs))]
    if diverged:
        # The other seeds are the ones that went well: a difference of them would flatter the arm.
        meaning = " and ".join(diverged)
        return Effect(base=names[0], arm=names[1], metric=metric, difference=None, verdict=None, frames=(), meaning=meaning)
    of_arm, of_base = ([run.metrics[metric] for run in runs] for runs in (arm, base))
    pooled, frames, without = _over_frames(metric, base, arm)
    verdict = judge_seeds(of_arm, of_base, metric, pooled, comparisons=comparisons)
    return Effect(
        base=names[0],
        arm=names[1],
        metric=metric,
        difference=verdict.difference,
        verdict=verdict,
        frames=frames,
        without_frames=without,
        meaning=f"{verdict.words}: {verdict.reason}" if verdict.word == "open" else f"{names[1]} is {verdict.words}",
    )


def divergence(runs: Sequence[ArmRun]) -> str:
    """In how many of its seeds an arm's training diverged, in words; empty when it never did."""
    count = sum(run.diverged is not None for run in runs)
    return f"diverged in {count} of {len(runs)} seed(s)" if count else ""


def _over_frames(metric: str, base: Sequence[ArmRun], arm: Sequence[ArmRun]) -> tuple[Verdict | None, tuple[Verdict, ...], str | None]:
    """The verdict over frames of all seeds pooled and that of every seed, or why there is none: trainings are not lost for want of frames."""
    try:
        of_base, of_arm = ([_errors(run) for run in runs] for runs in (base, arm))
        verdicts = tuple(judge_frames(*pair, metric) for pair in zip(of_arm, of_base, strict=True))
        pooled = judge_frames(pooled_errors(of_arm), pooled_errors(of_base), metric)
    except VortexError as error:
        return None, (), error.message
    return pooled, verdicts, None


def _errors(run: ArmRun) -> FrameErrors:
    if run.errors is None:
        raise VortexError(f"{run.run}: its record names no per-frame errors", "remove the record; the run is then measured again")
    return FrameErrors.load(run.errors)


def _score(factor: Factor, arm: str, metric: str, runs: Sequence[ArmRun]) -> ArmScore:
    diverged = sum(run.diverged is not None for run in runs)
    values = [] if diverged else [run.metrics[metric] for run in runs]
    return ArmScore(
        arm=arm,
        value=factor.values[arm],
        metric=metric,
        mean=statistics.fmean(values) if values else None,
        sd=statistics.stdev(values) if len(values) > 1 else None,
        seeds=len(runs),
        diverged=diverged,
    )


def _of(arm: str, runs: Sequence[ArmRun]) -> list[ArmRun]:
    return [run for run in runs if run.arm == arm]
