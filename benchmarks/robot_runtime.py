"""The robot's loop under 30 frames a second: is a frame late when the version changes, and what does a shadow cost the live answer?

    make bench-robot_runtime      (benchmarks/robot_runtime.py [--seconds 20] [--rounds 4] [--smoke])

Two models of a few milliseconds at 240×320 by ONNX Runtime, one thread each; frames come at their times whatever the loop does. Targets:
at most one late frame a swap (one that is out after the next one came), no answer with the one's name and the other's depth, and a
live p99 that a shadow changes by 2 % at most (rounds with and without it take turns; the median of each). Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from vortex_jetson.engines.engine import OnnxEngine
from vortex_jetson.live.runtime import Current, Follower, Summary, warm_up, work
from vortex_jetson.live.shadow import Shadow
from vortex_jetson.live.sources import Frame, newest
from vortex_jetson.perception.perception import Perception, Seen

SIZE = (240, 320)
CLASSES = ("floor", "wall", "glass", "person", "furniture", "other")
PERIOD = 1 / 30
METRES = {"v9": 2.0, "v10": 4.0}
"""What each version says of every pixel."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of each run")
    parser.add_argument("--rounds", type=int, default=4, help="of swaps, and of runs with and without a shadow")
    parser.add_argument("--smoke", action="store_true", help="one second each: does it work at all?")
    options = parser.parse_args()
    seconds, rounds = (1.0, 1) if options.smoke else (options.seconds, options.rounds)
    print(f"one frame takes {1000 * warm_up(perception('v9')):.1f} ms of {1000 * PERIOD:.1f}")
    swaps(seconds, rounds)
    shadows(seconds, rounds)


def swaps(seconds: float, rounds: int) -> None:
    """One swap a run, in its middle, and a run of the same length without."""
    late, mixed, quiet = 0, 0, 0
    for _ in range(rounds):
        quiet += run(seconds, None)[0]
        of_swap, of_mixture, versions = run(seconds, seconds / 2)
        late, mixed = late + of_swap, mixed + of_mixture
        if len(versions) != 2:
            print(f"  a run ended with {versions}: the swap did not come")
    reached = "reached" if late <= quiet + rounds and not mixed else "missed"
    print(f"{rounds} swaps: {late} late frames ({quiet} without a swap), {mixed} answers of two versions   target 1 a swap, 0: {reached}")


def run(seconds: float, swap_after: float | None) -> tuple[int, int, dict[str, int]]:
    """Late frames, answers of two versions, and frames by version of one run."""
    current, start, late, mixed = Current(perception("v9")), time.monotonic(), 0, 0
    warm_up(current())

    def key() -> str:
        return "v10" if swap_after is not None and time.monotonic() - start > swap_after else "v9"

    def check(frame: Frame, seen: Seen) -> None:
        nonlocal late, mixed
        late += time.monotonic() > frame.at + PERIOD
        mixed += abs(float(np.median(seen.depth)) - METRES[seen.version]) > 0.1

    summary = Summary()
    with Follower(current, key, lambda: perception("v10"), lambda words: None, every_s=0.05):
        work(newest(paced(seconds)), current, [check], summary)
    return late, mixed, summary.frames


def shadows(seconds: float, rounds: int) -> None:
    """The live p99 with and without a candidate beside it."""
    figures: dict[bool, list[float]] = {False: [], True: []}
    compared = skipped = 0
    for _ in range(rounds):
        for with_shadow in (False, True):
            live, summary = perception("v9"), Summary()
            warm_up(live)
            shadow = Shadow(perception("v10"), glass=2) if with_shadow else None
            work(newest(paced(seconds)), Current(live), [], summary, shadow, PERIOD)
            figures[with_shadow].append(summary.percentile(0.99))
            if shadow is not None:
                compared, skipped = compared + shadow.frames, skipped + shadow.skipped
    alone, beside = (1000 * statistics.median(figures[with_shadow]) for with_shadow in (False, True))
    change = 100 * (beside / alone - 1)
    verdict = "reached" if change <= 2 else "missed"
    print(f"live p99 {alone:.1f} ms alone, {beside:.1f} ms with a shadow: {change:+.1f} %   target +2 %: {verdict}")
    print(f"  the shadow compared {compared} frames and skipped {skipped}")


def paced(seconds: float) -> Iterator[Frame]:
    """Frames at their times, as a camera has them: late ones are not waited for."""
    random, start = np.random.default_rng(0), threading.Event()
    pictures = [random.integers(0, 256, (*SIZE, 3), np.uint8) for _ in range(3)]
    begin = time.monotonic()
    for number in range(int(seconds / PERIOD)):
        start.wait(max(0.0, begin + number * PERIOD - time.monotonic()))
        yield Frame(str(number), time.monotonic(), pictures[number % 3])


def perception(version: str) -> Perception:
    """A version that says its own depth, and takes its time for it."""
    return Perception(version, OnnxEngine(model(METRES[version]), version, threads=1), SIZE, CLASSES, CLASSES)


def model(metres: float) -> bytes:
    """Two convolutions whose sum is made nothing of, and depth of `metres` everywhere."""
    random, nodes, weights = np.random.default_rng(0), [], []
    name, channels = "rgb", 3
    for layer, width in enumerate((8, 6)):
        kernel: NDArray[np.float32] = random.normal(0, 0.1, (width, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{layer}"))
        nodes.append(helper.make_node("Conv", [name, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        name, channels = f"c{layer}", width
    weights += [numpy_helper.from_array(np.array(value, np.float32), key) for key, value in (("tiny", 1e-6), ("metres", metres))]
    weights.append(numpy_helper.from_array(np.array([1], np.int64), "axes"))
    nodes += [
        helper.make_node("ReduceMean", [name, "axes"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "tiny"], ["nothing"]),
        helper.make_node("Add", ["nothing", "metres"], ["depth"]),
        helper.make_node("Identity", [name], ["logits"]),
    ]
    outputs = [
        helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, *SIZE]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 6, *SIZE]),
    ]
    inputs = [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, [1, 3, *SIZE])]
    graph = helper.make_graph(nodes, "paced", inputs, outputs, weights)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(built)
    return bytes(built.SerializeToString())


if __name__ == "__main__":
    main()
