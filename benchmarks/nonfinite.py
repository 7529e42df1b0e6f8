"""Train on poisoned batches, and see whether anything that is not finite ever reaches the student.

    make bench-nonfinite            (benchmarks/nonfinite.py [--batches 1000] [--seed 0] [--smoke])

Of the batches 60 % are poisoned: pictures, depths or confidences, of one frame or of all, are multiplied with or replaced by NaN,
infinities, numbers at the ends of float32, or zero. Asked: after none of them is anything of the student, its average, its optimiser
or its loss not finite; what the training skips is counted. Runs on the CPU.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.trainings.small import ignore, planned, prepare

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.workspace import Workspace

POISONED: Final = 0.6
FRAMES: Final = 40
State = dict[str, "Tensor"]


def poison(tensors: State, random_: random.Random) -> State:
    """A batch with something in it that no sensor sends."""
    value = random_.choice([float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e20, 1e-40, 0.0])
    role = random_.choice(["rgb", "teacher_depth", "reference", "tof_depth", "tof_confidence"])
    chosen = tensors[role].clone()
    part = random_.choice([slice(None), slice(0, 1)])
    chosen[part] = chosen[part] * 0 + value if random_.random() < 0.5 else chosen[part] * value
    return tensors | {role: chosen}


def adversarial(ws: Workspace, batches: int, random_: random.Random) -> tuple[int, int, int]:
    """Train on poisoned batches; how many were seen, how many were skipped, and after how many something was not finite."""
    import torch

    from pipelines.train.driver.run import lay_out
    from pipelines.train.worker import loop as looping

    plan = planned(ws, 10_000, max_bad_batches=batches + 1)
    lay_out(plan, plan.folder(ws))
    made = looping.StageLoop(plan, 0, plan.stage_folder(plan.folder(ws), 0), ignore, lambda: False)
    real, broken, seen = looping.device_batches, 0, 0

    def poisoned(*words: Any) -> Iterator[tuple[Any, State]]:
        nonlocal broken, seen
        for batch, tensors in real(*words):
            yield batch, poison(tensors, random_) if random_.random() < POISONED else tensors
            state = [*made.student.state_dict().values(), *made.learner.state().values()]
            broken += not all(bool(torch.isfinite(value).all()) for value in state)
            seen += 1

    looping.device_batches = poisoned  # type: ignore[assignment]
    try:
        while seen < batches:
            made._train_epoch()
            made.progress.epoch, made.progress.step = made.progress.epoch + 1, 0
    finally:
        looping.device_batches = real
        made.data.close()
    return seen, made.progress.skipped, broken


def main() -> None:
    """Print the counts; exit 1 when a batch left something that is not finite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="twenty batches, to see that it runs")
    options = parser.parse_args()
    import torch

    from pipelines.workspace import load

    torch.set_num_threads(1)  # maps this small are slower with more
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        prepare(root, 12 if options.smoke else FRAMES)
        seen, skipped, broken = adversarial(load(root), 20 if options.smoke else options.batches, random.Random(options.seed))
    print(f"{seen} batches, {POISONED:.0%} of them poisoned: {skipped} skipped, {broken} left something that is not finite")
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
