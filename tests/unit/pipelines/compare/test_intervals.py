"""Intervals over seeds, batches and sequences, with scipy beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pipelines.compare.intervals import jackknife_interval, level_of_each, mean_interval, ratio_interval, resampled_interval


def test_the_interval_is_students() -> None:
    # Values 1, 2, 3: mean 2, standard error 1/√3, quantile 4.302653 with two degrees of freedom.
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval is not None and (interval.estimate, interval.n, interval.level) == (2.0, 3, 0.95)
    assert (interval.low, interval.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-6)
    assert mean_interval([1.0]) is None and mean_interval([1.0, math.inf, 2.0]) is None
    wide = mean_interval([1.0, 2.0, 3.0], level_of_each(5))
    assert wide is not None and wide.level == pytest.approx(0.99)
    assert (wide.low, wide.high) == pytest.approx(stats.t.interval(0.99, 2, loc=2, scale=1 / 3**0.5))


def test_a_ratio_and_its_inverse_have_inverse_intervals() -> None:
    interval, inverse = ratio_interval([0.5, 0.7, 0.6]), ratio_interval([1 / 0.5, 1 / 0.7, 1 / 0.6])
    assert interval is not None and inverse is not None
    assert (interval.low, interval.high) == pytest.approx((1 / inverse.high, 1 / inverse.low))
    assert ratio_interval([0.5, 0.0, 1.0]) is None


def test_the_jackknife_of_a_mean_is_the_interval_of_its_batches() -> None:
    batches = np.array([3.0, 1.0, 4.0, 1.5, 2.0])
    without_each = (batches.sum() - batches) / 4
    interval, expected = jackknife_interval(batches.mean(), without_each), mean_interval(batches.tolist())
    assert interval is not None and expected is not None and interval.n == 5
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert (interval.low, interval.high) == pytest.approx(stats.t.interval(0.95, 4, loc=batches.mean(), scale=stats.sem(batches)))
    assert jackknife_interval(1.0, np.array([1.0, np.nan])) is None and jackknife_interval(1.0, np.ones(1)) is None


def test_resamples_give_expanded_percentiles() -> None:
    # Eight units: Φ(−√(8/7)·t₀.₉₇₅,₇) = Φ(−2.5279) = 0.57 % on each side instead of 2.5 %.
    interval = resampled_interval(0.0, np.linspace(-1, 1, 100_001), 8)
    assert interval is not None and interval.n == 8
    assert (interval.low, interval.high) == pytest.approx((-1 + 2 * 0.005737, 1 - 2 * 0.005737), abs=1e-5)
    many = resampled_interval(0.0, np.linspace(-1, 1, 100_001), 10**6)
    assert many is not None and many.low == pytest.approx(-0.95, abs=1e-4)
    assert resampled_interval(0.0, np.array([0.0, np.nan]), 8) is None
