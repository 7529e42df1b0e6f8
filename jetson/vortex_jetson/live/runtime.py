"""The robot's loop: a frame, one version's answer to it, and its outputs; and how the version changes in between."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vortex_jetson.errors import RobotError
from vortex_jetson.files import write_whole
from vortex_jetson.live.recording import millimetres
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception.perception import Perception, Seen

Output = Callable[[Frame, Seen], None]
WARM_UP_RUNS = 3


class Current:
    """The version at work. A frame asks once and keeps what it was given, so no answer is of two versions."""

    def __init__(self, perception: Perception) -> None:
        self._perception = perception

    def __call__(self) -> Perception:
        """The version that the next frame is for."""
        return self._perception

    def swap(self, perception: Perception) -> None:
        """From the next frame on, another version: one reference, which Python changes at once or not at all."""
        self._perception = perception


class Follower:
    """Loads the version that a device has switched to, beside the one at work, and swaps when it is warm."""

    def __init__(
        self, current: Current, key: Callable[[], str], load: Callable[[], Perception], tell: Callable[[str], None], every_s: float = 1.0
    ) -> None:
        """`key` says cheaply what should be at work; when it changes `load` makes it. `tell` hears of a swap, or why there was none."""
        self._current, self._key, self._load, self._tell, self._every_s = current, key, load, tell, every_s
        self._at_work = key()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="follower")

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.wait(self._every_s):
            # A disk that is full or damaged for a while is not to end the following for good.
            with suppress(RobotError, OSError):
                self._look()

    def _look(self) -> None:
        key = self._key()
        if key == self._at_work:
            return
        self._at_work = key  # one that does not load is not tried again: the agent's health check comes first
        try:
            perception = self._load()
            warm_up(perception)
        except (RobotError, ValueError) as error:
            self._tell(f"{self._current().version} goes on: {error}")
            return
        self._current.swap(perception)
        self._tell(f"{perception.version} is at work")


def warm_up(perception: Perception) -> float:
    """Let a version see nothing a few times, so that its first frame is no slower than the others; the seconds of the last run."""
    nothing, seconds = np.zeros((*perception.size, 3), np.uint8), 0.0
    for _ in range(WARM_UP_RUNS):
        started = time.perf_counter()
        perception.see(nothing)
        seconds = time.perf_counter() - started
    return seconds


@dataclass
class Summary:
    """What a run did."""

    frames: dict[str, int] = field(default_factory=dict)
    """By version."""
    seconds: list[float] = field(default_factory=list)
    """Of each frame, from its coming to its last output; the newest ten thousand."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Frames whose scale was assumed, by why: in the words of the first such frame, whatever figures the others had."""
    turned: str = ""
    """The first frame that stands upright where the student's pictures lie, or the other way round, in words."""
    _kinds: dict[str, str] = field(default_factory=dict, repr=False)
    """Those words, by the same without their figures."""

    def add(self, frame: Frame, seen: Seen) -> None:
        """Count a frame that is out."""
        self.frames[seen.version] = self.frames.get(seen.version, 0) + 1
        (height, width), student = frame.rgb.shape[:2], seen.depth.shape
        if (height - width) * (student[0] - student[1]) < 0 and not self.turned:
            self.turned = (
                f"frame {frame.name} is {height}x{width} and the student's {student[0]}x{student[1]}: turn the camera or the video"
            )
        self.seconds.append(time.monotonic() - frame.at)
        del self.seconds[:-10_000]
        if seen.reason:
            words = seen.reason.split(";")[0]
            first = self._kinds.setdefault("".join(character for character in words if not character.isdigit()), words)
            self.reasons[first] = self.reasons.get(first, 0) + 1

    def percentile(self, share: float) -> float:
        """Seconds that this share of the frames took at most."""
        return float(np.quantile(self.seconds, share)) if self.seconds else 0.0


def work(frames: Iterable[Frame], current: Callable[[], Perception], output: Output) -> None:
    """Answer frames until they end.

    A frame that cannot be read (smaller than the student's, ToF of another shape) ends the run: the camera is set up wrongly. Raises
    RobotError.
    """
    for frame in frames:
        try:
            seen = current().see(frame.rgb, frame.tof, frame.confidence)
        except ValueError as error:
            raise RobotError(f"frame {frame.name}: {error}", "set the camera to at least the student's size, ToF on colour") from error
        output(frame, seen)


def put_out(frame: Frame, seen: Seen, outputs: Sequence[Output], summary: Summary, shadow: Output | None = None) -> None:
    """Give an answer to all outputs and count it in `summary`; a shadow gets the frame when all that is done."""
    for output in outputs:
        output(frame, seen)
    summary.add(frame, seen)
    if shadow is not None:
        shadow(frame, seen)


class Spared:
    """An output that a robot can do without: the first time that it cannot be written is told, and the run goes on without it."""

    def __init__(self, output: Output, tell: Callable[[str], None]) -> None:
        self._output, self._tell = output, tell
        self.failed = False

    def __call__(self, frame: Frame, seen: Seen) -> None:
        """Put an answer out, unless one could not be."""
        if self.failed:
            return
        try:
            self._output(frame, seen)
        except RobotError as error:
            self.failed = True
            self._tell(f"{error}; the run goes on without it")


def into_folder(path: Path) -> Output:
    """Writes NAME.depth.npy (uint16 mm, 0 unknown), NAME.classes.npy and NAME.confidence.npy (uint8) of every frame.

    The folder is made with the first frame: a run that answers none leaves nothing.
    """

    def write(frame: Frame, seen: Seen) -> None:
        for role, values in (("depth", millimetres(seen.depth)), ("classes", seen.classes), ("confidence", seen.confidence)):
            content = io.BytesIO()
            np.save(content, values)
            # Frames come thirty times a second: the disk is not waited for.
            write_whole(path / f"{frame.name}.{role}.npy", content.getvalue(), flushed=False)

    return write
