"""What each switch of the training step is worth, on a CPU and on a CUDA GPU where there is one, and what the real loader costs it.

    make bench-train      (benchmarks/train.py [--device auto|cpu|cuda] [--size 240x320] [--batch N] [--rounds 5] [--steps N] [--threads N]
                           [--encoder efficientvit_b1] [--without-compile] [--smoke])

The first table takes steps on one resident batch: plain eager (float32 on a CPU, bfloat16 autocast on a GPU), each switch added in
turn, and each taken from the chosen set, which is what `vortex train` uses on this device. The second takes steps of the chosen set on
frames from packs with the augmentation of recipe v5. Contenders take turns within each round, so that a drift of the machine meets all
of them; a time is the median over the rounds, a ratio the median of the rounds' ratios. Targets: chosen ≥ 1.3× plain on a CPU, ≥ 1.5×
on a GPU and there ≥ 10× the 179 frames/s published for this system; with the real loader ≥ 0.95× of the resident batch.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, repeat
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.rivals import native
from models import augment, augment_device
from models.student import Student, StudentConfig
from pipelines.data.datasets import resolve
from pipelines.init import init
from pipelines.pack.loader import Loader
from pipelines.pack.preparing import packs_folder
from pipelines.pack.preparing import prepare as pack_frames
from pipelines.pack.reading import Pack, Selection
from pipelines.pack.sampler import epoch_order, loader_processes
from pipelines.recipes.recipe import load
from pipelines.train.plan.switches import NATIVE_BF16, Switches
from pipelines.train.worker.batches import device_batches
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.learner import Learner, Task, prepare_student
from pipelines.train.worker.loop import train_step
from pipelines.train.worker.optimizer import make_loss, make_optimizer

PUBLISHED = 179.0
"""Frames a second that were published for this system, on one L40S."""
OVER_PLAIN = {"cpu": 1.3, "cuda": 1.5}
OVER_PUBLISHED = 10.0
OF_RESIDENT = 0.95
CHOSEN, RESIDENT, REAL = "chosen", "resident batch", "real loader"
UNTIMED = 2
"""Steps before a turn is timed: their batches were prepared while others took theirs."""
RECIPE = load("v5")
Turn = Callable[[int], float]
Tensors = dict[str, Tensor]


def main() -> None:
    """Measure on one device, print both tables; exit 1 when a target is missed."""
    options = _arguments()
    device, (height, width) = torch.device(options.device), (int(side) for side in options.size.split("x"))
    torch.set_num_threads(options.threads)
    print(f"{options.encoder} {height}x{width}, batch {options.batch}, torch {torch.__version__}\n{about(device)}")
    chosen = Switches.for_device(options.device)
    print(f"chosen: {chosen}")
    if options.without_compile:
        chosen = chosen.changed("compile=off")
        print("compile: not measured (--without-compile)")
    plain, sets = ablation(options.device, chosen, not options.without_compile)
    with tempfile.TemporaryDirectory() as folder:
        pack = packed(Path(folder), options.frames, (height, width), fast=options.smoke)
        build = partial(trainer, encoder=options.encoder, device=device)
        batch = next(real_batches(pack, options.batch, device, chosen))
        turns = {name: build(switches, repeat(batch)) for name, switches in sets.items()}
        seconds = take_turns(turns, options.rounds, options.steps)
        report(seconds, plain, options.batch)
        met = [verdict(f"{CHOSEN} / {plain}", ratio(seconds, CHOSEN, plain), OVER_PLAIN[options.device])]
        over = options.batch / statistics.median(seconds[CHOSEN]) / PUBLISHED
        if options.device == "cuda":
            met.append(verdict(f"{CHOSEN} / published {PUBLISHED:.0f} frames/s", over, OVER_PUBLISHED))
        else:
            print(f"{CHOSEN} / published {PUBLISHED:.0f} frames/s, of a GPU: {over:.2f}")
        fed = {RESIDENT: build(chosen, repeat(batch))}
        for name, switches in feeding(options.device, chosen).items():
            fed[name] = build(switches, real_batches(pack, options.batch, device, switches))
        seconds = take_turns(fed, options.rounds, 2 * options.steps)
    report(seconds, RESIDENT, options.batch)
    met.append(verdict(f"{REAL} / {RESIDENT}", ratio(seconds, REAL, RESIDENT), OF_RESIDENT))
    if options.device == "cpu":
        print("GPU: none was measured; its targets (1.5× eager AMP, 10× the published rate) are open")
    sys.exit(0 if all(met) or options.smoke else 1)


def ablation(device: str, chosen: Switches, with_compile: bool) -> tuple[str, dict[str, Switches]]:
    """The name of the plain set, and every set by name: plain, each switch added to those before it, the chosen set less each of its own."""
    plain = "eager AMP" if device == "cuda" else "eager fp32"
    made = Switches.eager().changed("autocast=on") if device == "cuda" else Switches.eager()
    sets = {plain: made}
    for name in ("channels_last", "autocast", "fused", *(["compile"] if with_compile else [])):
        if not getattr(made, name):
            made = made.changed(f"{name}=on")
            sets[f"+ {name}"] = made
    sets[CHOSEN] = chosen
    own = [name for name, value in chosen if value is True]
    return plain, sets | {f"{CHOSEN} - {name}": chosen.changed(f"{name}=off") for name in own}


def feeding(device: str, chosen: Switches) -> dict[str, Switches]:
    """The chosen set on real frames, and what feeding it otherwise gives."""
    sets = {REAL: chosen, f"{REAL}, augment_on_device": chosen.changed("augment_on_device=on")}
    return sets if device == "cpu" else sets | {f"{REAL} - prefetch": chosen.changed("prefetch=0")}


def trainer(switches: Switches, batches: Iterator[Tensors], *, encoder: str, device: torch.device) -> Turn:
    """A student of its own; called with a number of steps it takes them, as the training loop does, and gives the seconds a step."""
    torch.manual_seed(0)
    student = prepare_student(Student(StudentConfig(encoder)).to(device), switches).train()
    loss = make_loss(RECIPE).to(device)
    learner = Learner(Task(student, loss, switches, print), make_optimizer(RECIPE, student, loss, fused=switches.fused))
    group = ProcessGroup(0, 1, device)

    def step() -> None:
        if train_step(learner, next(batches), group).nonfinite:
            sys.exit("the loss is not finite: what follows would measure nothing")

    def turn(steps: int) -> float:
        for _ in range(UNTIMED if steps > 1 else 0):
            step()
        _finish(device)
        started = time.perf_counter()
        for _ in range(steps):
            step()
        _finish(device)
        return (time.perf_counter() - started) / steps

    return turn


def real_batches(pack: Pack, size: int, device: torch.device, switches: Switches) -> Iterator[Tensors]:
    """Epoch after epoch from a pack, fed as the training loop feeds itself."""
    stated = RECIPE.augmentation.model_dump()
    on_device = augment_device.build(stated) if switches.augment_on_device else None
    make = partial(augment.build, {} if on_device else stated, pack.size)
    with Loader([Selection(pack, pack.select("train"))], make, 0, processes=loader_processes(device.type)) as loader:
        for epoch in count():
            order = epoch_order(loader.counts, [None], size, "within_batch", 0, epoch)
            for _, tensors in device_batches(loader.batches(order, epoch), device, switches, on_device):
                yield tensors


def take_turns(turns: dict[str, Turn], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds a step of each contender in each round."""
    for name, turn in turns.items():
        first = turn(1)
        if "compile" in name or first > 20:
            print(f"first step of {name!r}: {first:.1f} s")
    return _transposed([{name: turn(steps) for name, turn in turns.items()} for _ in range(rounds)])


