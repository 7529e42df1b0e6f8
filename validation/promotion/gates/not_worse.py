"""The version is not worse than the one that holds the channel."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import Comparison, Incumbent, Measurement
from validation.promotion.gate import Gate, JudgedMetric, Undecided
from validation.strict import Strict


class NotWorse(Strict):
    """`metric` is better than the incumbent's, or equivalent within `margin`, a share of the incumbent's value."""

    check: Literal["not-worse"]
    metric: JudgedMetric
    margin: float = Field(ge=0, le=1)


def judge(rule: NotWorse, measurement: Measurement, incumbent: Incumbent | None) -> Check:
    """An empty channel (None) has no one to be worse than; who was not measured, or an incumbent that cannot be judged there, is a no."""
    name = f"{rule.check}-{rule.metric}"
    holder = incumbent.version if incumbent else "an incumbent"
    question = f"{rule.metric} better than {holder}'s or equivalent within {rule.margin:.1%} on {measurement.place}"
    if measurement.values is None:
        return Check(name, question, "not measured", False)
    if incumbent is None:
        return Check(name, question, "the channel is empty", True)
    if incumbent.compare is None:
        return Check(name, question, incumbent.missing, False)
    return answer(name, question, incumbent.compare(rule.metric, rule.margin), ("better", "equivalent"))


def answer(name: str, question: str, comparison: Comparison, good: tuple[str, ...]) -> Check:
    """A check of what a comparison came to: a yes for these words, and for too little to say what a person may decide."""
    kind = Undecided if comparison.word == "open" else Check
    return kind(name, question, comparison.text, comparison.word in good)


GATE: Final = Gate(NotWorse, (Measurement, Incumbent), judge)
