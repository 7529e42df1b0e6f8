"""The exam asks no less than it asked of the version that holds the channel."""

from __future__ import annotations

from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import Exam
from validation.promotion.gate import Gate, Undecided
from validation.strict import Strict


class ExamKept(Strict):
    """Every set that judged the version in production judges now, by as many frames or more."""

    check: Literal["exam-kept"]


def judge(rule: ExamKept, exam: Exam) -> Check:
    """A set that is gone, or has become smaller, could be the one on which the version is worse: that is for a person to decide.

    A set is the same one by its name, since labels and further frames change its content, and by its content, whatever it is called. One
    that has its name and other content judges, and is named: it may be another set.
    """
    if not exam.earlier:
        return Check(rule.check, f"the exam of {exam.domain} asks no less than it did", "no earlier exam is recorded on the channel", True)
    before = ", ".join(f"{name} ({frames} frames)" for name, frames in exam.earlier.items())
    question = f"the exam of {exam.domain} asks no less than it asked of {exam.holder}: {before}"
    now = {part: frames for name, frames, _ in exam.sets for part in name.split("@")}
    contents = {name.partition("@")[2] for name, _, _ in exam.sets}
    faults, changed = [], []
    for name, frames in exam.earlier.items():
        called, _, content = name.partition("@")
        left = now.get(called, now.get(content, 0))
        changed += [called] if called in now and content not in contents else []
        if left < frames:
            faults.append(f"{called} judges by {left} of {frames} frames" if left else f"{called} does not judge any more")
    remarks = [f"{called} has other content than then" for called in changed]
    return (Undecided if faults else Check)(rule.check, question, "; ".join([*(faults or ["all of it"]), *remarks]), not faults)


GATE: Final = Gate(ExamKept, (Exam,), judge)
