from __future__ import annotations

import pytest

from validation.promotion.evidence import Measurement
from validation.promotion.gates.independent_frames import IndependentFrames, judge

RULE = IndependentFrames(check="independent-frames", frames=5)


@pytest.mark.parametrize(
    ("worth", "answer", "passed"),
    [
        (5.0, "250 frames worth 5.0", True),
        (4.94, "250 frames worth 4.9: hold out frames of more recordings", False),
        (None, "not known: there are no errors of single frames", False),
    ],
)
def test_frames_count_for_what_they_are_worth(worth: float | None, answer: str, passed: bool) -> None:
    check = judge(RULE, Measurement("corridor · d455", {"rmse": 0.4}, 250, worth))
    assert (check.asked, check.found, check.passed) == ("worth 5 independent frames or more on corridor · d455", answer, passed)
