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
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.trainings.small import folder_of, planned, prepare

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
    values = tensors[role].clone()
    part = random_.choice([slice(None), slice(0, 1)])
    values[part] = values[part] * 0 + value if random_.random() < 0.5 else values[part] * value
    return tensors | {role: values}


def adversarial(ws: Workspace, batches: int, random_: random.Random) -> tuple[int, int, int]:
    """Train on poisoned batches; how many were seen, how many were skipped, and after how many something was not finite."""
    import torch

    from pipelines.train.driver.run import lay_out
    from pipelines.train.worker.batches import Batches
    from pipelines.train.worker.distributed import ProcessGroup
    from pipelines.train.worker.learner import load_learner
    from pipelines.train.worker.loop import train_step

    plan = planned(ws, 10_000)
    lay_out(plan, plan.folder(ws))
    group = ProcessGroup.current(plan.device)
    learner = load_learner(plan, 0, folder_of(ws, plan), group, print)
    source = Batches(plan, plan.stages[0], group, lambda done, total, message: None)
    seen = skipped = broken = 0
    try:
        for epoch in count():
            learner.begin_epoch(group)
            for _, tensors in source.epoch(epoch):
                result = train_step(learner, poison(tensors, random_) if random_.random() < POISONED else tensors, group)
                state = [*learner.student.state_dict().values(), *learner.state().values()]
                broken += not all(bool(torch.isfinite(value).all()) for value in state)
                seen, skipped = seen + 1, skipped + bool(result.nonfinite)
            if seen >= batches:
                break
    finally:
        source.close()
    return seen, skipped, broken


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
