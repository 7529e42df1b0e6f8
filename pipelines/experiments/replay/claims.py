"""How a claim is judged: a quantity, paired over seeds, against the range that the claim puts it in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from pipelines.compare.frame_errors import FrameErrors, pooled_errors
from pipelines.compare.intervals import FEWEST_SEEDS, Interval, mean_interval, ratio_interval
from pipelines.compare.verdict import Verdict, judge_frames

Answer = Literal["holds", "does not hold", "too little to say"]
HOLDS: Final = "holds"
FAILS: Final = "does not hold"
OPEN: Final = "too little to say"


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
        by_seed = self.figures.get((version, dataset, metric), {})
        return {seed: by_seed.get(seed, math.nan) for seed in sorted({seed for figure in self.figures.values() for seed in figure})}


class Part(BaseModel):
    """One claim that can be true or false by itself: `quantity` lies between `above` and `below`, or it does not.

    `seeds` is the interval over paired seeds. A claim `by_frames` says which of two versions is better, and `frames` is the verdict over
    the validation frames, all seeds together, that must agree: what the same seeds would say about other frames of these places. It is
    None where the errors of single frames were not kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: str
    quantity: str
    unit: Literal["ratio", "points"]
    above: float | None
    below: float | None
    values: dict[int, float]
    seeds: Interval | None
    by_frames: bool = False
    frames: Verdict | None = None
    published: str
    verdict: Answer


class Finding(BaseModel):
    """A finding of the lineage, judged. It holds when every part does, and fails when any part does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    title: str
    parts: tuple[Part, ...]
    verdict: Answer


def finding(key: str, title: str, *parts: Part) -> Finding:
    """Put the parts of a finding together."""
    verdicts = {part.verdict for part in parts}
    verdict: Answer = FAILS if FAILS in verdicts else HOLDS if verdicts == {HOLDS} else OPEN
    return Finding(key=key, title=title, parts=parts, verdict=verdict)


def ratio(
    claim: str,
    quantity: str,
    numerator: Mapping[int, float],
    denominator: Mapping[int, float],
    *,
    above: float | None = None,
    below: float | None = None,
    published: str = "",
) -> Part:
    """Judge a ratio, seed by seed; open when a seed lacks a figure: the others are the ones that went well."""
    pairs = {seed: numerator[seed] / denominator[seed] for seed in _paired(numerator, denominator) if denominator[seed]}
    interval = ratio_interval(list(pairs.values()))
    whole = len(pairs) == len(numerator.keys() | denominator.keys())
    return Part(
        claim=claim, quantity=quantity, unit="ratio", above=above, below=below, values=pairs, seeds=interval, published=published,
        verdict=judge(interval, above, below) if whole else OPEN,
    )  # fmt: skip


def points(claim: str, quantity: str, a: Mapping[int, float], b: Mapping[int, float], *, below: float, published: str = "") -> Part:
    """Judge a difference of shares, a − b, in percentage points, seed by seed; open when a seed lacks a figure."""
    pairs = {seed: 100 * (a[seed] - b[seed]) for seed in _paired(a, b)}
    interval = mean_interval(list(pairs.values()))
    return Part(
        claim=claim, quantity=quantity, unit="points", above=None, below=below, values=pairs, seeds=interval, published=published,
        verdict=judge(interval, None, below) if len(pairs) == len(a.keys() | b.keys()) else OPEN,
    )  # fmt: skip


def judge(interval: Interval | None, above: float | None, below: float | None) -> Answer:
    """Holds when the whole interval lies inside the range, does not hold when all of it lies outside, and is open otherwise.

    Fewer than three seeds decide nothing.
    """
    if interval is None or interval.n < FEWEST_SEEDS:
        return OPEN
    low, high = -math.inf if above is None else above, math.inf if below is None else below
    if low < interval.low and interval.high < high:
        return HOLDS
    return FAILS if interval.high <= low or interval.low >= high else OPEN


def over_frames(a: Mapping[int, FrameErrors], b: Mapping[int, FrameErrors], metric: str) -> Verdict | None:
    """The verdict of a against b over the validation frames, the errors of all paired seeds pooled; None where none were kept.

    Raises VortexError when the seeds were measured on different frames.
    """
    seeds = sorted(set(a) & set(b))
    if not seeds:
        return None
    return judge_frames(pooled_errors([a[seed] for seed in seeds]), pooled_errors([b[seed] for seed in seeds]), metric)


def confirmed(part: Part, frames: Verdict | None, side: Literal["better", "worse"]) -> Part:
    """A claim that a is on that `side` of b, as far as the frames confirm what the seeds say.

    What holds must be shown by the frames too. What does not hold is confirmed by frames that show the opposite, or no difference.
    """
    opposite = {"better": "worse", "worse": "better"}[side]
    confirming = {HOLDS: (side,), FAILS: (opposite, "equivalent"), OPEN: ()}[part.verdict]
    agrees = frames is not None and frames.word in confirming
    return part.model_copy(update={"by_frames": True, "frames": frames, "verdict": part.verdict if agrees else OPEN})


def _paired(a: Mapping[int, float], b: Mapping[int, float]) -> list[int]:
    """The seeds with a figure on both sides."""
    return [seed for seed in sorted(a) if math.isfinite(a[seed]) and math.isfinite(b.get(seed, math.nan))]
