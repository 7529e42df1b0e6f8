"""Whether a frame leaves a candidate the time that it needs, before the next frame can come."""

from __future__ import annotations

from collections import deque
from typing import Final

_MARGIN: Final = 1.25
"""More than a slow run of late: a candidate that needs longer than it did is late for nobody but itself."""
_RUNS: Final = 50
_GAPS: Final = 30
_FORGETTING: Final = 0.98


class Budget:
    """Times are seconds of `time.monotonic`. The next frame is expected as soon after this one as any of late came after the one before."""

    def __init__(self, need_s: float) -> None:
        """`need_s` is what one run took that nobody waited for."""
        self._need = need_s
        self._runs: deque[float] = deque([need_s], maxlen=_RUNS)
        self._gaps: deque[float] = deque(maxlen=_GAPS)
        self._last: float | None = None

    def came(self, at: float) -> None:
        """A frame came."""
        if self._last is not None:
            self._gaps.append(at - self._last)
        self._last = at

    def fits(self, now: float) -> bool:
        """Whether a run that begins now ends before the next frame. Not before two frames came: nothing is known of their pace."""
        if self._last is None or not self._gaps:
            return False
        if now + _MARGIN * self._need <= self._last + min(self._gaps):
            return True
        # One slow run must not end the shadow's work for good, and one that is always too slow must not be tried again and again.
        self._need = max(_FORGETTING * self._need, min(self._runs))
        return False

    def took(self, seconds: float) -> None:
        """A run took so long."""
        self._runs.append(seconds)
        self._need = max(_FORGETTING * self._need, seconds)
