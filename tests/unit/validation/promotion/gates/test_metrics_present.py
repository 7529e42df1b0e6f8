from __future__ import annotations

import math

import pytest

from validation.promotion.evidence import Measurement
from validation.promotion.gates.metrics_present import MetricsPresent, judge

RULE = MetricsPresent(check="metrics-present", metrics=("rmse", "mae"))


@pytest.mark.parametrize(
    ("values", "answer", "passed"),
    [
        ({"rmse": 0.4, "mae": 0.3, "delta1": math.nan}, "rmse 0.400, mae 0.300", True),
        (None, "not measured", False),
        ({}, "missing: rmse, mae", False),
        ({"rmse": 0.4}, "missing: mae", False),
        ({"rmse": math.nan}, "missing: mae; not finite: rmse = nan", False),
        ({"rmse": 0.4, "mae": math.inf}, "not finite: mae = inf", False),
    ],
)
def test_every_metric_that_is_asked_for_is_there_and_finite(values: dict[str, float] | None, answer: str, passed: bool) -> None:
    check = judge(RULE, Measurement("corridor · d455", values))
    assert (check.name, check.asked) == ("metrics-present", "rmse, mae measured and finite on corridor · d455")
    assert (check.found, check.passed) == (answer, passed)
