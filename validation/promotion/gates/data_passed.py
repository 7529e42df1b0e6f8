"""The data that the version was trained on has passed its own gate."""

from __future__ import annotations

from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import DataState, TrainingData
from validation.promotion.gate import Gate
from validation.strict import Strict

_ANSWERS: Final[dict[DataState, str]] = {
    "passed": "passed",
    "failed": "it failed",
    "never validated": "never validated: run `vortex validate` on it",
    "allowed unvalidated": "trained with --allow-unvalidated: train again on data that passes",
}


class DataPassed(Strict):
    """The data that the version was trained on has passed its gate."""

    check: Literal["data-passed"]


def judge(rule: DataPassed, data: TrainingData) -> Check:
    """Only data that passed before the training is a yes."""
    return Check(rule.check, "the training data passed `vortex validate`", _ANSWERS[data.state], data.state == "passed")


GATE: Final = Gate(DataPassed, (TrainingData,), judge)
