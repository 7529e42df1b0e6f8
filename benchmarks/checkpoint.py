"""What checkpoints cost of a student as large as the recipes': one of them, and all of a training whose epochs are short.

    make bench-checkpoint     (benchmarks/checkpoint.py [--encoder efficientvit_b1] [--size 240x320] [--repeats 10] [--epochs 120] [--smoke])

A checkpoint holds the weights, the moments and another best student, and is flushed to the disk; it stands beside a step of eight frames
of `--size`. The training has epochs of about a second, of 36 frames of 32x64. It writes a checkpoint after the first of them and after the
last, so one that is shorter than 200 times what a checkpoint takes spends more. Asked: at most 2 % of the training time goes to
checkpoints, of the former with one every ten minutes. Runs on the CPU.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

TARGET, INTERVAL_S, BATCH = 0.02, 600.0, 8
SMOKE: Final = ["--encoder", "mobilenetv3_small_100", "--size", "64x96", "--repeats", "2", "--epochs", "2", "--smoke"]


def batch_of(size: tuple[int, int]) -> dict[str, Tensor]:
    """Frames of noise, each with everything that is learnt from."""
    import torch

    depth = torch.rand(BATCH, 1, *size) + 1
    tensors = {"rgb": torch.rand(BATCH, 3, *size), "reference": depth, "teacher_depth": depth}
    tensors |= {"tof_depth": depth * 0, "tof_confidence": depth * 0}
    return tensors | {"segmentation": torch.zeros(BATCH, *size, dtype=torch.int64), "has_teacher": torch.ones(BATCH, dtype=torch.bool)}


def measure(folder: Path, encoder: str, size: tuple[int, int], repeats: int) -> tuple[float, float]:
    """Median seconds of a training step, and of a checkpoint."""

    import torch

    from models.student import Student, StudentConfig
    from pipelines.recipes import recipe as recipes
    from pipelines.train.plan.switches import Switches
    from pipelines.train.worker.checkpoints import Checkpoints, Progress
    from pipelines.train.worker.distributed import ProcessGroup
    from pipelines.train.worker.learner import Learner, Task, prepare_student
    from pipelines.train.worker.loop import train_step
    from pipelines.train.worker.optimizer import make_loss, make_optimizer

    recipe, switches = recipes.load("v6"), Switches.for_device("cpu")
    student = prepare_student(Student(StudentConfig(encoder, size), encoder_weights="none"), switches)
    loss = make_loss(recipe)
    learner = Learner(Task(student, loss, switches, print), make_optimizer(recipe, student, loss, fused=True))
    group, batch = ProcessGroup(0, 1, torch.device("cpu")), batch_of(size)
    best, steps, saves = copy.deepcopy(student), [], []
    for number in range(repeats):
        started = time.perf_counter()
        train_step(learner, batch, group)
        between = time.perf_counter()
        Checkpoints(folder).save(learner, Progress(epoch=number), {}, best)
        steps.append(between - started)
        saves.append(time.perf_counter() - between)
    return statistics.median(steps), statistics.median(saves)


def stalled(root: Path, encoder: str, epochs: int) -> tuple[float, float]:
    """Share of a training that its checkpoints take, and the seconds of its epochs."""
    from benchmarks.trainings.small import begin, folder_of, prepare
    from pipelines.runs.events import TrainEvent
    from pipelines.train.worker.loop import StageLoop
    from pipelines.workspace import load

    prepare(root, 40)
    ws, heard = load(root), []
    plan = begin(ws, epochs, settings=(f"student.encoder={encoder}",))

    def hear(event: TrainEvent) -> None:
        if event.kind in ("started", "epoch"):
            heard.append((time.perf_counter(), event.values))

    StageLoop(plan, 0, folder_of(ws, plan), hear, lambda: False).run()
    (began, _), (ended, values) = heard[0], heard[-1]
    return values["train/checkpoint_seconds"] / (ended - began), (ended - began) / epochs


def main() -> None:
    """Print the figures; exit 1 when a checkpoint costs more than asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="efficientvit_b1")
    parser.add_argument("--size", default="240x320")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--smoke", action="store_true", help="two checkpoints and two epochs of a small student, to see that it runs")
    options = parser.parse_args()
    if options.smoke:
        options = parser.parse_args(SMOKE)
    height, width = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        step, save = measure(Path(folder) / "one", options.encoder, (height, width), options.repeats)
        share, epoch = stalled(Path(folder) / "all", options.encoder, options.epochs)
    print(f"a step of {BATCH} frames of {options.size}      {step:.3f} s")
    print(f"a checkpoint of {options.encoder}      {save:.3f} s, {save / INTERVAL_S:.3%} of ten minutes (at most {TARGET:.0%})")
    print(f"a training of {options.epochs} epochs of {epoch:.2f} s       {share:.2%} of it in checkpoints (at most {TARGET:.0%})")
    if max(save / INTERVAL_S, share) > TARGET and not options.smoke:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
