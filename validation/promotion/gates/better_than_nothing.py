"""The first version of a channel is better than what knows nothing of a picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import Baselines, Measurement
from validation.promotion.gate import Gate, JudgedMetric
from validation.promotion.gates.not_worse import answer
from validation.strict import Strict


class BetterThanNothing(Strict):
    """`metric` is better than that of every baseline: one depth everywhere, and the mean depth map of the training frames."""

    check: Literal["better-than-nothing"]
    metric: JudgedMetric


def judge(rule: BetterThanNothing, measurement: Measurement, baselines: Baselines | None) -> Iterable[Check]:
    """Nothing is asked where the channel is held (None): who comes after must not be worse than its holder."""
    for name, compare in baselines.compare.items() if baselines else ():
        question = f"{rule.metric} better than {name} on {measurement.place}"
        yield answer(f"{rule.check}-{rule.metric}", question, compare(rule.metric, 0.0), ("better",))


GATE: Final = Gate(BetterThanNothing, (Measurement, Baselines), judge)
