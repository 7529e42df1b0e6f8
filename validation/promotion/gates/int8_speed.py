"""An 8-bit file is sent to a host only where it was measured to be worth it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import ShippedFile
from validation.promotion.gate import Gate
from validation.strict import Strict


class Int8Speed(Strict):
    """An int8 file for the host is `over_eager` times as fast as torch eager or more, by the newest report of the very file, run by ONNX
    Runtime on one thread.

    Nothing is asked of any other file: how fast a Jetson is with it is the question of `device-bench`.
    """

    check: Literal["int8-speed"]
    over_eager: float = Field(gt=0)


def judge(rule: Int8Speed, file: ShippedFile | None) -> Iterable[Check]:
    """None is a file that is not there, which other gates refuse. No report is a no: fp32 is what a host is sent by itself."""
    if file is not None and file.speed is not None:
        question = f"the {file.form} file is {rule.over_eager:g} times as fast as torch eager or more, as measured with this very file"
        over_eager, text = file.speed.over_eager, file.speed.text
        found = text if over_eager is None else f"{over_eager:.2f} times ({text})"
        yield Check(rule.check, question, found, over_eager is not None and over_eager >= rule.over_eager)


GATE: Final = Gate(Int8Speed, (ShippedFile,), judge)
