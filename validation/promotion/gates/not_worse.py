"""The version is not worse than the one that holds the channel."""

from __future__ import annotations

import math
from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import Incumbent, Measurement
from validation.promotion.gate import Gate
from validation.strict import Strict


class NotWorse(Strict):
    """`metric` is at most `tolerance` (a share of the incumbent's value) worse than the incumbent's."""

    check: Literal["not-worse"]
    metric: str
    direction: Literal["lower", "higher"]
    tolerance: float = Field(ge=0)


def judge(rule: NotWorse, measurement: Measurement, incumbent: Incumbent | None) -> Check:
    """An empty channel (None) takes any version that was measured; an incumbent that was not measured there is a no."""
    name = f"{rule.check}-{rule.metric}"
    slack = f" by more than {rule.tolerance:.1%}" if rule.tolerance else ""

    def question(holder: str) -> str:
        return f"{rule.metric} ({rule.direction} is better) not worse than {holder}{slack} on {measurement.place}"

    ours = (measurement.values or {}).get(rule.metric)
    if ours is None or not math.isfinite(ours):
        state = "not measured" if ours is None else f"{ours}"
        return Check(name, question(incumbent.version if incumbent else "the incumbent"), f"{rule.metric} {state}", False)
    if incumbent is None:
        return Check(name, question("an incumbent"), f"{ours:.3f}; the channel is empty", True)
    version = incumbent.version
    theirs = (incumbent.values or {}).get(rule.metric)
    if theirs is None or not math.isfinite(theirs):
        state = "was not measured there" if theirs is None else f"has {theirs}"
        answer = f"{ours:.3f}, but {version} {state}: run `vortex evaluate {version}` on the same data"
        return Check(name, question(version), answer, False)
    allowed = rule.tolerance * abs(theirs)
    passed = ours <= theirs + allowed if rule.direction == "lower" else ours >= theirs - allowed
    return Check(name, question(version), f"{ours:.3f} against {theirs:.3f}", passed)


GATE: Final = Gate(NotWorse, (Measurement, Incumbent), judge)
