"""The effective number of frames, against what theory says of series whose correlation is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import autoregressive
from pipelines.compare.independence import effective_number


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8, 0.95])
def test_an_autoregressive_stream_is_worth_what_theory_says(correlation: float) -> None:
    # The integrated autocorrelation time of an AR(1) series is (1 + ρ)/(1 − ρ).
    n = 20_000
    series = autoregressive(np.random.default_rng(3), correlation, (8, n))
    worth = np.median([effective_number(values, [n]) for values in series])
    assert worth == pytest.approx(n * (1 - correlation) / (1 + correlation), rel=0.12)


def test_frames_that_repeat_are_worth_one_each_and_never_more_than_they_are() -> None:
    values = np.random.default_rng(1).standard_normal(300)
    assert effective_number(np.repeat(values, 10), [3000]) == pytest.approx(300, rel=0.2)
    assert effective_number(np.tile([1.0, -1.0], 50), [100]) == 100, "what alternates is not worth more"
    assert effective_number(np.full(40, 0.3), [40]) == 40, "what does not vary has nothing to correlate"


def test_sequences_are_independent_of_each_other() -> None:
    # Twenty sequences of fifty frames that are all alike within: worth twenty.
    values = np.repeat(np.random.default_rng(2).standard_normal(20), 50)
    assert effective_number(values, [50] * 20) == pytest.approx(20, rel=0.1)


def test_few_frames_of_a_slow_drift_are_worth_few() -> None:
    assert effective_number(np.linspace(0, 1, 250), [250]) < 5
