"""The sets that judge the channel have passed the data gate as they are now, and are large enough to judge by."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import Exam
from validation.promotion.gate import Gate
from validation.strict import Strict


class ExamPassed(Strict):
    """Every set of the exam lies in `data/` as `data.dvc` records it, has passed `vortex validate` so, and has at least `frames` frames."""

    check: Literal["exam-passed"]
    frames: int = Field(ge=1)


def judge(rule: ExamPassed, exam: Exam) -> Check:
    """One set that has not passed, or is too small, is a no: leaving it out must not help a version."""
    sets = ", ".join(f"{name} ({frames} frames)" for name, frames, _ in exam.sets)
    question = f"the exam of {exam.domain} passed `vortex validate`, {rule.frames} frames or more a set: {sets}"
    faults = [
        f"{name} {'failed' if passed is False else 'was never validated as it is now'}: run `vortex validate {name.partition('@')[0]}`"
        for name, _, passed in exam.sets
        if not passed
    ]
    faults += [f"{name} has {frames} frames" for name, frames, _ in exam.sets if frames < rule.frames]
    faults += exam.changed
    return Check(rule.check, question, "; ".join(faults) or "passed", not faults)


GATE: Final = Gate(ExamPassed, (Exam,), judge)
