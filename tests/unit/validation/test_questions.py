from __future__ import annotations

from validation.questions import limits, number


def test_large_numbers_are_shown_in_full_and_small_ones_in_three_digits() -> None:
    assert limits((0.0, 1e6), "") == "0–1,000,000"
    assert (number(1629.6, "px"), number(0.1234, "m"), number(0.5, "%")) == ("1,630 px", "0.123 m", "50 %")
