from __future__ import annotations

import pytest

from validation.promotion.evidence import HostSpeed, ShippedFile
from validation.promotion.gates.int8_speed import Int8Speed, judge

RULE = Int8Speed(check="int8-speed", over_eager=2.5)


@pytest.mark.parametrize(
    ("speed", "passed", "answer"),
    [
        (HostSpeed(2.5, "host (a CPU), 2026-11-29"), True, "2.50 times (host (a CPU), 2026-11-29)"),
        (HostSpeed(2.49, "host (a CPU), 2026-11-29"), False, "2.49 times (host (a CPU), 2026-11-29)"),
        (HostSpeed(None, "not measured"), False, "not measured"),
    ],
)
def test_8_bits_have_to_pay_on_a_host(speed: HostSpeed, passed: bool, answer: str) -> None:
    (check,) = judge(RULE, ShippedFile("int8 for host", True, speed=speed))
    assert (check.passed, check.found) == (passed, answer) and "int8 for host file is 2.5 times as fast" in check.asked


def test_nothing_is_asked_of_other_files() -> None:
    assert not list(judge(RULE, None)) and not list(judge(RULE, ShippedFile("int8 for jetson", True)))
