"""A stopwatch for one turn of many, and what the turns come to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

TIMED: Final = 2
"""Ticks of a turn that are timed at least."""


class Enough(Exception):
    """The turn is over."""


@dataclass
class Timings:
    """What was timed. The first five have an entry a round, in seconds a step."""

    batch: int
    """Frames of a step: less than the recipe's batch, where there are no more."""
    loader: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    frozen: list[float] = field(default_factory=list)
    """Both together with the encoder frozen; empty when no epoch has it so."""
    doubled: list[float] = field(default_factory=list)
    """A step of twice the batch; empty where that was not tried, or does not fit."""
    validation_start: float = 0.0
    """Until the first batch is judged."""
    validation_batch: int = 1
    """Frames of that batch."""
    validation_frames: list[float] = field(default_factory=list)
    """Seconds a frame of each later batch; empty when the first batch is the only one."""
    forward: float = 0.0
    """Seconds that the device computes to judge one frame."""
    checkpoint: list[float] = field(default_factory=list)
    start: float = 0.0
    processes: int = 0
    """That prepare batches; 0 is one thread."""


class Turn:
    """A stopwatch over ticks. Those before `untimed` empty what had been prepared while others took their turns."""

    def __init__(self, seconds: float, untimed: int, device: torch.device) -> None:
        self._seconds, self._untimed, self._device = seconds, untimed, device
        self._ticks, self._started = 0, 0.0
        self.each = 0.0

    def tick(self) -> None:
        """One more is done. Raises Enough when the turn is over; `each` is then the seconds a tick."""
        self._ticks += 1
        timed = self._ticks - self._untimed
        if timed == 0:
            _finish(self._device)
            self._started = time.perf_counter()
        elif timed >= TIMED and time.perf_counter() - self._started >= self._seconds:
            _finish(self._device)
            self.each = (time.perf_counter() - self._started) / timed
            raise Enough


def _finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was told."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)
