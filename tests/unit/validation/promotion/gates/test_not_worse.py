from __future__ import annotations

import pytest

from validation.promotion.evidence import Comparison, Incumbent, Measurement, Word
from validation.promotion.gate import Undecided
from validation.promotion.gates.not_worse import NotWorse, judge

RULE = NotWorse(check="not-worse", metric="rmse", margin=0.01)
HERE = Measurement("corridor · d455", {"rmse": 0.4})


def stands(word: Word) -> Incumbent:
    return Incumbent("v9", lambda metric, margin: Comparison(word, f"{word} in {metric} within {margin}"))


@pytest.mark.parametrize(("word", "passed"), [("better", True), ("equivalent", True), ("worse", False), ("open", False)])
def test_better_and_equivalent_pass_and_the_check_says_what_was_compared(word: Word, passed: bool) -> None:
    check = judge(RULE, HERE, stands(word))
    assert (check.name, check.asked) == ("not-worse-rmse", "rmse better than v9's or equivalent within 1.0% on corridor · d455")
    assert (check.found, check.passed) == (f"{word} in rmse within 0.01", passed)
    assert isinstance(check, Undecided) is (word == "open")


@pytest.mark.parametrize(
    ("measurement", "incumbent", "answer", "passed"),
    [
        (HERE, None, "the channel is empty", True),
        (HERE, Incumbent("v9", None, "v9 is gone"), "v9 is gone", False),
        (Measurement("corridor · d455", None), None, "not measured", False),
        (Measurement("corridor · d455", None), stands("better"), "not measured", False),
    ],
)
def test_who_cannot_be_compared(measurement: Measurement, incumbent: Incumbent | None, answer: str, passed: bool) -> None:
    check = judge(RULE, measurement, incumbent)
    assert (check.found, check.passed, isinstance(check, Undecided)) == (answer, passed, False)
