"""Confidence intervals: over paired seeds, over batches of a stream, over sequences; and the level of each of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

LEVEL: Final = 0.95
FEWEST_SEEDS: Final = 3
"""Two repetitions give an interval of 12.7 standard errors to each side, one gives none: neither decides anything."""


Ends = tuple[float, float]
"""The ends of a 95 % interval whose estimate is kept elsewhere."""


class Interval(BaseModel):
    """An estimate with its interval at a `level`, from `n` values: seeds, batches or sequences."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    estimate: float
    low: float
    high: float
    n: int
    level: float = LEVEL


def level_of_each(comparisons: int) -> float:
    """The level of each of so many intervals with which all of them hold at once in 95 % of repetitions (Bonferroni; Dunn 1961, JASA 56:52–64)."""
    return 1 - (1 - LEVEL) / max(1, comparisons)


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Student's t interval of the mean at a `level`; None for fewer than two values, or one that is not finite.

    With three seeds the quantile is 4.3 instead of 1.96: the interval is honest about how little three repetitions say.
    """
    n = len(values)
    if n < 2 or not all(math.isfinite(value) for value in values):
        return None
    mean = math.fsum(values) / n
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    return _student(mean, error, n, level)


def ratio_interval(ratios: Sequence[float]) -> Interval | None:
    """The interval of the geometric mean of positive ratios: a t interval of their logarithms. None as above, or for one of 0 or less."""
    if not all(ratio > 0 for ratio in ratios):
        return None
    interval = mean_interval([math.log(ratio) for ratio in ratios])
    if interval is None:
        return None
    # An interval of two wild repetitions can leave the range of a float.
    low, high = math.exp(max(interval.low, -700.0)), math.exp(min(interval.high, 700.0))
    return Interval(estimate=math.exp(interval.estimate), low=low, high=high, n=interval.n)


def percentiles(resamples: NDArray[np.float64]) -> Ends:
    """The ends of the plain percentile interval of a statistic's values on many resamples [resamples]."""
    low, high = np.quantile(resamples, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def jackknife_interval(estimate: float, without_each: NDArray[np.float64], level: float = LEVEL) -> Interval | None:
    """Student's interval of a statistic from its values without each of k batches [k], with k − 1 degrees of freedom.

    The jackknife of grouped data (Quenouille 1956, Biometrika 43:353–360; Tukey 1958); contiguous batches of a stream are nearly independent
    where frames are not (batch means: Schmeiser 1982, Operations Research 30:556–568). None when a value is not finite.
    """
    k = len(without_each)
    if k < 2 or not (math.isfinite(estimate) and np.isfinite(without_each).all()):
        return None
    error = math.sqrt((k - 1) / k * float(np.square(without_each - without_each.mean()).sum()))
    return _student(estimate, error, k, level)


def resampled_interval(estimate: float, resamples: NDArray[np.float64], n: int, level: float = LEVEL) -> Interval | None:
    """The interval of a statistic from its values on `resamples` of n units [resamples]; None when one is not finite.

    Percentiles, taken further out where units are few, because resamples of n units vary (n − 1)/n of what they should and know nothing of
    Student's tails: the expanded percentile interval of Hesterberg 2015, The American Statistician 69:371–386.
    """
    from scipy.special import ndtr, stdtrit

    if n < 2 or not (math.isfinite(estimate) and np.isfinite(resamples).all()):
        return None
    tail = float(ndtr(-math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2)))
    low, high = np.quantile(resamples, (tail, 1 - tail))
    return Interval(estimate=estimate, low=float(low), high=float(high), n=n, level=level)


def _student(estimate: float, error: float, n: int, level: float) -> Interval:
    """Of an estimate with its standard `error` from n values: n − 1 degrees of freedom."""
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, (1 + level) / 2)) * error
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half, n=n, level=level)
