"""The six-panel film of a sequence at 240×320: frames a second, from the pack to the file.

    make bench-video                (benchmarks/video.py [--frames 100] [--size 240x320] [--smoke])

The student has random weights and runs through ONNX Runtime; frames are drawn and packed before the clock starts. Target: 10 frames/s on two
cores. The CPU time says what the film costs where the machine has other work.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.onnx_evaluation import data, draw_frames, write_student
from core.machine import cores
from pipelines.pack.frame_arrays import load_arrays
from pipelines.predict.runtimes import of_file
from pipelines.predict.six_panels import film_frames
from pipelines.report.film import usual_suffix

TARGET: float = 10.0


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--size", default="240x320", help="H x W")
    parser.add_argument("--smoke", action="store_true", help="six small frames: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.frames, options.size = 6, "64x96"
    height, width = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_frames(folder, options.frames, (height, width))
        write_student(folder, (height, width))
        arrays = load_arrays(folder / "packs", *data(folder), (height, width))
        path, predict = folder / f"film{usual_suffix()}", of_file(folder / "student.onnx", cores())
        started, cpu = time.perf_counter(), time.process_time()
        size = film_frames(predict, arrays, "v9", path, 10.0)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        rate = options.frames / seconds
        print(f"{options.frames} frames of {height}x{width} as {size[1]}x{size[0]} {usual_suffix()}, {cores()} cores")
        print(f"  frames/s            {rate:6.1f}   (target {TARGET:.0f}: {'reached' if rate >= TARGET else 'missed'})")
        print(f"  CPU ms a frame      {1000 * cpu / options.frames:6.1f}")
        print(f"  bytes a frame       {path.stat().st_size / options.frames:6.0f}")


if __name__ == "__main__":
    main()
