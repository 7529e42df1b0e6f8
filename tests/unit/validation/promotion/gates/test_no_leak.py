from __future__ import annotations

import pytest

from validation.promotion.evidence import ExamLeaks
from validation.promotion.gates.no_leak import NoLeak, judge

RULE = NoLeak(check="no-leak")


@pytest.mark.parametrize(
    ("leaks", "unknown", "answer", "passed"),
    [
        ((), {}, "none", True),
        (("v6 saw hall",), {}, "v6 saw hall", False),
        ((), {"v6": "its set is gone"}, "cannot be told of v6: its set is gone", False),
        (("v7 saw hall",), {"v6": "its set is gone"}, "v7 saw hall; cannot be told of v6: its set is gone", False),
    ],
)
def test_a_leak_and_what_cannot_be_told_are_both_a_no(leaks: tuple[str, ...], unknown: dict[str, str], answer: str, passed: bool) -> None:
    check = judge(RULE, ExamLeaks(("v7", "v6"), leaks, unknown))
    assert check.asked == "no frame of the exam among the training frames of v7, v6"
    assert (check.found, check.passed) == (answer, passed)
