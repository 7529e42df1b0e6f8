"""The exported network answers as the trained one does."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import ExportParity
from validation.promotion.gate import Gate
from validation.strict import Strict


class OnnxParity(Strict):
    """The exported network differs from the trained one by at most `depth_m` metres, and agrees on this share of class pixels, on `frames`
    real frames or more."""

    check: Literal["onnx-parity"]
    depth_m: float = Field(gt=0)
    class_agreement: float = Field(ge=0, le=1)
    frames: int = Field(ge=1)


def judge(rule: OnnxParity, parity: ExportParity | None) -> Check:
    """None is a version that was not exported, or an export whose parity was not measured: a no. So is parity on noise."""
    question = (
        f"ONNX within {rule.depth_m:.1e} m of the trained network, classes agree on {rule.class_agreement:.2%},"
        f" on {rule.frames} real frames or more"
    )
    if parity is None:
        return Check(rule.check, question, "not exported: run `vortex export`", False)
    # Written so that NaN fails: every comparison with it is false.
    close = parity.depth_m <= rule.depth_m and parity.class_agreement >= rule.class_agreement
    passed = close and parity.frames >= rule.frames and not parity.noise
    answer = f"{parity.depth_m:.1e} m, {parity.class_agreement:.2%} on {parity.frames} frames of {parity.source}"
    return Check(rule.check, question, answer, passed)


GATE: Final = Gate(OnnxParity, (ExportParity,), judge)
