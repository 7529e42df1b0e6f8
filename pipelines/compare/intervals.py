"""Confidence intervals over paired seeds: what a few repetitions of two trainings say about the difference between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

LEVEL = 0.95
FEWEST_SEEDS = 3
"""Two repetitions give an interval of 12.7 standard errors to each side, one gives none: neither decides anything."""


class Interval(BaseModel):
    """An estimate with its interval, from `n` values; 95 % unless whoever made it says another level."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    estimate: float
    low: float
    high: float
    n: int


def level_of_each(comparisons: int) -> float:
    """The level of each of so many intervals with which all of them hold at once in 95 % of repetitions (Bonferroni; Dunn 1961, JASA 56:52–64)."""
    return 1 - (1 - LEVEL) / max(1, comparisons)


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Student's t interval of the mean at a `level`; None for fewer than two values, or one that is not finite.

    With three seeds the quantile is 4.3 instead of 1.96: the interval is honest about how little three repetitions say.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2 or not all(math.isfinite(value) for value in values):
        return None
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = float(t.ppf((1 + level) / 2, n - 1)) * error
    return Interval(estimate=mean, low=mean - half, high=mean + half, n=n)


def ratio_interval(ratios: Sequence[float]) -> Interval | None:
    """The interval of the geometric mean of positive ratios: a t interval of their logarithms. None as above, or for one of 0 or less."""
    if not all(ratio > 0 for ratio in ratios):
        return None
    found = mean_interval([math.log(ratio) for ratio in ratios])
    if found is None:
        return None
    # An interval of two wild repetitions can leave the range of a float.
    low, high = math.exp(max(found.low, -700.0)), math.exp(min(found.high, 700.0))
    return Interval(estimate=math.exp(found.estimate), low=low, high=high, n=found.n)
