"""Is a predicted epoch what an epoch takes? `vortex profile` against the training it speaks of, in one process on one machine.

    make bench-profile     (benchmarks/profile.py [--rounds 5] [--frames 240] [--size 120x160] [--batch 8] [--epochs 4] [--seconds 10]
                            [--encoder mobilenetv3_small_100] [--device auto|cpu|cuda] [--threads N] [--smoke])

Each round predicts and then trains: what was said is compared with the median of the epochs that were really trained, their validation
and checkpoint included (the first epoch is left out, it warms up). A machine that gets slower in between makes a prediction look too
short, one that gets faster too long, so the median over the rounds is judged, and every round is shown. Target: within ±20 % of the real
epoch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch

from pipelines.init import init
from pipelines.profile.measurement import profile
from pipelines.profile.record import Profile
from pipelines.recipes import recipe as recipes
from pipelines.runs.events import TrainEvent
from pipelines.synthetic.dataset import synthesise
from pipelines.train.driver.run import train
from pipelines.train.plan.decide import decide
from pipelines.train.plan.gather import gather
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace, load

TOLERANCE = 0.20


def main() -> None:
    """Predict, train, compare, in turns; exit 1 when the prediction is off."""
    options = _arguments()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        ws = workspace(Path(folder), options)
        errors = [one_round(ws, folder, options) for _ in range(options.rounds)]
    error = statistics.median(errors)
    met = abs(error) <= TOLERANCE
    print(
        f"error {error:+.1%}, the median of {options.rounds} round(s) of {min(errors):+.1%} to {max(errors):+.1%}, "
        f"asked within ±{TOLERANCE:.0%}: {'met' if met else 'MISSED'}"
    )
    sys.exit(0 if met or options.smoke else 1)


def one_round(ws: Workspace, folder: str, options: argparse.Namespace) -> float:
    """Predict, then train; by how much of the real epoch the prediction was off."""
    train_options = TrainOptions(
        recipe=str(Path(folder) / "recipe.yaml"), domain="rooms", encoder_weights="none", epochs=options.epochs,
        batch_size=options.batch, device=options.device, allow_unvalidated=True,
    )  # fmt: skip
    plan = decide(train_options, gather(ws, train_options))
    made = profile(ws, plan, seconds=options.seconds)
    real = epochs(ws, plan)
    error = made.epoch_seconds / statistics.median(real) - 1
    print(f"{options.encoder} {options.size}, batch {options.batch}, {made.device} ({made.machine})")
    print(f"predicted {_said(made)}")
    print(
        f"real      {statistics.median(real):7.2f} s an epoch ({', '.join(f'{seconds:.2f}' for seconds in real)}): {error:+.1%}", flush=True
    )
    return error


def workspace(folder: Path, options: argparse.Namespace) -> Workspace:
    """A workspace with a synthetic set to train on, and a recipe for it."""
    height, width = (int(side) for side in options.size.split("x"))
    ws = init(folder / "workspace")
    synthesise(ws, "rooms", world="rooms", frames=options.frames, size=(height, width), workers=1)
    raw = recipes.load("v5").model_dump(mode="json") | {"name": "profiled", "parents": []}
    raw["student"] = {"encoder": options.encoder, "size": [height, width]}
    (folder / "recipe.yaml").write_text(json.dumps(raw))
    return load(ws.root)


def epochs(ws: Workspace, planned: TrainPlan) -> list[float]:
    """Train, and give the seconds of every epoch but the first."""
    done: list[float] = []

    def hear(event: TrainEvent) -> None:
        if event.kind == "epoch":
            done.append(time.perf_counter())

    train(ws, planned, hear, register=False)
    return [after - before for before, after in pairwise(done)]


def _said(made: Profile) -> str:
    low, high = made.epoch_band
    return (
        f"{made.epoch_seconds:7.2f} s an epoch ({low:.2f} to {high:.2f}); loader {made.loader_rate:.0f}, step {made.step_rate:.1f}, "
        f"together {made.together_rate:.1f} frames/s; device computes {made.utilisation:.0%}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="predictions, each with a training of its own")
    parser.add_argument("--frames", type=int, default=240, help="of the synthetic set, all splits")
    parser.add_argument("--size", default="120x160", help="height x width")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0, help="that each part is timed")
    parser.add_argument("--encoder", default="mobilenetv3_small_100")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch on a CPU")
    parser.add_argument("--smoke", action="store_true", help="a few tiny frames: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.frames, options.size, options.batch, options.epochs = 24, "32x48", 4, 2
        options.seconds, options.threads, options.rounds = 0.2, 1, 1
    return options


if __name__ == "__main__":
    main()
