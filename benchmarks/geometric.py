"""How well the geometric teacher labels floor, wall and glass, against the exact classes of the synthetic worlds.

    make bench-geometric            (benchmarks/geometric.py [--layouts 24] [--frames 4] [--size 240x320] [--smoke])

Protocol: `--layouts` layouts of each world, other ones than the teacher was written on, and `--frames` frames of each, evenly along the
camera's walk. The teacher sees the picture, the camera and a depth: the exact one; what the world's ToF model returns ("ToF"); or of that only
what has a confidence of one half ("ToF>0.5"). IoU is pooled over all pixels of all frames: hits / (truth or prediction). A pixel left
undecided counts against the class that it truly has, a pixel of another class that was given the class counts too. Beside it are precision
and recall, and the 10th percentile and median of single frames' IoUs (of frames that hold at least 1 % of the class).

Targets, on `rooms` without knowing gravity: floor 0.90 and wall 0.80 with exact depth, 0.85 and 0.70 with the ToF's; exit 1 when missed.
"no frames" is without the setting `framed_panes`. Frames per second are of this process's CPU time, on one core.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from typing import Final

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from core.classes import CLASSES  # noqa: E402
from core.depth import TOF_CONFIDENT  # noqa: E402
from core.pinhole import Pinhole  # noqa: E402
from models.teachers.contract import View  # noqa: E402
from models.teachers.geometric import Geometric, GeometricSettings  # noqa: E402

FIRST: Final = 5000
"""Seed of the first layout: the teacher was written on others."""
TARGETS: Final = {("exact", "floor"): 0.90, ("exact", "wall"): 0.80, ("ToF", "floor"): 0.85, ("ToF", "wall"): 0.70}
RUNS: Final = (
    ("exact", False, True),
    ("exact", True, True),
    ("exact", False, False),
    ("ToF", False, True),
    ("ToF", True, True),
    ("ToF>0.5", False, True),
)
"""Depth, whether gravity is known, whether framed panels are taken for panes."""
SHOWN: Final = ("floor", "wall", "glass")


@dataclass(frozen=True)
class Sample:
    """One frame: what the teacher sees with either depth, gravity in camera axes, and the true classes."""

    rgb: NDArray[np.uint8]
    camera: Pinhole
    depths: dict[str, NDArray[np.float32]]
    down: tuple[float, float, float]
    truth: NDArray[np.uint8]


def film(world: str, layouts: int, frames: int, size: tuple[int, int]) -> list[Sample]:
    """Film layouts of a world, with the camera's true poses."""
    from pipelines.synthetic.shot import camera_at, shoot
    from pipelines.synthetic.worlds import world as find_world

    place, samples = find_world(world), []
    for seed in range(FIRST, FIRST + layouts):
        scene = place.build((seed, 0))
        for index in range(frames):
            phase = (index + 0.5) / frames
            shot = shoot(place, scene, phase, size, np.random.default_rng([seed, index]))
            pose = camera_at(place, size, scene.walk(phase))
            x, y, z = -pose.rotation[2]
            sure = np.where(shot.confidence < TOF_CONFIDENT, 0, shot.tof).astype(np.float32)
            depths = {"exact": shot.depth, "ToF": shot.tof, "ToF>0.5": sure}
            samples.append(Sample(shot.rgb, pose.pinhole, depths, (float(x), float(y), float(z)), shot.label))
    return samples


def confusion(truth: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels by true class (row) and given class (column); the last column is undecided."""
    wide = len(CLASSES) + 1
    cells = truth.ravel().astype(np.int64) * wide + np.minimum(labels.ravel(), wide - 1)
    return np.bincount(cells, minlength=len(CLASSES) * wide).reshape(len(CLASSES), wide)


def iou(counts: NDArray[np.int64], number: int) -> float:
    """Intersection over union of one class."""
    return float(counts[number, number] / max(counts[number].sum() + counts[:, number].sum() - counts[number, number], 1))


def measure(samples: list[Sample], depth: str, known: bool, framed: bool) -> tuple[list[NDArray[np.int64]], float]:
    """Confusions of all frames, and frames per second of CPU time."""
    teacher = Geometric(GeometricSettings(framed_panes=framed))
    counts, spent = [], 0.0
    for number, sample in enumerate(samples):
        view = View(str(number), sample.rgb, sample.camera, sample.depths[depth], sample.down if known else None)
        start = time.process_time()
        labels = teacher.structure(view)
        spent += time.process_time() - start
        counts.append(confusion(sample.truth, labels))
    return counts, len(samples) / max(spent, 1e-9)


def line(name: str, counts: list[NDArray[np.int64]], speed: float) -> str:
    """One row of the table."""
    pooled, cells = np.sum(counts, 0), []
    for label in SHOWN:
        number = CLASSES.index(label)
        hits = pooled[number, number]
        own = [iou(one, number) for one in counts if one[number].sum() >= 0.01 * one.sum()]
        low, middle = np.quantile(own, [0.1, 0.5]) if own else (0.0, 0.0)
        precision, recall = hits / max(pooled[:, number].sum(), 1), hits / max(pooled[number].sum(), 1)
        cells.append(f"{iou(pooled, number):5.3f} ({precision:4.2f} {recall:4.2f} | {low:4.2f} {middle:4.2f})")
    return f"{name:36}" + "  ".join(f"{cell:34}" for cell in cells) + f"{speed:9.1f}"


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    import cv2

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", type=int, default=24)
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--size", default="240x320", help="H x W")
    parser.add_argument("--smoke", action="store_true", help="a few small frames and no targets: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.layouts, options.frames, options.size = 1, 1, "60x80"
    height, width = (int(side) for side in options.size.split("x"))
    cv2.setNumThreads(1)
    missed = []
    head = "".join(f"{label + ' IoU (prec. recall | p10 p50)':36}" for label in SHOWN)
    print(f"{'world, depth, gravity':36}{head}{'frames/s':>9}")
    for world in ("rooms", "corridor"):
        samples = film(world, options.layouts, options.frames, (height, width))
        for depth, known, framed in RUNS:
            counts, speed = measure(samples, depth, known, framed)
            gravity = "known" if known else "unknown"
            print(line(f"{world}, {depth}, {gravity}{'' if framed else ', no frames'}", counts, speed), flush=True)
            for label in ("floor", "wall") if world == "rooms" and framed and not known else ():
                reached, target = iou(np.sum(counts, 0), CLASSES.index(label)), TARGETS.get((depth, label), 0.0)
                if reached < target:
                    missed.append(f"{label} IoU with {depth} depth {reached:.3f}, target {target}")
    print(f"{options.layouts * options.frames} frames of {options.layouts} layouts a world, {height}x{width}")
    if missed and not options.smoke:
        print("missed: " + "; ".join(missed))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
