"""How a claim is judged: a quantity, paired over seeds, against the range that the claim puts it in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from core.errors import VortexError
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.compare.intervals import FEWEST_SEEDS, Interval, mean_interval, ratio_interval
from pipelines.compare.verdict import paired_bootstrap

Verdict = Literal["holds", "does not hold", "not decidable"]
HOLDS: Final = "holds"
FAILS: Final = "does not hold"
OPEN: Final = "not decidable"


@dataclass(frozen=True)
class Measured:
    """What the findings are judged by.

    `figures[version, dataset, metric]` and `errors[version, dataset]` hold one entry a seed; `constants[dataset]` is the RMSE in metres of
    the best constant guess. Metrics are named as `models.metrics` names them.
    """

    figures: Mapping[tuple[str, str, str], Mapping[int, float]]
    errors: Mapping[tuple[str, str], Mapping[int, FrameErrors]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)

    def of(self, version: str, dataset: str, metric: str = "rmse") -> Mapping[int, float]:
        """One value for every seed of the replay; NaN where nothing was measured."""
        found = self.figures.get((version, dataset, metric), {})
        return {seed: found.get(seed, math.nan) for seed in sorted({seed for one in self.figures.values() for seed in one})}


class Part(BaseModel):
    """One claim that can be true or false by itself: `quantity` lies between `above` and `below`, or it does not.

    `seeds` is the interval over paired seeds. `frames`, where there is one, is the interval in metres of the RMSE difference over
    resampled validation frames, all seeds together: what the same seeds would say about other frames of these places.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str
    quantity: str
    unit: Literal["ratio", "points"]
    above: float | None
    below: float | None
    values: dict[int, float]
    seeds: Interval | None
    frames: Interval | None
    published: str
    verdict: Verdict


class Finding(BaseModel):
    """A finding of the lineage, judged. It holds when every part does, and fails when any part does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    title: str
    parts: tuple[Part, ...]
    verdict: Verdict


def finding(key: str, title: str, *parts: Part) -> Finding:
    """Put the parts of a finding together."""
    verdicts = {part.verdict for part in parts}
    verdict: Verdict = FAILS if FAILS in verdicts else HOLDS if verdicts == {HOLDS} else OPEN
    return Finding(key=key, title=title, parts=parts, verdict=verdict)


def ratio(
    claim: str,
    quantity: str,
    numerator: Mapping[int, float],
    denominator: Mapping[int, float],
    *,
    above: float | None = None,
    below: float | None = None,
    frames: Interval | None = None,
    published: str = "",
) -> Part:
    """Judge a ratio, seed by seed; open when a seed lacks a figure: those that are left are the ones that went well. `frames` is used for claims about which of two is larger, where a bound is 1."""
    pairs = {seed: numerator[seed] / denominator[seed] for seed in _paired(numerator, denominator) if denominator[seed]}
    interval = ratio_interval(list(pairs.values()))
    whole = len(pairs) == len(numerator.keys() | denominator.keys())
    verdict = _confirmed(judge(interval, above, below), frames, above=above, below=below) if whole else OPEN
    return Part(
        claim=claim, quantity=quantity, unit="ratio", above=above, below=below, values=pairs, seeds=interval, frames=frames,
        published=published, verdict=verdict,
    )  # fmt: skip


def points(claim: str, quantity: str, a: Mapping[int, float], b: Mapping[int, float], *, below: float, published: str = "") -> Part:
    """Judge a difference of shares, a − b, in percentage points, seed by seed; open when a seed lacks a figure."""
    pairs = {seed: 100 * (a[seed] - b[seed]) for seed in _paired(a, b)}
    interval = mean_interval(list(pairs.values()))
    return Part(
        claim=claim, quantity=quantity, unit="points", above=None, below=below, values=pairs, seeds=interval, frames=None,
        published=published, verdict=judge(interval, None, below) if len(pairs) == len(a.keys() | b.keys()) else OPEN,
    )  # fmt: skip


def judge(interval: Interval | None, above: float | None, below: float | None) -> Verdict:
    """Holds when the whole interval lies inside the range, does not hold when all of it lies outside, and is open otherwise.

    Fewer than three seeds decide nothing.
    """
    if interval is None or interval.n < FEWEST_SEEDS:
        return OPEN
    low, high = -math.inf if above is None else above, math.inf if below is None else below
    if low < interval.low and interval.high < high:
        return HOLDS
    return FAILS if interval.high <= low or interval.low >= high else OPEN


def frames_interval(a: Mapping[int, FrameErrors], b: Mapping[int, FrameErrors]) -> Interval | None:
    """The RMSE of a minus that of b in metres, over resampled frames, the errors of all paired seeds pooled; None without a pair, or without two frames.

    Raises VortexError when the seeds were measured on different frames.
    """
    seeds = sorted(set(a) & set(b))
    if not seeds or len(a[seeds[0]].ids) < 2:
        return None
    found = paired_bootstrap(_pooled([a[seed] for seed in seeds]), _pooled([b[seed] for seed in seeds]))
    return Interval(estimate=found.difference, low=found.low, high=found.high, n=found.frames)


def _paired(a: Mapping[int, float], b: Mapping[int, float]) -> list[int]:
    """The seeds with a figure on both sides."""
    return [seed for seed in sorted(a) if math.isfinite(a[seed]) and math.isfinite(b.get(seed, math.nan))]


def _pooled(errors: Sequence[FrameErrors]) -> FrameErrors:
    first = errors[0]
    if any(one.ids != first.ids for one in errors):
        raise VortexError("the seeds of a replay were measured on different frames", "start the replay anew in an empty folder")
    sums = {name: np.sum([np.asarray(one.sums[name], np.float64) for one in errors], axis=0) for name in (SQUARED, COUNT)}
    return FrameErrors(first.ids, sums, first.size)


def _confirmed(verdict: Verdict, frames: Interval | None, *, above: float | None, below: float | None) -> Verdict:
    """What the seeds say, unless other frames of the same places might say otherwise."""
    if frames is None or verdict == OPEN or 1.0 not in (above, below):
        return verdict
    larger = (verdict == HOLDS) == (above == 1.0)
    return verdict if (frames.low > 0 if larger else frames.high < 0) else OPEN
