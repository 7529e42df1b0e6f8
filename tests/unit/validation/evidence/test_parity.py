"""Parity of paired shares: the interval covers what is true, and few seeds are too little to say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import binomtest

from validation.evidence.parity import Pairs, needed_pairs


@pytest.mark.parametrize(
    ("pairs", "margin", "word"),
    [
        (Pairs(9, 0, 0, 1), 0.1, "open"),  # the published closed loop: 9 of 10 with either depth
        (Pairs(34, 0, 0, 0), 0.1, "open"),
        (Pairs(10, 9, 0, 1), 0.1, "open"),
        (Pairs(35, 0, 0, 0), 0.1, "parity"),
        (Pairs(79, 0, 0, 1), 0.1, "parity"),
        (Pairs(50, 0, 29, 1), 0.1, "worse"),
        (Pairs(70, 4, 6, 0), 0.1, "open"),
        (Pairs(700, 40, 60, 0), 0.1, "parity"),
    ],
)  # fmt: skip
def test_the_word_is_that_of_the_whole_interval(pairs: Pairs, margin: float, word: str) -> None:
    low, high = pairs.interval()
    assert pairs.word(margin) == word
    assert low <= pairs.difference <= high
    enough = pairs.count >= needed_pairs(margin)
    assert {"parity": low > -margin and enough, "worse": high < -margin, "open": low <= -margin <= high or not enough}[word]


def test_the_words_say_what_was_counted() -> None:
    assert Pairs(9, 0, 0, 1).text(0.1) == (
        "too little to say: 9 of 10 against 9 of 10, +0 points (-28 to +28), 0 of 10 seeds differ (at least 35 are needed)"
    )
    assert (
        Pairs(50, 0, 29, 1).text(0.1)
        == "worse by more than 10 points: 50 of 80 against 79 of 80, -36 points (-47 to -25), 29 of 80 seeds differ"
    )
    assert needed_pairs(0.05) == 73 and Pairs(72, 0, 0, 0).word(0.05) == "open" and Pairs(73, 0, 0, 0).word(0.05) == "parity"


def test_changing_sides_turns_the_interval_round() -> None:
    for both, ours, theirs, neither in product(range(4), repeat=4):
        if both + ours + theirs + neither:
            low, high = Pairs(both, ours, theirs, neither).interval()
            assert Pairs(both, theirs, ours, neither).interval() == pytest.approx((-high, -low))
            assert -1 <= low <= high <= 1


def test_a_share_alone_has_the_interval_of_wilson() -> None:
    # Where theirs is always yes, the lower end is that of Wilson's interval of ours, joined with the certainty of theirs.
    wilson = binomtest(17, 20).proportion_ci(method="wilson")
    low, _ = Pairs(17, 0, 3, 0).interval()
    assert low == pytest.approx(wilson.low - 1)


def test_the_interval_covers_the_difference() -> None:
    """Exactly, over every outcome of 20 pairs: 91 % at the least, 95 % on the average, for differences of up to 20 points."""
    count = 20
    tables = np.array([table for table in product(range(count + 1), repeat=3) if sum(table) <= count])
    tables = np.column_stack([tables, count - tables.sum(1)])
    intervals = np.array([Pairs(*map(int, table)).interval() for table in tables])
    ways = gammaln(count + 1) - gammaln(tables + 1).sum(1)
    coverage = []
    for difference, more, share in product((-0.2, -0.1, 0.0, 0.1, 0.2), (0.0, 0.05, 0.1, 0.2), (0.1, 0.5, 0.9)):
        ours, theirs = max(difference, 0) + more, max(-difference, 0) + more
        chances = np.array([(1 - ours - theirs) * share, ours, theirs, (1 - ours - theirs) * (1 - share)])
        weights = np.exp(ways + (tables * np.log(np.maximum(chances, 1e-300))).sum(1))
        inside = (intervals[:, 0] <= difference + 1e-12) & (intervals[:, 1] >= difference - 1e-12)
        coverage.append(float(weights[inside].sum()))
    assert min(coverage) > 0.905 and np.mean(coverage) > 0.95
