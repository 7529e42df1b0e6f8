"""From runs to an effect with its interval, and to what may be said of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from pipelines.ablate.factor import Factor
from pipelines.ablate.running import Measured
from pipelines.bootstrap import FrameErrors, paired_bootstrap
from pipelines.intervals import FEWEST_SEEDS, Interval, mean_interval

METRICS = {"rmse": "lower", "miou": "higher"}
"""What is judged, and which way is better."""
UNDECIDED, NONE_SHOWN = "not decidable", "no difference shown"


class ArmScore(BaseModel):
    """One metric of one arm over its seeds; `sd` is None for a single one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: str
    value: str
    metric: str
    mean: float
    sd: float | None
    seeds: int


class Effect(BaseModel):
    """One metric of `arm` minus that of `base`, paired by seed.

    `interval` is Student's over the seeds: what other seeds would give on these frames. `frames` holds, for the RMSE, the bootstrap
    interval over frames within each seed: what other frames would give for these students.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    arm: str
    metric: str
    difference: float
    interval: Interval | None
    frames: tuple[Interval, ...]
    meaning: str


class Ablation(BaseModel):
    """A finished ablation. `effects` compare each arm with the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    recipe: str
    factor: str
    seeds: tuple[int, ...]
    frames: int
    scores: tuple[ArmScore, ...]
    effects: tuple[Effect, ...]
    runs: tuple[Measured, ...]


def judge(factor: Factor, runs: Sequence[Measured]) -> Ablation:
    """Put the runs of all arms and seeds side by side. Every arm has every seed."""
    base, *others = factor.values
    metrics = [metric for metric in METRICS if all(metric in run.metrics for run in runs)]
    return Ablation(
        name=factor.name,
        recipe=factor.recipe,
        factor=factor.key,
        seeds=tuple(dict.fromkeys(run.seed for run in runs)),
        frames=runs[0].frames,
        scores=tuple(_score(factor, arm, metric, _of(arm, runs)) for arm in factor.values for metric in metrics),
        effects=tuple(effect(metric, _of(base, runs), _of(arm, runs)) for arm in others for metric in metrics),
        runs=tuple(runs),
    )


def effect(metric: str, base: Sequence[Measured], arm: Sequence[Measured]) -> Effect:
    """The difference that an arm makes, from its runs and those of the base with the same seeds, in the same order."""
    differences = [theirs.metrics[metric] - ours.metrics[metric] for ours, theirs in zip(base, arm, strict=True)]
    interval = mean_interval(differences)
    frames = [_over_frames(ours, theirs) for ours, theirs in zip(base, arm, strict=True)] if metric == "rmse" else []
    return Effect(
        base=base[0].arm,
        arm=arm[0].arm,
        metric=metric,
        difference=statistics.fmean(differences),
        interval=interval,
        frames=tuple(frames),
        meaning=meaning(metric, arm[0].arm, interval, len(differences)),
    )


def meaning(metric: str, arm: str, interval: Interval | None, seeds: int) -> str:
    """What an interval over so many seeds allows to say."""
    if interval is None or seeds < FEWEST_SEEDS:
        return f"{UNDECIDED}: {seeds} seed(s), {FEWEST_SEEDS} are needed"
    if interval.low <= 0 <= interval.high:
        return NONE_SHOWN
    return f"{arm} is {'better' if (interval.high < 0) == (METRICS[metric] == 'lower') else 'worse'}"


def _over_frames(base: Measured, arm: Measured) -> Interval:
    found = paired_bootstrap(FrameErrors.load(arm.errors), FrameErrors.load(base.errors))
    return Interval(estimate=found.difference, low=found.low, high=found.high, n=found.frames)


def _score(factor: Factor, arm: str, metric: str, runs: Sequence[Measured]) -> ArmScore:
    values = [run.metrics[metric] for run in runs]
    sd = statistics.stdev(values) if len(values) > 1 else None
    return ArmScore(arm=arm, value=factor.values[arm], metric=metric, mean=statistics.fmean(values), sd=sd, seeds=len(values))


def _of(arm: str, runs: Sequence[Measured]) -> list[Measured]:
    return [run for run in runs if run.arm == arm]
