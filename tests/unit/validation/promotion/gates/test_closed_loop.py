from __future__ import annotations

import pytest

from validation.evidence.parity import Pairs
from validation.policies import load_policies
from validation.promotion.evidence import ClosedLoopRun, ClosedLoopRuns
from validation.promotion.gate import Undecided
from validation.promotion.gates.closed_loop import ClosedLoopParity, judge

RULE = ClosedLoopParity(check="closed-loop", margin=0.1)
MANY, TEN, WORSE = Pairs(79, 0, 0, 1), Pairs(9, 0, 0, 1), Pairs(50, 0, 29, 1)


def run(
    reached: Pairs = MANY, unhurt: Pairs = MANY, trusted: bool = True, simulator: str = "gazebo", text: str = "a report"
) -> ClosedLoopRun:
    return ClosedLoopRun(simulator, reached, unhurt, trusted, text)


def answers(*runs: ClosedLoopRun, rule: ClosedLoopParity = RULE) -> list[tuple[bool, bool]]:
    return [(check.passed, isinstance(check, Undecided)) for check in judge(rule, ClosedLoopRuns("v9", runs))]


def test_both_questions_must_be_answered_by_parity() -> None:
    assert answers(run()) == [(True, False), (True, False)]
    assert answers(run(unhurt=WORSE)) == [(True, False), (False, False)]
    assert answers(run(reached=TEN)) == [(False, True), (True, False)]


def test_the_newest_that_counts_is_judged() -> None:
    assert answers(run(), run(reached=WORSE)) == [(False, False), (True, False)]
    assert answers(run(reached=WORSE), run()) == [(True, False), (True, False)]
    assert answers(run(), run(reached=WORSE, trusted=False)) == [(True, False), (True, False)]
    isaac = RULE.model_copy(update={"simulator": "isaac"})
    assert answers(run(), run(reached=WORSE, simulator="isaac"), rule=isaac) == [(False, False), (True, False)]


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ((), "none: vortex evidence add v9 REPORT --kind closed-loop"),
        ((run(trusted=False, text="x.json, unsigned"),), "none that counts, of 1: x.json, unsigned"),
    ],
)
def test_without_a_report_that_counts_the_answer_is_no(runs: tuple[ClosedLoopRun, ...], found: str) -> None:
    (check,) = judge(RULE, ClosedLoopRuns("v9", runs))
    assert not check.passed and not isinstance(check, Undecided)
    assert check.asked == "a signed closed-loop report of v9" and check.found.startswith(found)


def test_unsigned_reports_count_only_where_the_rule_says_so() -> None:
    assert answers(run(trusted=False), rule=RULE.model_copy(update={"signed": False})) == [(True, False), (True, False)]


def test_it_is_off_unless_it_is_asked_for() -> None:
    policy = load_policies().promotion
    assert all(not isinstance(rule, ClosedLoopParity) for stage in ("candidate", "staging", "production") for rule in policy.stage(stage))
