from __future__ import annotations

import pytest

from validation.promotion.evidence import DataState, TrainingData
from validation.promotion.gates.data_passed import DataPassed, judge

RULE = DataPassed(check="data-passed")
AGAIN = ": train again, from weights and on data that passed"


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("passed", "passed"),
        ("failed", f"hall of v6 had failed `vortex validate`{AGAIN}"),
        ("never validated", f"hall of v6 had never been validated{AGAIN}"),
        ("allowed unvalidated", f"hall of v6 had not passed `vortex validate`, and was allowed{AGAIN}"),
        ("declared", f"hall of v6 is declared and not proven, since its checkpoint was adopted{AGAIN}"),
    ],
)
def test_an_ancestor_is_held_to_its_data_and_named(state: DataState, answer: str) -> None:
    check = judge(RULE, TrainingData(("v7", "v6"), (("v7", "lobby", "passed"), ("v6", "hall", state))))
    assert check.asked == "the training data of v7, v6 passed `vortex validate`"
    assert (check.found, check.passed) == (answer, state == "passed")


def test_data_that_nothing_is_recorded_of_is_a_no() -> None:
    check = judge(RULE, TrainingData(("v7", "v5"), (("v7", "lobby", "passed"),), ("v5",)))
    assert (check.found, check.passed) == (f"nothing is recorded of the data of v5{AGAIN}", False)
