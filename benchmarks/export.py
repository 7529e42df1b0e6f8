"""ONNX Runtime against torch eager: one frame of 240×320 on one thread, in interleaved rounds, with the parity of the two.

    make bench-export            (benchmarks/export.py [--size 240x320] [--rounds 30] [--checkpoint student.safetensors] [--smoke])

The targets are ratios taken side by side (fp32 ≥ 1.7 at ≤ 1e-4 m of depth difference, int8 for the host ≥ 2.5), because absolute times drift
from machine to machine. int8 is calibrated on noise here, which takes as long: what its answers are worth only an exam says.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from models import checkpoint
from models.student import Student, StudentConfig
from pipelines.predict.runtimes import INPUT, of_file, session
from pipelines.ship.export.onnx import write_onnx
from pipelines.ship.export.parity import measure_parity, noise
from pipelines.ship.export.quantized import write_int8

WARM_UP = 3
CALLS = 3
TARGETS = {"fp32": 1.7, "int8": 2.5}


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="240x320", help="H x W")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--checkpoint", type=Path, help="a trained student; default: random weights, which take as long")
    parser.add_argument("--smoke", action="store_true", help="two rounds of a tiny picture: does it work at all?")
    chosen = parser.parse_args()
    if chosen.smoke:
        chosen.size, chosen.rounds = "64x96", 2
    height, width = (int(part) for part in chosen.size.split("x"))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    student = checkpoint.load(chosen.checkpoint)[0] if chosen.checkpoint else Student(StudentConfig(size=(height, width)))
    student.eval()
    frames = noise((height, width), 4)
    image = np.ascontiguousarray(frames[0].transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        write_onnx(student, (height, width), path, {})
        parity = measure_parity(student, of_file(path), frames)
        write_int8(path, path.with_name("int8.onnx"), "host", list(frames))
        fp32, int8 = session(path, threads=1), session(path.with_name("int8.onnx"), threads=1)
        tensor = torch.from_numpy(image)

        def eager() -> None:
            with torch.inference_mode():
                student(tensor)

        calls = {"fp32": lambda: fp32.run(None, {INPUT: image}), "int8": lambda: int8.run(None, {INPUT: image})}
        times = interleaved({"torch eager": eager, **calls}, chosen.rounds)
    print(f"student {student.config.encoder}, 1x3x{height}x{width}, 1 thread, {chosen.rounds} interleaved rounds of {CALLS} calls")
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    for name, seconds in times.items():
        p50, p90 = statistics.median(seconds), statistics.quantiles(seconds, n=10)[-1]
        print(f"  {name:<14} p50 {1000 * p50:7.2f} ms   p90 {1000 * p90:7.2f} ms")
    # The median of the rounds' own ratios: a slow spell of the machine meets both sides of its round.
    for name, target in TARGETS.items():
        ratio = statistics.median(a / b for a, b in zip(times["torch eager"], times[name], strict=True))
        print(f"  {name} ratio     {ratio:.2f}   (target {target:.2f}: {'reached' if ratio >= target else 'missed'})")
    source = f"{parity.frames} frames of noise, {'trained' if chosen.checkpoint else 'random'} weights"
    verdict = "reached" if parity.depth_m <= 1e-4 else "missed"
    print(f"  parity         {parity.depth_m:.1e} m, classes agree on {parity.class_agreement:.3%} (target 1e-04 m: {verdict}; {source})")


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of one call of each, a figure a round; the sides take turns, and turns at going first."""
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in sorted(calls, reverse=number % 2 == 1):
            started = time.perf_counter()
            for _ in range(CALLS):
                calls[name]()
            times[name].append((time.perf_counter() - started) / CALLS)
    return times


if __name__ == "__main__":
    main()
