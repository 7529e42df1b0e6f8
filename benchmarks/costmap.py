"""What a planner's side of a frame costs on one core: the cloud, the costmap, and a camera's picture at the student's size.

    make bench-costmap      (benchmarks/costmap.py [--rounds 7] [--smoke])

A computed room (floor, a box, a pane of glass, a person, a wall) at 240×320, a grid of 120×140 cells of 5 cm, inflation by four classes.
CPU seconds of the process, the median of the rounds. Target: 30 grids/s, marking, clearing and inflating.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from vortex_jetson.perception.costmap import Area, Costmap, Mount
from vortex_jetson.perception.resize import shrink
from vortex_jetson.ros import messages as ros_messages

from tests.unit.jetson.scenes import CAMERA, CLASSES, Box, look

TARGET = 30.0
MOUNT = Mount(height_m=0.4, pitch=0.1)
ROOM = [
    Box((2.0, -0.5, 0.0), (2.5, 0.5, 1.0), "furniture"),
    Box((4.0, -3.0, 0.0), (4.2, 3.0, 2.4), "wall"),
    Box((3.0, 0.8, 0.0), (3.02, 2.0, 2.4), "glass"),
    Box((1.5, -1.0, 0.0), (1.7, -0.7, 1.7), "person"),
]


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="one short round: does it work at all?")
    options = parser.parse_args()
    depth, classes = look(ROOM, MOUNT)
    area = Area(x=-1.0, y=-3.0, rows=120, columns=140)
    grid = Costmap(CAMERA, MOUNT, area, CLASSES, {"glass": 0.6, "person": 0.8, "wall": 0.3, "furniture": 0.35})
    rays, picture = CAMERA.rays(), np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)

    def costs() -> object:
        grid.update(depth, classes)
        return grid.costs()

    ways: dict[str, Callable[[], object]] = {
        "costmap, all of it": costs,
        "organised cloud": lambda: ros_messages.points(depth, rays),
        "720x1280 to 240x320": lambda: shrink(picture, (240, 320)),
        "480x640 to 240x320": lambda: shrink(picture[:480, :640], (240, 320)),
    }
    for name, way in ways.items():
        frames, rates = (2 if options.smoke else 30), []
        for _ in range(1 if options.smoke else options.rounds):
            started = time.process_time()
            for _ in range(frames):
                way()
            rates.append(frames / (time.process_time() - started))
        rate = statistics.median(rates)
        verdict = f"   target {TARGET:.0f}/s: {'reached' if rate >= TARGET else 'missed'}" if way is costs else ""
        print(f"{name:22} {rate:7.0f}/s{verdict}")


if __name__ == "__main__":
    main()
