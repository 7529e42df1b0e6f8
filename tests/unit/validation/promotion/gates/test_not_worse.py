from __future__ import annotations

import math
from typing import Literal

import pytest

from validation.promotion.evidence import Incumbent, Measurement
from validation.promotion.gates.not_worse import NotWorse, judge

RULE = NotWorse(check="not-worse", metric="rmse", direction="lower", tolerance=0.0)
ASKED = "rmse (lower is better) not worse than {} on corridor · d455"
AGAIN = "run `vortex evaluate v9` on the same data"


def here(rmse: float) -> Measurement:
    return Measurement("corridor · d455", {"rmse": rmse, "mae": 0.1})


@pytest.mark.parametrize(
    ("measurement", "incumbent", "asked", "answer", "passed"),
    [
        (here(0.4), Incumbent("v9", {"rmse": 0.5}), "v9", "0.400 against 0.500", True),
        (here(0.4), Incumbent("v9", {"rmse": 0.4}), "v9", "0.400 against 0.400", True),
        (here(0.4), Incumbent("v9", {"rmse": 0.3}), "v9", "0.400 against 0.300", False),
        (here(0.4), None, "an incumbent", "0.400; the channel is empty", True),
        (here(0.4), Incumbent("v9", None), "v9", f"0.400, but v9 was not measured there: {AGAIN}", False),
        (here(0.4), Incumbent("v9", {"mae": 0.5}), "v9", f"0.400, but v9 was not measured there: {AGAIN}", False),
        (here(0.4), Incumbent("v9", {"rmse": math.nan}), "v9", f"0.400, but v9 has nan: {AGAIN}", False),
        (here(math.nan), Incumbent("v9", {"rmse": 0.5}), "v9", "rmse nan", False),
        (Measurement("corridor · d455", None), Incumbent("v9", {"rmse": 0.5}), "v9", "rmse not measured", False),
        (Measurement("corridor · d455", None), None, "the incumbent", "rmse not measured", False),
    ],
)
def test_a_check_names_the_metric_the_place_and_both_values(
    measurement: Measurement, incumbent: Incumbent | None, asked: str, answer: str, passed: bool
) -> None:
    check = judge(RULE, measurement, incumbent)
    assert (check.name, check.asked) == ("not-worse-rmse", ASKED.format(asked))
    assert (check.found, check.passed) == (answer, passed)


@pytest.mark.parametrize(
    ("direction", "tolerance", "ours", "theirs", "passed"),
    [
        ("lower", 0.1, 0.54, 0.5, True),
        ("lower", 0.1, 0.56, 0.5, False),
        ("higher", 0.0, 0.7, 0.6, True),
        ("higher", 0.0, 0.5, 0.6, False),
        ("higher", 0.2, 0.5, 0.6, True),
    ],
)
def test_direction_and_tolerance(direction: Literal["lower", "higher"], tolerance: float, ours: float, theirs: float, passed: bool) -> None:
    rule = NotWorse(check="not-worse", metric="rmse", direction=direction, tolerance=tolerance)
    check = judge(rule, here(ours), Incumbent("v9", {"rmse": theirs}))
    assert check.passed is passed
    slack = f" by more than {tolerance:.1%}" if tolerance else ""
    assert check.asked == f"rmse ({direction} is better) not worse than v9{slack} on corridor · d455"
