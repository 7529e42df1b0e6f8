from __future__ import annotations

import pytest

from validation.promotion.evidence import Exam
from validation.promotion.gates.exam_passed import ExamPassed, judge

RULE = ExamPassed(check="exam-passed", frames=5)


@pytest.mark.parametrize(
    ("frames", "state", "answer", "passed"),
    [
        (5, True, "passed", True),
        (4, True, "hall@abc has 4 frames", False),
        (5, False, "hall@abc failed: run `vortex validate hall`", False),
        (5, None, "hall@abc was never validated as it is now: run `vortex validate hall`", False),
    ],
)
def test_every_set_must_have_passed_as_it_is_and_be_large_enough(frames: int, state: bool | None, answer: str, passed: bool) -> None:
    check = judge(RULE, Exam("corridor", (("lobby@123", 9, True), ("hall@abc", frames, state))))
    assert check.asked == (
        f"the exam of corridor passed `vortex validate`, 5 frames or more a set: lobby@123 (9 frames), hall@abc ({frames} frames)"
    )
    assert (check.found, check.passed) == (answer, passed)


def test_what_is_not_as_it_is_recorded_judges_nobody() -> None:
    check = judge(RULE, Exam("corridor", (("lobby@123", 9, True),), ("hall is not as data.dvc records it (30 files)",)))
    assert (check.found, check.passed) == ("hall is not as data.dvc records it (30 files)", False)
