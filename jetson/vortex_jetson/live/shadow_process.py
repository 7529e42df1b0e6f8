"""The process of a candidate: it sees the frames that it is handed over, beside the version at work, and counts how the two agree.

    python -m vortex_jetson.live.shadow_process FOLDER DIGEST RUNTIME SCALE MEMORY ANSWERS PACE [ENGINE]     (started by `shadow`)

FOLDER holds bundle/ and the manifest with this DIGEST. Frames lie in the memory of descriptor MEMORY, a line on standard input says where;
each is answered with a line on descriptor ANSWERS. It ends with its input. The system takes its memory first, and where the PACE is `idle` runs it
only when nobody else wants the processor: what the robot acts on comes before it.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from vortex_jetson.engines import builds
from vortex_jetson.engines.engine import open_engine
from vortex_jetson.errors import RobotError, plain
from vortex_jetson.formats.document import LONGEST_LINE
from vortex_jetson.live.comparison import compare
from vortex_jetson.perception.fusion import Thresholds
from vortex_jetson.perception.perception import Perception, Seen
from vortex_jetson.update import delivery

WARM_UP_RUNS: Final = 3
GLASS: Final = "glass"
IDLE: Final = "idle"


def main(folder: str, digest: str, runtime: str, scale: str, memory: str, answers: str, pace: str, engine: str | None = None) -> None:
    """Work until the input ends."""
    give_memory_first()
    if pace == IDLE:
        step_back()

    def answer(document: dict[str, Any]) -> None:
        os.write(int(answers), json.dumps(document).encode() + b"\n")

    try:
        work(_candidate(Path(folder), digest, runtime, float(scale), engine), int(memory), answer)
    except (RobotError, ValueError) as error:
        answer({"failure": plain(str(error), LONGEST_LINE // 2)})


def step_back() -> None:
    """Run only when no other process of the machine wants to."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:  # a container may forbid it
        os.nice(19)


def give_memory_first() -> None:
    """Let the system end this process before any other where memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def work(candidate: Perception, memory: int, answer: Callable[[dict[str, Any]], None]) -> None:
    """Warm up, and see one frame after the other. Raises EngineFailed, and ValueError for a frame of another shape."""
    glass = candidate.classes.index(GLASS) if GLASS in candidate.classes else None
    nothing, seconds = np.zeros((*candidate.size, 3), np.uint8), 0.0
    for _ in range(WARM_UP_RUNS):
        started = time.monotonic()
        seen = candidate.see(nothing)
        compare(seen, seen, glass)
        seconds = time.monotonic() - started
    answer({"need": seconds})
    for line in sys.stdin:
        started = time.monotonic()
        words = json.loads(line)
        with mmap.mmap(memory, words["bytes"], access=mmap.ACCESS_READ) as mapped:
            # A copy, since the memory of what is mapped ends with the frame.
            rgb, tof, sure, depth, classes, confidence = (_array(mapped, place) for place in words["arrays"])
        began = time.monotonic()
        seen = candidate.see(rgb, tof, sure)
        took = time.monotonic() - began
        counts = compare(Seen("", depth, classes, confidence, 1.0, ""), seen, glass)
        answer({"seconds": took, "need": time.monotonic() - started, "counts": counts})


def _candidate(folder: Path, digest: str, runtime: str, scale: float, built: str | None) -> Perception:
    """The candidate, verified and loaded, with one thread."""
    bundle = delivery.verified(folder, digest)
    fusion = bundle.fusion
    thresholds = Thresholds(fusion.confident, fusion.nearest_m, fusion.farthest_m)
    content = builds.read(Path(built), bundle) if built is not None else None
    engine = open_engine(runtime, folder / "bundle", bundle, content, threads=1)
    return Perception(bundle.version, engine, bundle.size, bundle.classes, bundle.classes_trained, thresholds, scale)


def _array(mapped: mmap.mmap, place: tuple[int, str, list[int]] | None) -> Any:
    if place is None:
        return None
    offset, dtype, shape = place
    return np.frombuffer(mapped, dtype, int(np.prod(shape)), offset).reshape(shape).copy()


if __name__ == "__main__":
    main(*sys.argv[1:])
