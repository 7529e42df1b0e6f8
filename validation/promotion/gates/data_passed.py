"""The data that the version, and every one whose weights are in it, was trained on has passed its own gate."""

from __future__ import annotations

from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import DataState, TrainingData
from validation.promotion.gate import Gate
from validation.strict import Strict

_ANSWERS: Final[dict[DataState, str]] = {
    "failed": "had failed `vortex validate`",
    "never validated": "had never been validated",
    "allowed unvalidated": "had not passed `vortex validate`, and was allowed",
    "declared": "is declared and not proven, since its checkpoint was adopted",
}


class DataPassed(Strict):
    """The data of the version's whole line of weights had passed its gate."""

    check: Literal["data-passed"]


def judge(rule: DataPassed, data: TrainingData) -> Check:
    """Only data that passed before the training is a yes, of the version itself and of all that it has weights from."""
    faults = [f"{dataset} of {version} {_ANSWERS[state]}" for version, dataset, state in data.uses if state != "passed"]
    faults += [f"nothing is recorded of the data of {version}" for version in data.unrecorded]
    question = f"the training data of {', '.join(data.line)} passed `vortex validate`"
    answer = f"{'; '.join(faults)}: train again, from weights and on data that passed" if faults else "passed"
    return Check(rule.check, question, answer, not faults)


GATE: Final = Gate(DataPassed, (TrainingData,), judge)
