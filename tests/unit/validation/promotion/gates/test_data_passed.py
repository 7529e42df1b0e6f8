from __future__ import annotations

import pytest

from validation.promotion.evidence import DataState, TrainingData
from validation.promotion.gates.data_passed import DataPassed, judge


@pytest.mark.parametrize(
    ("state", "answer", "passed"),
    [
        ("passed", "passed", True),
        ("failed", "it failed", False),
        ("never validated", "never validated: run `vortex validate` on it", False),
        ("allowed unvalidated", "trained with --allow-unvalidated: train again on data that passes", False),
    ],
)
def test_only_data_that_passed_is_a_yes_and_each_other_state_has_its_own_words(state: DataState, answer: str, passed: bool) -> None:
    check = judge(DataPassed(check="data-passed"), TrainingData(state))
    assert (check.name, check.asked) == ("data-passed", "the training data passed `vortex validate`")
    assert (check.found, check.passed) == (answer, passed)
