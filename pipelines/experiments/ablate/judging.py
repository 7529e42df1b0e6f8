"""From runs to an effect with its interval, and to what may be said of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors
from pipelines.compare.intervals import FEWEST_SEEDS, LEVEL, Interval, level_of_each, mean_interval
from pipelines.compare.verdict import paired_bootstrap
from pipelines.experiments.ablate.factor import Factor
from pipelines.experiments.ablate.running import Measured

METRICS = {"rmse": "lower", "miou": "higher"}
"""What is judged, and which way is better."""
UNDECIDED, NONE_SHOWN = "not decidable", "no difference shown"


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
    """One metric of `arm` minus that of `base`, paired by seed; without a `difference` where one of the two diverged.

    `interval` is Student's over the seeds, at the ablation's `level`: what other seeds would give on these frames. `frames` holds, for
    the RMSE, the 95 % bootstrap interval over frames within each seed: what other frames would give for these students; where they
    allow none, `without_frames` says why.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    arm: str
    metric: str
    difference: float | None
    interval: Interval | None
    frames: tuple[Interval, ...]
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
    runs: tuple[Measured, ...]


def judge(factor: Factor, runs: Sequence[Measured]) -> Ablation:
    """Put the runs of all arms and seeds side by side. Every arm has every seed."""
    base, *others = factor.values
    whole = [run for run in runs if not run.diverged]
    metrics = [metric for metric in METRICS if all(metric in run.metrics for run in whole)] if whole else ["rmse"]
    level = level_of_each(len(others))
    return Ablation(
        name=factor.name,
        recipe=factor.recipe,
        factor=factor.key,
        seeds=tuple(dict.fromkeys(run.seed for run in runs)),
        frames=whole[0].frames if whole else 0,
        level=level,
        scores=tuple(_score(factor, arm, metric, _of(arm, runs)) for arm in factor.values for metric in metrics),
        effects=tuple(effect(metric, _of(base, runs), _of(arm, runs), level) for arm in others for metric in metrics),
        runs=tuple(runs),
    )


def effect(metric: str, base: Sequence[Measured], arm: Sequence[Measured], level: float = LEVEL) -> Effect:
    """The difference that an arm makes, from its runs and those of the base with the same seeds, in the same order."""
    lost = [f"{runs[0].arm} {said}" for runs in (base, arm) if (said := divergence(runs))]
    if lost:
        # Those seeds that are left are the ones that went well: a difference of them would flatter the arm.
        said = " and ".join(lost)
        return Effect(base=base[0].arm, arm=arm[0].arm, metric=metric, difference=None, interval=None, frames=(), meaning=said)
    differences = [theirs.metrics[metric] - ours.metrics[metric] for ours, theirs in zip(base, arm, strict=True)]
    interval = mean_interval(differences, level)
    frames, without = _over_frames(base, arm) if metric == "rmse" else ((), None)
    return Effect(
        base=base[0].arm,
        arm=arm[0].arm,
        metric=metric,
        difference=statistics.fmean(differences),
        interval=interval,
        frames=frames,
        without_frames=without,
        meaning=meaning(metric, arm[0].arm, interval, len(differences)),
    )


def meaning(metric: str, arm: str, interval: Interval | None, seeds: int) -> str:
    """What an interval over so many seeds allows to say."""
    if interval is None or seeds < FEWEST_SEEDS:
        return f"{UNDECIDED}: {seeds} seed(s), {FEWEST_SEEDS} are needed"
    if interval.low <= 0 <= interval.high:
        return NONE_SHOWN
    return f"{arm} is {'better' if (interval.high < 0) == (METRICS[metric] == 'lower') else 'worse'}"


def divergence(runs: Sequence[Measured]) -> str:
    """In how many of its seeds an arm's training diverged, in words; empty when it never did."""
    count = sum(run.diverged is not None for run in runs)
    return f"diverged in {count} of {len(runs)} seed(s)" if count else ""


def _over_frames(base: Sequence[Measured], arm: Sequence[Measured]) -> tuple[tuple[Interval, ...], str | None]:
    """The interval over frames of every seed, or why there is none: trainings are not lost for want of frames to resample."""
    errors = [(_errors(theirs), _errors(ours)) for ours, theirs in zip(base, arm, strict=True)]
    try:
        found = [paired_bootstrap(theirs, ours) for theirs, ours in errors]
    except VortexError as error:
        return (), error.message
    return tuple(Interval(estimate=one.difference, low=one.low, high=one.high, n=one.frames) for one in found), None


def _errors(run: Measured) -> FrameErrors:
    if run.errors is None:
        raise VortexError(f"{run.run}: its record names no per-frame errors", "remove the record; the run is then measured again")
    return FrameErrors.load(run.errors)


def _score(factor: Factor, arm: str, metric: str, runs: Sequence[Measured]) -> ArmScore:
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


def _of(arm: str, runs: Sequence[Measured]) -> list[Measured]:
    return [run for run in runs if run.arm == arm]
