"""Wall time: when the machine will be taken away, and how long before that a training has to end."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from core.errors import UsageError
from pipelines.runs.events import TrainEvent

SLURM_START, SLURM_END = "SLURM_JOB_START_TIME", "SLURM_JOB_END_TIME"
"""Where SLURM tells a job its own wall, in Unix seconds."""
SECONDS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}
LEAST_MARGIN_S = 60.0
LEAST_SHARE = 0.05
"""The margin before anything was measured: a minute, or a twentieth of a wall that is nearer than twenty minutes."""
Clock = Callable[[], float]


class Wall:
    """The end of the machine's time. It is near when what is left would not do for one more step and an orderly end.

    An orderly end is a checkpoint, and for a version one more validation. Both have been seen within the pauses between two events, so
    the margin is twice the longest of them: once for what has just begun, once for the end.
    """

    def __init__(self, end: float, name: str, clock: Clock = time.time) -> None:
        """`end` is a Unix time; `name` is how a version names the wall ("wall time 12h")."""
        self.end, self.name, self._clock = end, name, clock
        self._least = min(LEAST_MARGIN_S, LEAST_SHARE * max(0.0, end - clock()))
        self._longest = 0.0
        self._last: float | None = None

    def __str__(self) -> str:
        """When it is: a number without its unit is then seen before hours are lost to it."""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.end))
        return f"{duration(self.end - self._clock())} from now, at {at}; training stops before"

    def see(self, event: TrainEvent) -> None:
        """Learn from the pace of a training. What comes before its first step, such as compiling, is not repeated and not counted."""
        now = self._clock()
        if event.kind in ("step", "epoch"):
            if self._last is not None:
                self._longest = max(self._longest, now - self._last)
            self._last = now
        elif event.kind == "started":
            self._last = None

    @property
    def margin(self) -> float:
        """Seconds before the end from which on no further step is begun."""
        return self._least + 2 * self._longest

    def near(self) -> bool:
        """Whether to stop now."""
        return self._clock() >= self.end - self.margin


def wall(walltime: str | None, environ: Mapping[str, str], clock: Clock = time.time) -> Wall | None:
    """The nearer of the walls that are known: `--walltime`, and that of the SLURM job; None when none is.

    Raises UsageError for a wall time that cannot be understood.
    """
    ends: list[tuple[float, str]] = []
    if walltime is not None:
        ends.append((clock() + parse(walltime), f"wall time {walltime}"))
    if environ.get(SLURM_END, "").isdigit():
        end, start = float(environ[SLURM_END]), environ.get(SLURM_START, "")
        ends.append((end, f"wall time {duration(end - float(start))}" if start.isdigit() else "wall time"))
    return Wall(*min(ends), clock) if ends else None


def parse(text: str) -> float:
    """Seconds of `12h`, `1h30m`, `90m`, `2d` or `43200`. Raises UsageError."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([dhms])", text)
    if text.isascii() and text.isdigit():
        parts = [(text, "s")]
    elif "".join(number + unit for number, unit in parts) != text:
        parts = []
    seconds = math.fsum(float(number) * SECONDS[unit] for number, unit in parts)
    if not 0 < seconds <= 366 * SECONDS["d"]:
        raise UsageError(
            f"--walltime {text!r} is not a time, allowed: days, hours, minutes and seconds above 0, up to a year", "--walltime 12h"
        )
    return seconds


def duration(seconds: float) -> str:
    """`seconds` in words that `parse` understands: 12h, 1h30m, 45s."""
    rest, text = max(0, round(seconds)), ""
    for unit in "hms":
        count, rest = divmod(rest, SECONDS[unit])
        text += f"{count}{unit}" if count else ""
    return text or "0s"
