"""No frame that judges the version was among those that it, or one whose weights are in it, was trained on."""

from __future__ import annotations

from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import ExamLeaks
from validation.promotion.gate import Gate
from validation.strict import Strict


class NoLeak(Strict):
    """No exam frame is among the training frames of the version's line of weights, by content or by likeness."""

    check: Literal["no-leak"]


def judge(rule: NoLeak, leaks: ExamLeaks) -> Check:
    """What cannot be told is a no as well."""
    question = f"no frame of the exam among the training frames of {', '.join(leaks.line)}"
    untold = [f"cannot be told of {name}: {why}" for name, why in leaks.unknown.items()]
    return Check(rule.check, question, "; ".join([*leaks.leaks, *untold]) or "none", not leaks.leaks and not untold)


GATE: Final = Gate(NoLeak, (ExamLeaks,), judge)
