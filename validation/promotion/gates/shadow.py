"""Beside the version in production, on a device, the version says the same of most pixels, and does not crash."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import ShadowRuns
from validation.promotion.gate import Gate
from validation.strict import Strict


class AgreesInShadow(Strict):
    """Over `frames` frames or more on an enrolled device, depth is within 10 % on the share `depth` of the pixels, and the class the same on
    the share `same_class`, where classes were compared; and its process did not die.
    """

    check: Literal["shadow"]
    frames: int = Field(ge=1)
    depth: float = Field(ge=0, le=1)
    same_class: float = Field(ge=0, le=1)


def judge(rule: AgreesInShadow, runs: ShadowRuns) -> Check:
    """The newest report that an enrolled device signed is judged; none is a no."""
    question = (
        f"beside production on an enrolled device: depth within 10 % on {rule.depth:.1%} of the pixels, the same class on"
        f" {rule.same_class:.1%}, over {rule.frames} frames or more"
    )
    counting = [run for run in runs.runs if run.device]
    if not counting:
        others = f"none that counts, of {len(runs.runs)}: {'; '.join(run.text for run in runs.runs)}" if runs.runs else "no report"
        return Check(rule.check, question, f"{others} of {runs.version}: put it into staging, and collect what devices report", False)
    newest = counting[-1]
    classes = newest.same_class is None or newest.same_class >= rule.same_class
    passed = newest.frames >= rule.frames and newest.depth_within_10_percent >= rule.depth and classes and not newest.crashes
    crashed = ", and then it crashed" * bool(newest.crashes)
    same = "" if newest.same_class is None else f", {newest.same_class:.1%}"
    return Check(
        rule.check, question, f"{newest.depth_within_10_percent:.1%}{same} over {newest.frames} frames{crashed} ({newest.text})", passed
    )


GATE: Final = Gate(AgreesInShadow, (ShadowRuns,), judge)