def ratio(seconds: dict[str, list[float]], ours: str, other: str) -> float:
    """How many times as fast as another contender, by the median over rounds."""
    return statistics.median(b / a for a, b in zip(seconds[ours], seconds[other], strict=True))


def report(seconds: dict[str, list[float]], base: str, batch: int) -> None:
    """Print one line a contender."""
    print(f"\n{'':36} {'s/step':>8} {'frames/s':>9}   × {base}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:36} {median:8.4f} {batch / median:9.1f}   {ratio(seconds, name, base):.2f}")


def verdict(what: str, found: float, asked: float) -> bool:
    """Print whether a target is met, and return it."""
    print(f"{what}: {found:.2f}, asked {asked:g}: {'met' if found >= asked else 'MISSED'}")
    return found >= asked


def packed(folder: Path, frames: int, size: tuple[int, int], fast: bool) -> Pack:
    """A pack of synthetic frames in a workspace of their own."""
    ref = resolve(init(folder / "workspace"), name_or_manifest=str(native.write_frames(folder / "frames", frames, fast=fast)))
    return pack_frames(packs_folder(init(folder / "workspace")), ref, size, workers=1).pack


def about(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return f"device: {torch.cuda.get_device_name(device)}"
    native_bf16 = [name for name in NATIVE_BF16 if torch.cpu.get_capabilities().get(name)]
    return f"device: CPU, {torch.get_num_threads()} threads, native bfloat16: {', '.join(native_bf16) or 'none'}"


def _transposed(rounds: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [one[name] for one in rounds] for name in rounds[0]}


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--size", default="240x320", help="height x width")
    parser.add_argument("--batch", type=int, help="default: 8 on a CPU, 64 on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="steps a turn; default: 2 on a CPU, 20 on a GPU")
    parser.add_argument("--frames", type=int, default=512, help="frames of the pack")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--encoder", default="efficientvit_b1")
    parser.add_argument("--without-compile", action="store_true", help="leave out torch.compile, which takes a minute or more to start")
    parser.add_argument("--smoke", action="store_true", help="one round of a tiny step: does it work at all?")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.smoke:
        options.size, options.batch, options.rounds, options.steps, options.frames = "64x96", 2, 1, 1, 16
        options.encoder, options.without_compile = "mobilenetv3_small_100", True
    on_gpu = options.device == "cuda"
    options.batch, options.steps = options.batch or (64 if on_gpu else 8), options.steps or (20 if on_gpu else 2)
    return options


if __name__ == "__main__":
    main()
