from __future__ import annotations

from validation.promotion.evidence import Baselines, Comparison, Measurement
from validation.promotion.gate import Undecided
from validation.promotion.gates.better_than_nothing import BetterThanNothing, judge

RULE = BetterThanNothing(check="better-than-nothing", metric="rmse")
HERE = Measurement("corridor · d455", {"rmse": 0.4})


def test_each_baseline_must_be_beaten_and_equivalent_is_not_enough() -> None:
    baselines = Baselines(
        {
            "one depth everywhere": lambda metric, margin: Comparison("better", f"better within {margin}"),
            "the mean depth map": lambda metric, margin: Comparison("equivalent", "the same"),
            "a third": lambda metric, margin: Comparison("open", "too little to say"),
        }
    )
    checks = list(judge(RULE, HERE, baselines))
    assert [(check.found, check.passed) for check in checks] == [
        ("better within 0.0", True),
        ("the same", False),
        ("too little to say", False),
    ]
    assert checks[1].asked == "rmse better than the mean depth map on corridor · d455"
    assert {check.name for check in checks} == {"better-than-nothing-rmse"}
    assert [isinstance(check, Undecided) for check in checks] == [False, False, True]


def test_nothing_is_asked_of_a_channel_that_is_held() -> None:
    assert list(judge(RULE, HERE, None)) == []
