"""The version was measured on the channel's domain."""

from __future__ import annotations

import math
from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import Measurement
from validation.promotion.gate import Gate, JudgedMetric
from validation.strict import Strict


class MetricsPresent(Strict):
    """These metrics were measured on the channel's domain, and are finite."""

    check: Literal["metrics-present"]
    metrics: tuple[JudgedMetric, ...] = Field(min_length=1)


def judge(rule: MetricsPresent, measurement: Measurement) -> Check:
    """A metric that is missing and one that is not finite are both a no."""
    question = f"{', '.join(rule.metrics)} measured and finite on {measurement.place}"
    values = measurement.values
    if values is None:
        return Check(rule.check, question, "not measured", False)
    missing = [name for name in rule.metrics if name not in values]
    broken = [f"{name} = {values[name]}" for name in rule.metrics if not math.isfinite(values.get(name, 0.0))]
    faults = ([f"missing: {', '.join(missing)}"] if missing else []) + ([f"not finite: {', '.join(broken)}"] if broken else [])
    answer = "; ".join(faults) or ", ".join(f"{name} {values[name]:.3f}" for name in rule.metrics)
    return Check(rule.check, question, answer, not faults)


GATE: Final = Gate(MetricsPresent, (Measurement,), judge)
