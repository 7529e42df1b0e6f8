"""The version was trained on the classes that the channel's domain requires."""

from __future__ import annotations

from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import TrainedClasses
from validation.promotion.gate import Gate
from validation.strict import Strict


class ClassesTrained(Strict):
    """Each class that the domain requires has labelled pixels in the training frames of the version's line of weights."""

    check: Literal["classes-trained"]


def judge(rule: ClassesTrained, classes: TrainedClasses) -> Check:
    """A domain that requires none takes any version; where pixels were not counted, what is required is a no."""
    required = ", ".join(classes.required)
    question = f"trained on the classes that the domain requires: {required or 'none'}"
    if not classes.required:
        return Check(rule.check, question, "none required", True)
    if classes.pixels is None:
        return Check(rule.check, question, "its labelled pixels were not counted: train it again", False)
    pixels = classes.pixels
    answer = ", ".join(f"{name} {pixels[name]:,} pixels" for name in classes.required)
    return Check(rule.check, question, answer, all(pixels[name] > 0 for name in classes.required))


GATE: Final = Gate(ClassesTrained, (TrainedClasses,), judge)
