"""The very file that ships does the task as the trained network does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.promotion.evidence import ShippedFile
from validation.promotion.gate import Gate
from validation.promotion.gates.not_worse import answer
from validation.strict import Strict


class TaskParity(Strict):
    """A file of less than fp32 is, by each metric of the exam, better than the network that it is made of, or equivalent within `margin`,
    a share of the network's value, of IoU within `iou` at least: 1 % of the IoU of a class that is hardly known is no difference that
    anybody could see. Where a metric is about less than the share `least` of the pixels with truth, and its frames are too few for an
    interval, its value alone has to be within that. An fp32 file is held to `onnx-parity` alone, which is closer.
    """

    check: Literal["task-parity"]
    margin: float = Field(ge=0, le=1)
    iou: float = Field(ge=0, le=1)
    least: float = Field(default=0.0, ge=0, lt=1)


def judge(rule: TaskParity, file: ShippedFile | None) -> Iterable[Check]:
    """One check a metric and place. None is a file that is not there: a no, and so is one that was not measured on the exam."""
    question = f"within {rule.margin:.1%} of the trained network on the exam"
    if file is None:
        yield Check(rule.check, f"the file that ships: {question}", "not exported", False)
    elif file.lossy and not file.judgements:
        yield Check(rule.check, f"the {file.form} file: {question}", f"not measured: {file.missing or 'no metric had a pixel'}", False)
    elif file.lossy:
        for metric, place, comparison in file.judgements:
            name = f"{rule.check}-{metric}"
            yield answer(name, f"the {file.form} file: {question}, {place}", comparison, ("better", "equivalent"))


GATE: Final = Gate(TaskParity, (ShippedFile,), judge)
