"""A version measured through its exported file, without torch: 459 frames of 240×320, as many as the Femto Bolt corridor has.

    make bench-onnx_evaluation      (benchmarks/onnx_evaluation.py [--frames 459] [--size 240x320] [--smoke])

Frames are drawn, written as PNG and packed first; then the file measures them in a process of its own, then the network does. Targets: 60 s
on two cores for packing and measuring together, and every figure within 1e-4 of the network's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from core.machine import cores
from pipelines.data.datasets import DataRef
from pipelines.evaluate.student import evaluate_predictor
from pipelines.predict.runtimes import Predictor, of_file
from pipelines.protocol import EXAM
from validation.manifest import load_manifest, write_manifest
from validation.rows import Frame

TARGET_S, TARGET_DIFFERENCE = 60.0, 1e-4


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=459)
    parser.add_argument("--size", default="240x320", help="H x W")
    parser.add_argument("--smoke", action="store_true", help="six small frames: does it work at all?")
    parser.add_argument("--measure", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.smoke:
        options.frames, options.size = 6, "64x96"
    height, width = map(int, options.size.split("x"))
    if options.measure:
        print(json.dumps(by_file(options.measure, (height, width))))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options.frames, (height, width))


def compare(folder: Path, frames: int, size: tuple[int, int]) -> None:
    """Measure both ways in `folder`, and print what it took."""
    draw_frames(folder, frames, size)
    write_student(folder, size)
    command = [sys.executable, "-m", "benchmarks.onnx_evaluation", "--measure", str(folder), "--size", f"{size[0]}x{size[1]}"]
    started = time.perf_counter()
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    wall = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    network = by_network(folder, size)
    by_torch = time.perf_counter() - started
    worst = max(network, key=lambda name: difference(answer["values"][name], network[name]))
    apart = difference(answer["values"][worst], network[worst])
    print(f"{frames} frames of {size[0]}x{size[1]}, {cores()} cores, efficientvit_b1 with random weights")
    print(f"  whole process, packing with it  {wall:6.1f} s   (target {TARGET_S:.0f}: {'reached' if wall <= TARGET_S else 'missed'})")
    print(f"  CPU time of that process        {usage.ru_utime + usage.ru_stime:6.1f} s")
    print(f"  measuring alone                 {answer['seconds']:6.1f} s   {frames / answer['seconds']:.0f} frames/s")
    print(f"  the network by torch            {by_torch:6.1f} s   {frames / by_torch:.0f} frames/s")
    print(f"  figures differ by at most       {apart:.1e} ({worst}; target 1e-04: {'reached' if apart <= TARGET_DIFFERENCE else 'missed'})")
    print(f"  torch was imported              {'yes' if answer['torch'] else 'no'}   (target: no)")


def difference(a: float, b: float) -> float:
    """How far two figures are apart, of numbers above 1 as a share."""
    return abs(a - b) / max(1.0, abs(b))


def draw_frames(folder: Path, frames: int, size: tuple[int, int]) -> None:
    """A stream of smooth noise that drifts, each frame with depth, ToF and classes."""
    random = np.random.default_rng(0)
    texture = cv2.resize(random.integers(0, 256, (24, 48, 3), dtype=np.uint8), (3 * size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    rows = []
    for name in ("rgb", "depth", "classes"):
        (folder / name).mkdir()
    for number in range(frames):
        left = 2 * number % (2 * size[1])
        picture = texture[:, left : left + size[1]]
        depth = (600 + 20 * picture[..., 0].astype(np.uint16)).astype(np.uint16)
        for name, content in (("rgb", picture), ("depth", depth), ("classes", picture[..., 1] // 43)):
            cv2.imwrite(str(folder / name / f"{number:04d}.png"), content)
        rows.append(
            Frame(
                id=f"{number:04d}", domain="rooms", split="val", sequence="one", camera="drawn", rgb=f"rgb/{number:04d}.png",
                depth=f"depth/{number:04d}.png", depth_unit="mm", tof=f"depth/{number:04d}.png", tof_unit="mm",
                segmentation=f"classes/{number:04d}.png", supervision="full",
            )
        )  # fmt: skip
    write_manifest(folder / "manifest.jsonl", rows)


def write_student(folder: Path, size: tuple[int, int]) -> None:
    """A student with random weights: its checkpoint, and its file."""
    import torch

    from models import checkpoint
    from models.student import Student, StudentConfig
    from pipelines.ship.export.onnx import write_onnx

    torch.manual_seed(0)
    student = Student(StudentConfig(size=size)).eval()
    checkpoint.save(folder / "student.safetensors", student, {})
    write_onnx(student, size, folder / "student.onnx", {})


def by_file(folder: Path, size: tuple[int, int]) -> dict[str, object]:
    """Measure through the file; what it took without packing, and whether torch was imported."""
    from pipelines.pack.frame_arrays import load_arrays

    ref, frames = data(folder)
    load_arrays(folder / "packs", ref, frames, size)
    started = time.perf_counter()
    values = measured(folder, size, of_file(folder / "student.onnx", cores()))
    return {"values": values, "seconds": time.perf_counter() - started, "torch": "torch" in sys.modules}


def by_network(folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """Measure with torch."""
    from models import checkpoint
    from pipelines.predict.runtimes import of_student

    return measured(folder, size, of_student(checkpoint.load(folder / "student.safetensors")[0]))


def data(folder: Path) -> tuple[DataRef, list[Frame]]:
    """The drawn set."""
    from pipelines.data.digests import dataset_digest

    manifest = folder / "manifest.jsonl"
    frames = load_manifest(manifest)
    files = {path for frame in frames for path in frame.files().values()}
    digest = dataset_digest(manifest, folder, files, folder / "digests.sqlite")
    return DataRef("outside:drawn", manifest, folder, "rooms", "room", digest, None), frames


def measured(folder: Path, size: tuple[int, int], predictor: Predictor) -> dict[str, float]:
    """The figures of the drawn set."""
    ref, frames = data(folder)
    return evaluate_predictor(predictor, ref, frames, size, folder / "packs", EXAM)[0].values


if __name__ == "__main__":
    main()
