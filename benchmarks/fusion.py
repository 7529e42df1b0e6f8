"""The fusion of the robot, on one core: frames a second at the sizes of the student and of a Femto Bolt's colour picture.

    make bench-fusion      (benchmarks/fusion.py [--rounds 7] [--smoke])

A drawn room with holes as windows make them (whole rectangles) and as noise makes them (single pixels), beside the definition as numpy
reads it: `np.median`, masks, `np.where`. CPU seconds of the process, the median of rounds that take turns. Targets: 200 frames/s at
240×320, 30 at 720×1280, and the very same bits.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from vortex_jetson.perception.fusion import fuse

Frame = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
TARGETS = {(240, 320): 200.0, (720, 1280): 30.0}


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="one short round: does it work at all?")
    options = parser.parse_args()
    print("size        holes          definition     fusion   target")
    for size, target in TARGETS.items():
        for holes in ("rectangles", "single pixels"):
            frame = room(size, holes)
            same = np.array_equal(plain(*frame), fuse(*frame).depth)
            frames = 2 if options.smoke else 76_800 * 100 // (size[0] * size[1])
            ways: dict[str, Callable[[], object]] = {
                "definition": partial(plain, *frame),
                "fusion": partial(fuse, *frame, frame[2]),
            }
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(1 if options.smoke else options.rounds):
                for name, way in ways.items():
                    started = time.process_time()
                    for _ in range(frames):
                        way()
                    rates[name].append(frames / (time.process_time() - started))
            definition, fusion = (statistics.median(rates[name]) for name in ways)
            verdict = "reached" if same and fusion >= target else "missed"
            print(
                f"{size[0]:4}x{size[1]:<5} {holes:14} {definition:8.0f}/s {fusion:8.0f}/s   {target:4.0f}/s, {verdict}; bits {'same' if same else 'DIFFER'}"
            )


def room(size: tuple[int, int], holes: str) -> Frame:
    """Student, ToF and confidence of a drawn room, a third of it without ToF."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[: size[0], : size[1]]
    student = (1 + 3 * columns / size[1] + rows / size[0]).astype(np.float32)
    tof = (1.1 * student + random.normal(0, 0.01, size)).astype(np.float32)
    confidence = np.full(size, 0.9, np.float32)
    if holes == "rectangles":
        confidence[:, size[1] // 3 : 2 * size[1] // 3] = 0.1
    else:
        confidence[random.random(size) < 1 / 3] = 0.1
    return student, tof, confidence


def plain(student: NDArray[np.float32], tof: NDArray[np.float32], confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """The fusion as its definition reads."""
    confident = confidence >= 0.5
    ratio = tof[confident].astype(np.float64) / student[confident].astype(np.float64)
    scale = np.median(ratio[np.isfinite(ratio) & (ratio > 0)])
    depth = np.where(confident & (tof > 0.05) & (tof < 10), tof, np.float32(scale) * student)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


if __name__ == "__main__":
    main()
