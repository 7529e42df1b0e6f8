"""The frames that judge are worth enough independent ones."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import Measurement
from validation.promotion.gate import Gate
from validation.strict import Strict


class IndependentFrames(Strict):
    """The judged frames of every set and camera are worth at least `frames` independent ones."""

    check: Literal["independent-frames"]
    frames: float = Field(ge=1)


def judge(rule: IndependentFrames, measurement: Measurement) -> Check:
    """Frames whose worth is not known are a no."""
    question = f"worth {rule.frames:g} independent frames or more on {measurement.place}"
    worth = measurement.effective_frames
    answer = "not known: there are no errors of single frames" if worth is None else f"{measurement.frames} frames worth {worth:.1f}"
    passed = worth is not None and worth >= rule.frames
    if worth is not None and not passed:
        answer += ": hold out frames of more recordings"
    return Check(rule.check, question, answer, passed)


GATE: Final = Gate(IndependentFrames, (Measurement,), judge)
