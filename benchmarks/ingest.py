"""How fast `vortex data add` takes 640×480 JPEG + 16-bit PNG frames in, versioning included, on one core.

    make bench-ingest               (benchmarks/ingest.py [--frames 400] [--smoke]; VORTEX_FRAMES=~/frames adds the real kitchen)

Stages: checking (headers of every file, names, rows), writing (copies), looking (full-resolution statistics of 32 frames), versioning
(flush to the disk, MD5, DVC's cache and pointer). `floor` reads, copies and MD5-hashes the same bytes in a plain loop.
Target: at least 150 frames/s/core of CPU time, for the wall clock also waits for the disk; exit 1 when it is missed. A busy or slow
machine halves any such figure: the ratio to the floor beside it tells.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

TARGET = 150.0
STAGES = ("checking", "writing", "looking", "versioning")


def frames(folder: Path, count: int, size: tuple[int, int]) -> None:
    """7-Scenes files from eight pictures. A comment in each file makes its bytes, and so its hash, its own."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    folder.mkdir()
    pictures = []
    for _ in range(8):
        colour = cv2.resize(rng.integers(0, 255, (size[0] // 16, size[1] // 16, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
        depth = cv2.resize(rng.uniform(800, 4000, (size[0] // 40, size[1] // 40)), size[::-1], interpolation=cv2.INTER_LINEAR)
        depth = depth + rng.normal(0, 1, size)
        encoded = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, 95])[1], cv2.imencode(".png", depth.astype(np.uint16))[1]
        pictures.append([part.tobytes() for part in encoded])
    for index in range(count):
        jpeg, png = pictures[index % 8]
        comment = b"%08d" % index
        chunk = b"tEXt" + b"Comment\0" + comment
        text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        (folder / f"frame-{index:06d}.color.jpg").write_bytes(jpeg[:2] + b"\xff\xfe\x00\x0a" + comment + jpeg[2:])
        (folder / f"frame-{index:06d}.depth.png").write_bytes(png[:33] + text + png[33:])


class Clock:
    """Wall and CPU seconds a stage, from what `add_dataset` says it is doing."""

    def __init__(self) -> None:
        self.stage, self.since = "checking", self.now()
        self.spent = dict.fromkeys(STAGES, (0.0, 0.0))

    @staticmethod
    def now() -> tuple[float, float]:
        """Wall clock, and CPU time of this process; with one worker there is no other."""
        return time.perf_counter(), time.process_time()

    def turn(self, stage: str) -> None:
        """The stage from here on."""
        if stage != self.stage:
            now = self.now()
            before = self.spent[self.stage]
            self.spent[self.stage] = (before[0] + now[0] - self.since[0], before[1] + now[1] - self.since[1])
            self.stage, self.since = stage, now


def floor(source: Path, target: Path) -> tuple[float, float]:
    """Wall and CPU seconds of reading, copying and hashing every file, one after the other."""
    start = Clock.now()
    target.mkdir()
    for file in source.iterdir():
        data = file.read_bytes()
        hashlib.md5(data, usedforsecurity=False).digest()
        (target / file.name).write_bytes(data)
    end = Clock.now()
    return end[0] - start[0], end[1] - start[1]


def measure(folder: Path, source: Path, label: str) -> tuple[float, float]:
    """Add `source`, print a line a stage; returns frames a second of CPU time, and how many times the floor's CPU time it took."""
    from pipelines.ingest.add import add_dataset
    from pipelines.init import init

    ws = init(folder / f"workspace-{label}")
    clock = Clock()
    card = add_dataset(ws, "bench", source, domain="bench", on_frame=lambda what, done, total: clock.turn(what)).dataset.card
    clock.turn("end")
    count = sum(card.frames.values())
    kilobytes = sum(file.stat().st_size for file in (ws.data / "bench").rglob("*.*")) / count / 1e3
    least = floor(source, folder / f"floor-{label}")
    total = tuple(map(sum, zip(*clock.spent.values(), strict=True)))
    for stage, (wall, cpu) in [*clock.spent.items(), ("all", total), ("floor", least)]:
        rates = f"{count / max(wall, 1e-9):9.0f} {count / max(cpu, 1e-9):9.0f}"
        print(f"{label:10} {stage:11} {count:6} {1000 * wall / count:9.2f} {1000 * cpu / count:9.2f} {rates} {kilobytes:9.0f}")
    return count / total[1], total[1] / least[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--smoke", action="store_true", help="a few tiny frames: does it work at all?")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{'frames':10} {'stage':11} {'count':>6} {'wall ms':>9} {'CPU ms':>9} {'wall/s':>9} {'CPU/s':>9} {'kB/frame':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames(folder / "warm", 8, (48, 64))
        frames(folder / "made", 16 if options.smoke else options.frames, (48, 64) if options.smoke else (480, 640))
        measure(folder, folder / "warm", "warm-up")  # imports, and what DVC sets up once
        found = {"made": measure(folder, folder / "made", "made")}
        kitchen = Path(os.environ.get("VORTEX_FRAMES", "")) / "kitchen_kinect"
        if "VORTEX_FRAMES" not in os.environ or not kitchen.is_dir():
            print("kitchen    left out: set VORTEX_FRAMES to the folder that holds kitchen_kinect/")
        elif not options.smoke:
            found["kitchen"] = measure(folder, kitchen, "kitchen")
    for label, (rate, ratio) in found.items():
        print(f"{label}: {rate:.0f} frames/s/core of CPU time (target {TARGET:.0f}), {ratio:.1f} times the floor")
    slow = [f"{label} {rate:.0f}" for label, (rate, _) in found.items() if rate < TARGET]
    if slow and not options.smoke:
        sys.exit(f"target missed: {', '.join(slow)} frames/s/core, asked {TARGET:.0f}")


if __name__ == "__main__":
    main()
