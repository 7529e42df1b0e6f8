from __future__ import annotations

import math

import pytest

from validation.promotion.evidence import ExportParity
from validation.promotion.gates.onnx_parity import OnnxParity, judge

RULE = OnnxParity(check="onnx-parity", depth_m=1e-4, class_agreement=0.999)


@pytest.mark.parametrize(
    ("parity", "answer", "passed"),
    [
        (ExportParity(1.5e-5, 1.0), "1.5e-05 m, 100.00%", True),
        (ExportParity(1e-4, 0.999), "1.0e-04 m, 99.90%", True),
        (None, "not exported: run `vortex export`", False),
        (ExportParity(2e-4, 1.0), "2.0e-04 m, 100.00%", False),
        (ExportParity(math.nan, 1.0), "nan m, 100.00%", False),
        (ExportParity(1.5e-5, 0.9), "1.5e-05 m, 90.00%", False),
        (ExportParity(1.5e-5, math.nan), "1.5e-05 m, nan%", False),
    ],
)
def test_both_bounds_hold_with_their_ends_and_nan_holds_neither(parity: ExportParity | None, answer: str, passed: bool) -> None:
    check = judge(RULE, parity)
    assert (check.name, check.asked) == ("onnx-parity", "ONNX within 1.0e-04 m of the trained network, classes agree on 99.90%")
    assert (check.found, check.passed) == (answer, passed)
