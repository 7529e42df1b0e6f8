"""The version is not worse than the one that holds the channel."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import Comparison, Incumbent, Measurement
from validation.promotion.gate import Gate, JudgedMetric, Undecided
from validation.strict import Strict


class NotWorse(Strict):
    """`metric` is better than the incumbent's, or equivalent within `margin`, a share of the incumbent's value.

    Where it is about less than the share `least` of the pixels with truth, the exam says nothing of it: that is said, and refuses nobody.
    """

    check: Literal["not-worse"]
    metric: JudgedMetric
    margin: float = Field(ge=0, le=1)
    least: float = Field(default=0.0, ge=0, lt=1)


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
    comparison = incumbent.compare(rule.metric, rule.margin)
    if comparison.share < rule.least:
        few = f"cannot be told: {comparison.share:.2%} of the exam's pixels with truth are of that kind, {rule.least:.2%} are needed"
        return Check(name, question, few, True)
    return answer(name, question, comparison, ("better", "equivalent"))


def answer(name: str, question: str, comparison: Comparison, good: tuple[str, ...]) -> Check:
    """A check of what a comparison came to: a yes for these words, and for too little to say what a person may decide."""
    kind = Undecided if comparison.word == "open" else Check
    return kind(name, question, comparison.text, comparison.word in good)


GATE: Final = Gate(NotWorse, (Measurement, Incumbent), judge)
