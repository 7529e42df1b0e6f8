"""How fast the synthetic worlds are filmed, on one core, writing included.

    make bench-synthetic            (benchmarks/synthetic.py [--frames 120] [--size 240x320] [--smoke])

Target: at least 10 frames/s/core at 240×320. The median frame is shown beside the whole run, because building a layout (about a
second) is shared by all frames of its sequence.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"


def main() -> None:
    """Film both worlds into a temporary folder and print a line for each."""
    import cv2

    from pipelines.synthetic.dataset import Job, render_dataset
    from pipelines.synthetic.worlds import WORLDS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--size", default="240x320", help="H x W")
    parser.add_argument("--smoke", action="store_true", help="a few tiny frames: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.frames, options.size = 12, "48x64"
    height, width = (int(side) for side in options.size.split("x"))
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{'world':10} {'frames':>7} {'frames/s/core':>14} {'of CPU time':>12} {'median frame':>13} {'kB/frame':>9}")
    for world in WORLDS:
        with tempfile.TemporaryDirectory() as folder:
            job = Job(world, world, options.frames, 0, (height, width), None)
            stamps = [time.perf_counter()]
            cpu = time.process_time()
            render_dataset(Path(folder), job, on_frame=lambda done, total, stamps=stamps: stamps.append(time.perf_counter()))
            wall, cpu = stamps[-1] - stamps[0], time.process_time() - cpu
            median = statistics.median(after - before for before, after in pairwise(stamps))
            size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / options.frames / 1000
        print(
            f"{world:10} {options.frames:7} {options.frames / wall:14.1f} {options.frames / cpu:12.1f} {1000 * median:10.1f} ms {size:9.0f}"
        )


if __name__ == "__main__":
    main()
