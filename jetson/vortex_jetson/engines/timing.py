"""How fast an engine answers and how much memory it takes, as the robot and the workspace measure it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

WARM_UP: Final = 10
_STATUS, _PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def timed(frames: int, call: Callable[[int], object]) -> NDArray[np.float64]:
    """Milliseconds [frames] of each call, which gets the number of its frame, after the warm-up."""
    for place in range(WARM_UP):
        call(place)
    times = np.empty(frames)
    for place in range(frames):
        started = time.perf_counter()
        call(place)
        times[place] = 1000 * (time.perf_counter() - started)
    return times


def percentiles(times: NDArray[np.float64]) -> dict[str, float]:
    """The median, and the slowest of ten and of a hundred: `p50`, `p90`, `p99`, in the unit of the times."""
    return {f"p{share}": float(np.percentile(times, share)) for share in (50, 90, 99)}


class Memory:
    """What this process takes from here on, at most. The kernel's record of the peak starts anew (proc(5), clear_refs 5)."""

    def __init__(self) -> None:
        self._before = _bytes("VmRSS")
        with suppress(OSError):  # where that is not allowed, the peak is that of the process's whole life
            _PEAK_RESET.write_text("5", encoding="ascii")

    def added(self) -> int | None:
        """Bytes; None where the system does not tell."""
        peak = _bytes("VmHWM")
        return None if self._before is None or peak is None else max(peak - self._before, 0)


def _bytes(what: str) -> int | None:
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(what):
                return 1024 * int(line.split()[1])
    return None
