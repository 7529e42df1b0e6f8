from __future__ import annotations

import pytest

from validation.promotion.evidence import Exam
from validation.promotion.gate import Undecided
from validation.promotion.gates.exam_kept import ExamKept, judge

RULE = ExamKept(check="exam-kept")
EARLIER = {"lobby@123": 9, "hall@abc": 12}


@pytest.mark.parametrize(
    ("sets", "answer"),
    [
        ((("hall@abc", 12, True), ("lobby@123", 9, True)), "all of it"),
        ((("hall@abd", 13, True), ("lobby@123", 9, True), ("attic@9", 5, True)), "all of it; hall has other content than then"),
        ((("hall@abc", 12, True), ("foyer@123", 9, True)), "all of it"),
        ((("lobby@123", 9, True),), "hall does not judge any more"),
        ((("hall@abd", 5, True), ("lobby@123", 9, True)), "hall judges by 5 of 12 frames; hall has other content than then"),
        ((("attic@9", 40, True),), "lobby does not judge any more; hall does not judge any more"),
    ],
)
def test_every_set_that_judged_judges_again_by_as_many_frames(sets: tuple[tuple[str, int, bool], ...], answer: str) -> None:
    check = judge(RULE, Exam("corridor", sets, holder="v9", earlier=EARLIER))
    assert check.asked == "the exam of corridor asks no less than it asked of v9: lobby@123 (9 frames), hall@abc (12 frames)"
    assert (check.found, check.passed) == (answer, answer.startswith("all of it"))
    assert isinstance(check, Undecided) != check.passed


def test_a_channel_that_nobody_came_to_by_a_recorded_exam_asks_nothing() -> None:
    check = judge(RULE, Exam("corridor", (("hall@abc", 12, True),)))
    assert (check.found, check.passed) == ("no earlier exam is recorded on the channel", True)
