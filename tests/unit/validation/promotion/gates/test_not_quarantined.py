from __future__ import annotations

from validation.promotion.evidence import Quarantines
from validation.promotion.gate import Undecided
from validation.promotion.gates.not_quarantined import NotQuarantined, judge

RULE = NotQuarantined(check="not-quarantined")


def test_what_stands_in_quarantine_is_named_and_nobody_overrides_it() -> None:
    check = judge(RULE, Quarantines(("v10", "v9"), ("v9 is in quarantine since then (Ada: brakes late)",)))
    assert check.asked == "nothing in quarantine of v10, v9 and their data"
    assert check.found == "v9 is in quarantine since then (Ada: brakes late); it ends with: vortex quarantine --lift"
    assert not check.passed and not isinstance(check, Undecided)


def test_nothing_in_quarantine_is_a_yes() -> None:
    check = judge(RULE, Quarantines(("v10",), ()))
    assert (check.found, check.passed) == ("nothing", True)
