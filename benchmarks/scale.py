"""What workers bring and what Ray costs: seconds from the command to the first step, frames/s, and seconds after the last epoch.

    make bench-scale            (benchmarks/scale.py [--rounds 3] [--size 120x160] [--batch 8] [--frames 128] [--epochs 2] [--smoke])

Each run is a command in a process of its own, on synthetic rooms that are packed beforehand: in its own process (0 workers), with one
Ray worker, and with two that share each batch out (on a machine with GPUs one GPU each, as many workers as there are GPUs at most).
The variants take turns within each round, so that a drift of the machine meets all of them; figures are medians over the rounds. Ray's
own cost is what one worker needs beyond none. Exits 1 when a run without workers needs more than 12 s to its first step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FIRST_STEP_S: Final = 12.0
COLUMNS: Final = ("first step s", "frames/s", "after the last epoch s", "whole command s")


@dataclass(frozen=True)
class Setting:
    """What is trained."""

    encoder: str
    size: str
    batch: int
    frames: int
    epochs: int


def prepare(root: Path, frames: int) -> None:
    """A workspace with one dataset of synthetic rooms."""
    from pipelines.data.datasets import DatasetCard, new_dataset
    from pipelines.init import init
    from pipelines.synthetic.dataset import Job, render_dataset
    from validation.manifest import write_manifest

    ws = init(root)
    with new_dataset(ws, "place", DatasetCard(name="place", domain="rooms", kind="room", format="synthetic")) as staging:
        write_manifest(staging / "manifest.jsonl", render_dataset(staging, Job("rooms", "rooms", frames, 0, (120, 160), None)))


def measure(root: Path, setting: Setting, workers: int) -> dict[str, float]:
    """One command in a process of its own: `COLUMNS`, by name."""
    started = time.time()
    command = [sys.executable, "-m", "benchmarks.scale", "--child", str(root), "--workers", str(workers), "--started", repr(started)]
    for name, value in vars(setting).items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise SystemExit(f"{workers} workers: {done.stderr.strip()[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {COLUMNS[3]: time.time() - started}


def child(root: Path, setting: Setting, workers: int, started: float) -> None:
    """Plan and train as `vortex train` does, and print when what happened."""
    from pipelines.runs.events import TrainEvent
    from pipelines.train.driver.run import train
    from pipelines.train.plan.decide import decide
    from pipelines.train.plan.gather import gather
    from pipelines.train.plan.options import TrainOptions
    from pipelines.workspace import load

    ws, times, rates = load(root), dict[str, float](), list[float]()
    recipe = root / f"{setting.encoder}.yaml"
    height, width = map(int, setting.size.split("x"))

    def follow(event: TrainEvent) -> None:
        if event.kind == "step":
            times.setdefault("first", time.time())
            if event.step == event.steps:
                rates.append(event.frames_per_second)
        elif event.kind == "epoch":
            times["last"] = time.time()

    options = TrainOptions(
        recipe=str(recipe), domain="rooms", encoder_weights="none", size=(height, width), batch_size=setting.batch,
        epochs=setting.epochs, workers=workers, allow_unvalidated=True,
    )  # fmt: skip
    train(ws, decide(options, gather(ws, options)), follow)
    # The first epoch holds what happens once: memory is taken, kernels are chosen.
    print(json.dumps(dict(zip(COLUMNS, (times["first"] - started, rates[-1], time.time() - times["last"]), strict=False))))


def write_recipe(root: Path, encoder: str) -> None:
    """V5 with another encoder, as a recipe of its own."""
    import json

    from pipelines.recipes import recipe

    raw = recipe.load("v5").model_dump(mode="json")
    own = {"name": "scale", "codename": "Scale", "parents": [], "published": []}
    (root / f"{encoder}.yaml").write_text(json.dumps(raw | own | {"student": raw["student"] | {"encoder": encoder}}))


def possible() -> list[int]:
    """Numbers of workers that this machine has room for."""
    import torch

    return [workers for workers in (0, 1, 2) if not torch.cuda.is_available() or workers <= torch.cuda.device_count()]


def main() -> None:
    """Run the rounds and print one line a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="120x160", help="height x width")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoder", default="efficientvit_b1")
    parser.add_argument("--smoke", action="store_true", help="one tiny run without workers: does it work at all?")
    for hidden, kind in (("--child", Path), ("--workers", int), ("--started", float)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.smoke:
        given.encoder, given.size, given.batch, given.frames, given.epochs, given.rounds = "mobilenetv3_small_100", "32x48", 4, 16, 1, 1
    setting = Setting(given.encoder, given.size, given.batch, given.frames, given.epochs)
    if given.child:
        child(given.child, setting, given.workers, given.started)
        return
    variants = [0] if given.smoke else possible()
    found: dict[int, list[dict[str, float]]] = {workers: [] for workers in variants}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "workspace")
        prepare(root, given.frames)
        write_recipe(root, given.encoder)
        if not given.smoke:
            measure(root, setting, 0)  # makes the packs, and brings the libraries into the page cache
        for _ in range(given.rounds):
            for workers in variants:
                found[workers].append(measure(root, setting, workers))
    medians = {w: {name: statistics.median(each[name] for each in rounds) for name in COLUMNS} for w, rounds in found.items()}
    report(setting, medians)
    if not given.smoke and medians[0][COLUMNS[0]] > FIRST_STEP_S:
        raise SystemExit(f"missed: {medians[0][COLUMNS[0]]:.1f} s to the first step of a run without workers, allowed {FIRST_STEP_S:.0f} s")


def report(setting: Setting, medians: dict[int, dict[str, float]]) -> None:
    """Print the figures, then what they say of Ray and of a second worker."""
    print(
        f"{setting.encoder} {setting.size}, batch {setting.batch}, {setting.frames} frames, {setting.epochs} epochs, {os.cpu_count()} cores"
    )
    print(f"{'workers':8}" + "".join(f"{name:>24}" for name in COLUMNS))
    for workers, each in medians.items():
        print(f"{workers:<8}" + "".join(f"{each[name]:24.1f}" for name in COLUMNS))
    if 1 in medians:
        first, rate, after, whole = (medians[1][name] - medians[0][name] for name in COLUMNS)
        print(
            f"Ray costs {first:.1f} s before the first step, {after:.1f} s after the last epoch, {whole:.1f} s in all; {rate:+.1f} frames/s"
        )
    if 2 in medians:
        print(f"two workers do {medians[2][COLUMNS[1]] / medians[1][COLUMNS[1]]:.2f}x the frames/s of one")


if __name__ == "__main__":
    main()
