"""NVIDIA's own parser and builder take the file that a TensorRT device is sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import ShippedFile
from validation.promotion.gate import Gate
from validation.strict import Strict


class EngineBuilds(Strict):
    """Asked of files for a Jetson, on machines where TensorRT-RTX is installed; nothing is asked where it is not."""

    check: Literal["engine-builds"]


def judge(rule: EngineBuilds, file: ShippedFile | None) -> Iterable[Check]:
    """None is a file that is not there, which other gates refuse."""
    if file is not None and file.builds is not None:
        passed, text = file.builds
        yield Check(rule.check, f"NVIDIA's parser and builder take the {file.form} file", text, passed)


GATE: Final = Gate(EngineBuilds, (ShippedFile,), judge)
