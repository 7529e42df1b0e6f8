"""The channel's device takes pictures of the version's input size."""

from __future__ import annotations

from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import DeviceInput
from validation.promotion.gate import Gate
from validation.strict import Strict


class DeviceSize(Strict):
    """Input sizes (H, W) that a runtime takes; a runtime that is not named takes any."""

    check: Literal["device-size"]
    sizes: dict[str, tuple[int, int]]


def judge(rule: DeviceSize, version: DeviceInput) -> Check:
    """A runtime that the rule does not name takes every size."""
    size = rule.sizes.get(version.runtime)
    question = f"input of {size[0]}x{size[1]} for {version.runtime}" if size else f"any input size for {version.runtime}"
    return Check(rule.check, question, f"{version.size[0]}x{version.size[1]}", size is None or version.size == size)


GATE: Final = Gate(DeviceSize, (DeviceInput,), judge)
