"""A candidate beside the version at work: it sees the same frames in the time that is left, and what it says is only counted.

It runs in a process of its own, which can crash, hang and be starved without the live answer noticing: a frame is laid into shared memory
after the live answer is out, and what the process says of it is read when the next one comes. Nobody waits for it.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.live.budget import Budget
from vortex_jetson.live.comparison import Comparison, Counts
from vortex_jetson.live.shadow_process import IDLE
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception.perception import Seen
from vortex_jetson.perception.resize import pick

HANG_S: Final = 600.0
"""Of one frame, or of loading: what runs only when nobody else wants the processor may wait long, and that is no fault of a candidate."""
_ALIGNED: Final = 64
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Candidate:
    """What a shadow runs: the folder of a verified bundle, and how."""

    version: str
    folder: Path
    digest: str
    """Of the bundle's manifest."""
    runtime: str
    scale: float
    """What `calibrate` found for it."""
    checkpoint_sha256: str
    export_sha256: str
    engine: Path | None = None
    """What was built of it, where the library needs that."""


class Shadow:
    """One candidate at work beside one version. `offer` is for the thread of the live answers, `take` for any."""

    def __init__(self, candidate: Candidate, beside: str, patient: bool = False) -> None:
        """`patient` is for frames that nobody waits for, as those of a recording: each of them is compared. Raises OSError."""
        self.candidate, self.beside = candidate, beside
        self.patient = patient
        self._lock = threading.Lock()
        self._comparison = Comparison(candidate.version, beside)
        self._budget: Budget | None = None
        self._busy_since: float | None = time.monotonic()  # it loads
        self._handing = 0.0
        self._memory_file, self._memory = os.memfd_create("vortex-shadow"), mmap.mmap(-1, 1)
        self._heard = b""
        self.failure: str | None = None
        """Why it sees no more frames."""
        reader, writer = os.pipe()
        words = [
            str(candidate.folder),
            candidate.digest,
            candidate.runtime,
            repr(candidate.scale),
            str(self._memory_file),
            str(writer),
            "patient" if patient else IDLE,
            *([str(candidate.engine.absolute())] if candidate.engine else []),
        ]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vortex_jetson.live.shadow_process", *words],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(self._memory_file, writer), cwd="/",
                env={**os.environ, **_ONE_THREAD}, start_new_session=True,
            )  # fmt: skip
        except OSError:
            os.close(reader)
            os.close(self._memory_file)
            raise
        finally:
            os.close(writer)
        self._answers = reader
        os.set_blocking(reader, False)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def offer(self, frame: Frame, seen: Seen) -> bool:
        """Have the candidate see this frame, whose live answer is out, where that costs no other one its time; whether it does."""
        if self.failure is not None or seen.version != self.beside:
            return False
        self._hear()
        if self.patient:
            self._wait()
        if self._budget is None or self.failure is not None:
            return False
        self._budget.came(frame.at)
        started = time.monotonic()
        if self._busy_since is not None or not (self.patient or self._budget.fits(started)):
            with self._lock:
                self._comparison.skipped += 1
            return False
        try:
            self._hand_over(frame, seen)
        except OSError:  # memory is short, which is no fault of the candidate, and none of the live answer's business
            with self._lock:
                self._comparison.skipped += 1
            return False
        self._busy_since, self._handing = started, time.monotonic() - started
        if self.patient:
            self._wait()
        return True

    def take(self) -> Comparison:
        """What was compared since it was taken last."""
        with self._lock:
            taken, self._comparison = self._comparison, Comparison(self.candidate.version, self.beside)
        taken.failure = self.failure
        return taken

    def close(self) -> None:
        """End the process. No frame is offered any more."""
        self._hear()
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        os.close(self._answers)
        self._memory.close()
        os.close(self._memory_file)

    def _hand_over(self, frame: Frame, seen: Seen) -> None:
        maps = [None if values is None else pick(values, seen.depth.shape) for values in (frame.tof, frame.confidence)]
        arrays = [frame.rgb, *maps, seen.depth, seen.classes, seen.confidence]
        places, size = _places(arrays)
        if size > len(self._memory):
            os.ftruncate(self._memory_file, size)
            larger = mmap.mmap(self._memory_file, size)
            self._memory.close()
            self._memory = larger
        for place, values in zip(places, arrays, strict=True):
            if place is not None and values is not None:
                self._memory[place[0] : place[0] + values.nbytes] = np.ascontiguousarray(values).data.cast("B")
        line = json.dumps({"bytes": size, "arrays": places}).encode() + b"\n"
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it died: the next look says so
            os.write(self._process.stdin.fileno(), line)

    def _wait(self) -> None:
        """For the answer, as long as it may take."""
        while self._busy_since is not None and self.failure is None:
            select.select([self._answers], [], [], 1.0)
            self._hear()

    def _hear(self) -> None:
        """Read what the process has said, without waiting for it."""
        over = False
        with suppress(BlockingIOError):  # that was all for now
            while chunk := os.read(self._answers, 1 << 16):
                self._heard += chunk
            over = True
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            self._believe(line)
        if self.failure is not None:
            return
        code = self._process.poll() if over else None
        if code is not None:
            self.failure = f"its process died of {signal.Signals(-code).name}" if code < 0 else f"its process ended with {code}"
        elif self._busy_since is not None and time.monotonic() - self._busy_since > HANG_S:
            self._process.kill()
            self.failure = f"it did not answer for {HANG_S:g} s"

    def _believe(self, line: bytes) -> None:
        """Take an answer for what it says. What cannot be read is the process's fault, and no reason to end the live one."""
        try:
            answer = json.loads(line)
            if "failure" in answer:
                self.failure = str(answer["failure"])
                return
            need = float(answer["need"]) + self._handing
            if self._budget is None:
                self._budget = Budget(need)
            else:
                self._budget.took(need)
                with self._lock:
                    self._comparison.add(Counts(*answer["counts"]), float(answer["seconds"]))
        except (ValueError, KeyError, TypeError):
            self._process.kill()
            self.failure = "it answered what is no answer"
        self._busy_since = None


def _places(arrays: Iterable[NDArray[Any] | None]) -> tuple[list[tuple[int, str, tuple[int, ...]] | None], int]:
    """Where each array lies in the memory, with its type and shape, and the bytes of all together."""
    places: list[tuple[int, str, tuple[int, ...]] | None] = []
    size = 0
    for values in arrays:
        places.append(None if values is None else (size, values.dtype.str, values.shape))
        size += 0 if values is None else -(-values.nbytes // _ALIGNED) * _ALIGNED
    return places, size
