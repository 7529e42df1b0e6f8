"""Messages of several cameras as frames: by their stamps, the newest only, and never the same or an older one twice."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Message = TypeVar("Message")

_BACK_NS = 1_000_000_000
"""A stamp so far behind the newest is another recording or a clock that was set, not a late message."""


@dataclass(frozen=True)
class Frame(Generic[Message]):
    """Messages that belong together."""

    stamp_ns: int
    """Of the colour picture."""
    colour: Message
    depth: Message | None
    """None where the ToF camera has fallen silent."""
    confidence: Message | None


class Pairing(Generic[Message]):
    """Pairs colour with the depth (and confidence) nearest to it in time.

    Only a few messages are remembered, and a frame is given out once: who is slower than the cameras misses frames instead of falling behind.
    """

    def __init__(self, bound_s: float = 0.02, silent_s: float = 0.5, with_confidence: bool = False, remembered: int = 4) -> None:
        """Stamps of one frame differ by `bound_s` at most; where no depth has come with a colour picture for `silent_s`, colour goes alone."""
        self._bound_ns, self._silent_ns = int(bound_s * 1e9), int(silent_s * 1e9)
        self._with_confidence = with_confidence
        self._colours: deque[tuple[int, Message]] = deque(maxlen=remembered)
        self._depths: deque[tuple[int, Message]] = deque(maxlen=remembered)
        self._confidences: deque[tuple[int, Message]] = deque(maxlen=remembered)
        self._last_ns: int | None = None
        self._alone_since_ns: int | None = None
        self.dropped = 0
        """Colour pictures that came and were given out in no frame, since a newer one was."""

    def colour(self, stamp_ns: int, message: Message) -> Frame[Message] | None:
        """A colour picture has come; the frame that it completes, if any."""
        if self._last_ns is not None and stamp_ns < self._last_ns - _BACK_NS:
            self._forget()
        if self._alone_since_ns is None:
            self._alone_since_ns = stamp_ns
        self._colours.append((stamp_ns, message))
        return self._frame()

    def depth(self, stamp_ns: int, message: Message) -> Frame[Message] | None:
        """A depth picture has come."""
        if self._last_ns is not None and abs(stamp_ns - self._last_ns) <= self._bound_ns:
            self._alone_since_ns = None  # too late for the frame that went without it, but the ToF camera is there: the next one waits
        self._depths.append((stamp_ns, message))
        return self._frame()

    def confidence(self, stamp_ns: int, message: Message) -> Frame[Message] | None:
        """A confidence picture has come."""
        self._confidences.append((stamp_ns, message))
        return self._frame()

    def _frame(self) -> Frame[Message] | None:
        for stamp, colour in sorted(self._colours, key=lambda entry: -entry[0]):
            if self._last_ns is not None and stamp <= self._last_ns:
                return None
            depth = self._nearest(self._depths, stamp)
            confidence = self._nearest(self._confidences, stamp) if self._with_confidence else None
            if depth is not None and (confidence is not None or not self._with_confidence):
                self._alone_since_ns = None
                return self._give(stamp, colour, depth, confidence)
            if self._alone_since_ns is not None and stamp - self._alone_since_ns > self._silent_ns:
                return self._give(stamp, colour, None, None)
        return None

    def _give(self, stamp: int, colour: Message, depth: Message | None, confidence: Message | None) -> Frame[Message]:
        unseen = [other for other, _ in self._colours if self._last_ns is None or other > self._last_ns]
        self.dropped += sum(other < stamp for other in unseen)
        self._last_ns = stamp
        return Frame(stamp, colour, depth, confidence)

    def _nearest(self, messages: deque[tuple[int, Message]], stamp: int) -> Message | None:
        apart, nearest = min(((abs(other - stamp), place) for place, (other, _) in enumerate(messages)), default=(self._bound_ns + 1, 0))
        return messages[nearest][1] if apart <= self._bound_ns else None

    def _forget(self) -> None:
        self._colours.clear()
        self._depths.clear()
        self._confidences.clear()
        self._last_ns = self._alone_since_ns = None
