from __future__ import annotations

import pytest

from validation.promotion.evidence import DeviceInput
from validation.promotion.gates.device_size import DeviceSize, judge

RULE = DeviceSize(check="device-size", sizes={"tensorrt": (240, 320)})


@pytest.mark.parametrize(
    ("version", "asked", "answer", "passed"),
    [
        (DeviceInput((240, 320), "tensorrt"), "input of 240x320 for tensorrt", "240x320", True),
        (DeviceInput((120, 160), "tensorrt"), "input of 240x320 for tensorrt", "120x160", False),
        (DeviceInput((320, 240), "tensorrt"), "input of 240x320 for tensorrt", "320x240", False),
        (DeviceInput((120, 160), "onnxruntime"), "any input size for onnxruntime", "120x160", True),
    ],
)
def test_a_runtime_takes_its_size_and_one_that_is_not_named_any(version: DeviceInput, asked: str, answer: str, passed: bool) -> None:
    check = judge(RULE, version)
    assert (check.name, check.asked, check.found, check.passed) == ("device-size", asked, answer, passed)
