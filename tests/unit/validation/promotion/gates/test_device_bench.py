from __future__ import annotations

import pytest

from validation.promotion.evidence import DeviceRun, DeviceRuns, ShadowRun, ShadowRuns
from validation.promotion.gates import device_bench, shadow
from validation.promotion.gates.device_bench import FastOnDevice
from validation.promotion.gates.shadow import AgreesInShadow

FAST = FastOnDevice(check="device-bench", p99_ms=33)
AGREES = AgreesInShadow(check="shadow", frames=100, depth=0.9, same_class=0.8)
EXPORT = "ab" * 32


@pytest.mark.parametrize(
    ("export", "runs", "passed", "answer"),
    [
        (EXPORT, (DeviceRun(33.0, 100, "orin-07", "first"),), True, "33 ms over 100 frames on orin-07"),
        (EXPORT, (DeviceRun(20.0, 99, "orin-07", "first"),), False, "20 ms over 99 frames on orin-07"),
        (
            EXPORT,
            (DeviceRun(20.0, 100, "orin-07", "first"), DeviceRun(33.1, 100, "orin-08", "newest")),
            False,
            "33.1 ms over 100 frames on orin-08",
        ),
        (
            EXPORT,
            (DeviceRun(20.0, 100, "orin-07", "first"), DeviceRun(50.0, 100, "", "a stranger's")),
            True,
            "20 ms over 100 frames on orin-07",
        ),
        (EXPORT, (DeviceRun(20.0, 100, "", "a stranger's"),), False, "none that counts, of 1: a stranger's"),
        (EXPORT, (), False, "no report"),
        (None, (DeviceRun(20.0, 100, "orin-07", "of another"),), False, "not exported"),
    ],
)
def test_the_newest_report_of_an_enrolled_device_counts(export: str | None, runs: tuple[DeviceRun, ...], passed: bool, answer: str) -> None:
    check = device_bench.judge(FAST, DeviceRuns("v9", export, runs))
    assert (check.passed, check.found[: len(answer)]) == (passed, answer)


@pytest.mark.parametrize(
    ("run", "passed"),
    [
        (ShadowRun("orin-07", 100, 0.9, 0.8, "report"), True),
        (ShadowRun("orin-07", 100, 0.9, None, "report"), True),
        (ShadowRun("orin-07", 99, 0.9, 0.8, "report"), False),
        (ShadowRun("orin-07", 100, 0.89, 0.8, "report"), False),
        (ShadowRun("orin-07", 100, 0.9, 0.79, "report"), False),
        (ShadowRun("", 100, 0.9, 0.8, "report"), False),
        (ShadowRun("orin-07", 100, 0.9, 0.8, "report", crashes=1), False),
    ],
)
def test_a_candidate_has_to_agree_on_an_enrolled_device(run: ShadowRun, passed: bool) -> None:
    assert shadow.judge(AGREES, ShadowRuns("v9", (run,))).passed is passed
