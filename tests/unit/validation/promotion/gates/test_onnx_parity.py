from __future__ import annotations

import math

import pytest

from validation.promotion.evidence import ExportParity
from validation.promotion.gates.onnx_parity import OnnxParity, judge

RULE = OnnxParity(check="onnx-parity", depth_m=1e-4, class_agreement=0.999, frames=5)


@pytest.mark.parametrize(
    ("parity", "answer", "passed"),
    [
        (ExportParity(1.5e-5, 1.0, 10, "rooms", False), "1.5e-05 m, 100.00% on 10 frames of rooms", True),
        (ExportParity(1e-4, 0.999, 10, "rooms", False), "1.0e-04 m, 99.90% on 10 frames of rooms", True),
        (None, "not exported: run `vortex export`", False),
        (ExportParity(2e-4, 1.0, 10, "rooms", False), "2.0e-04 m, 100.00% on 10 frames of rooms", False),
        (ExportParity(math.nan, 1.0, 10, "rooms", False), "nan m, 100.00% on 10 frames of rooms", False),
        (ExportParity(1.5e-5, 0.9, 10, "rooms", False), "1.5e-05 m, 90.00% on 10 frames of rooms", False),
        (ExportParity(1.5e-5, math.nan, 10, "rooms", False), "1.5e-05 m, nan% on 10 frames of rooms", False),
        (ExportParity(1.5e-5, 1.0, 5, "rooms", False), "1.5e-05 m, 100.00% on 5 frames of rooms", True),
        (ExportParity(1.5e-5, 1.0, 4, "rooms", False), "1.5e-05 m, 100.00% on 4 frames of rooms", False),
        (ExportParity(1.5e-5, 1.0, 400, "noise", True), "1.5e-05 m, 100.00% on 400 frames of noise", False),
    ],
)
def test_both_bounds_hold_with_their_ends_and_nan_holds_neither(parity: ExportParity | None, answer: str, passed: bool) -> None:
    check = judge(RULE, parity)
    assert (check.name, check.asked) == (
        "onnx-parity",
        "ONNX within 1.0e-04 m of the trained network, classes agree on 99.90%, on 5 real frames or more",
    )
    assert (check.found, check.passed) == (answer, passed)
