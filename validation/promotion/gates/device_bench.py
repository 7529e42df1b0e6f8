"""The very file that the channel's devices are sent runs fast enough on one of them."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import DeviceRuns
from validation.promotion.gate import Gate
from validation.strict import Strict


class FastOnDevice(Strict):
    """On an enrolled device, 99 of 100 frames take at most `p99_ms` milliseconds with the export that would be shipped, over `frames` or more.

    The newest report that an enrolled device of the channel's kind signed counts, by when it says that it was made.
    """

    check: Literal["device-bench"]
    p99_ms: float = Field(gt=0)
    frames: int = Field(default=100, ge=1)


def judge(rule: FastOnDevice, runs: DeviceRuns) -> Check:
    """No export, no report of it, or none that an enrolled device signed is a no."""
    export = f"export {runs.export_sha256[:12]}" if runs.export_sha256 else "export"
    question = (
        f"p99 of {rule.p99_ms:g} ms or less over {rule.frames} frames or more with the {export} of {runs.version} on an enrolled device"
    )
    if runs.export_sha256 is None:
        return Check(rule.check, question, "not exported: run `vortex export`", False)
    counting = [run for run in runs.runs if run.device]
    if not counting:
        others = f"none that counts, of {len(runs.runs)}: {'; '.join(run.text for run in runs.runs)}" if runs.runs else "no report"
        return Check(rule.check, question, f"{others}: vortex-jetson bench on a device, then vortex devices collect", False)
    newest = counting[-1]
    passed = newest.p99_ms <= rule.p99_ms and newest.frames >= rule.frames
    return Check(rule.check, question, f"{newest.p99_ms:g} ms over {newest.frames} frames on {newest.device} ({newest.text})", passed)


GATE: Final = Gate(FastOnDevice, (DeviceRuns,), judge)
