"""What a specialist forgets, and what helps: a student of the rooms is fine-tuned on the corridor in ten ways, several seeds each.

    make bench-forgetting           (benchmarks/forgetting.py [--seeds 3] [--epochs 8] [--folder build/forgetting] [--only NAME ...] [--smoke])

For every way: RMSE on the corridor (the target), RMSE on the rooms (the old domain), and by how much the old one got worse than the
student that all of them start from. An interrupted run goes on where it was when it is given the same `--folder`.

`plain` is V7's protocol (berHu, Kendall, two rates, cosine) with both rates ten times the lineage's: here a training has about a hundred
steps and there it had 31,000. `low rate` is the lineage's other choice, one rate of 1e-5 for everything, ten times too. Every other way
changes one thing in `plain`.
"""

from __future__ import annotations

import argparse
import math
import re
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel

from models import checkpoint
from pipelines import workspace as workspaces
from pipelines.data.datasets import listing, resolve
from pipelines.evaluate.student import evaluate_student
from pipelines.experiments.seeded_run import SeededRun, begun, read_record, write_record
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.pack.preparing import packs_folder
from pipelines.runs.events import TrainEvent
from pipelines.synthetic.dataset import synthesise
from pipelines.train.driver.run import train
from pipelines.train.plan.decide import decide
from pipelines.train.plan.gather import gather
from pipelines.train.plan.options import TrainOptions
from pipelines.workspace import Workspace
from validation.manifest import load_manifest

SIZE = (64, 96)
OLD, NEW = "rooms", "corridor"
PLAIN = ("optimizer.encoder_lr=3e-4", "optimizer.decoder_lr=3e-3", "optimizer.freeze_encoder_epochs=1")


@dataclass(frozen=True)
class Way:
    """One way to fine-tune: settings after those of `plain`, and the share of each batch that is old data."""

    settings: tuple[str, ...] = ()
    replay: float = 0.0


WAYS: dict[str, Way] = {
    "plain": Way(),
    "low rate": Way(("optimizer.encoder_lr=1e-4", "optimizer.decoder_lr=1e-4")),
    "replay 0.2": Way(replay=0.2),
    "L2-SP": Way(("anchor={kind: l2sp, strength: 0.1}",)),
    "EWC 0.001": Way(("anchor={kind: ewc, strength: 0.001}",)),
    "EWC 0.004": Way(("anchor={kind: ewc, strength: 0.004}",)),
    "EMA": Way(("ema.decay=0.99",)),
    "layer decay": Way(("optimizer.layer_decay=0.5",)),
    "SILog": Way(("loss.weights.silog=1.0",)),
    "gradient": Way(("loss.weights.gradient=0.5",)),
}


@dataclass(frozen=True)
class Size:
    """How much is rendered and trained; `frames` of the old and of the new set, validation frames included."""

    frames: tuple[int, int] = (240, 160)
    base_epochs: int = 12
    epochs: int = 8
    settings: tuple[str, ...] = ()


SMOKE = Size((14, 14), 1, 1, ("student.encoder=mobilenetv3_small_100",))


class Scores(BaseModel):
    """RMSE in metres of one student on the new set and on the old one. A training that `diverged` says how, and has none."""

    new: float = math.inf
    old: float = math.inf
    diverged: str | None = None


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=Size.epochs, help="of fine-tuning")
    parser.add_argument("--folder", type=Path, default=Path("build/forgetting"), help="the benchmark's workspace")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), metavar="NAME", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--smoke", action="store_true", help="one way, one epoch of a few frames: does it work at all?")
    options = parser.parse_args()
    started = time.perf_counter()
    if options.smoke:
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            report(ablate(Path(folder) / "forgetting", SMOKE, 1, ("EWC 0.001",)), 1)
    else:
        report(ablate(options.folder, Size(epochs=options.epochs), options.seeds, options.only), options.seeds)
    print(f"{time.perf_counter() - started:.0f} s")


def ablate(folder: Path, size: Size, seeds: int, names: Sequence[str]) -> dict[str, Scores]:
    """Fine-tune the base in every way with every seed; what the folder already holds is left as it is."""
    ws = _workspace(folder, size)
    base = _base(ws, size)
    base_path = folder / "scores" / "base.json"
    scores = {"base": read_record(base_path, Scores) or _measure(ws, hub(ws).artifacts.path(hub(ws).get(base).checkpoint))}
    write_record(base_path, scores["base"])
    for seed in range(seeds):
        for name in names:
            key = f"{name} seed {seed}"
            scores[key] = _fine_tune(ws, base, size, name, seed)
            print(f"{key:20} corridor {scores[key].new:.3f} m, rooms {scores[key].old:.3f} m", flush=True)
    return scores


def report(scores: Mapping[str, Scores], seeds: int) -> None:
    """The table: the mean of the seeds, and the least and greatest beside it."""
    base = scores["base"]
    print(f"{'':12} {'corridor RMSE m':>24} {'rooms RMSE m':>24} {'rooms, against the base':>24}")
    print(f"{'base':12} {base.new:24.3f} {base.old:24.3f}")
    for name, runs in _by_way(scores, seeds).items():
        lost = [100 * (run.old / base.old - 1) for run in runs]
        print(f"{name:12} {_spread([run.new for run in runs])} {_spread([run.old for run in runs])} {statistics.mean(lost):+22.0f} %")
    print(f"{seeds} seed(s): mean (least–greatest)")


def _by_way(scores: Mapping[str, Scores], seeds: int) -> Mapping[str, list[Scores]]:
    by_way = {name: [scores[key] for seed in range(seeds) if (key := f"{name} seed {seed}") in scores] for name in WAYS}
    return {name: runs for name, runs in by_way.items() if runs}


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f}–{max(values):.3f})".rjust(24)


def _workspace(folder: Path, size: Size) -> Workspace:
    """A workspace of its own with both sets."""
    ws = workspaces.load(folder) if (folder / workspaces.FILE).exists() else init(folder)
    for seed, (world, frames) in enumerate(zip((OLD, NEW), size.frames, strict=True)):
        if world not in {dataset.name for dataset in listing(ws)}:
            synthesise(ws, world, world=world, frames=frames, seed=seed, size=SIZE, teacher="metric")
    return workspaces.load(folder)


def _base(ws: Workspace, size: Size) -> str:
    """The student of the rooms that every way starts from: V5's recipe from scratch."""
    registered = [summary.name for summary in hub(ws).summaries()]
    if registered:
        return registered[0]
    options = TrainOptions(
        recipe="v5", domain=OLD, encoder_weights="none", size=SIZE, epochs=size.base_epochs, settings=size.settings,
        device="cpu", allow_unvalidated=True,
    )  # fmt: skip
    version = train(ws, decide(options, gather(ws, options)), _quiet).version
    assert version is not None
    return version.name


def _fine_tune(ws: Workspace, base: str, size: Size, name: str, seed: int) -> Scores:
    """Train on the corridor in one way, and measure the best student on both sets; done already, only read it."""
    way, run = WAYS[name], f"forgetting-{re.sub(r'[^a-z0-9]+', '-', name.lower())}-s{seed}"
    settings = dict(setting.split("=", 1) for setting in (*PLAIN, *way.settings))
    options = TrainOptions(
        from_version=base, domain=NEW, epochs=size.epochs, seed=seed, device="cpu", allow_unvalidated=True,
        settings=tuple(f"{key}={value}" for key, value in settings.items() if size.epochs > 1 or "freeze" not in key),
        replay=(f"{OLD}:{way.replay}",) if way.replay else (),
    )  # fmt: skip
    return SeededRun(
        path=ws.root / "scores" / f"{run}.json",
        record=Scores,
        plan=lambda: begun(ws, run) or decide(options, gather(ws, options)).model_copy(update={"run": run}),
        measure=lambda plan, result: _measure(ws, result.student),
        diverge=lambda plan, error: Scores(diverged=error.message),
    ).carry_out(ws, _quiet)


def _measure(ws: Workspace, path: Path) -> Scores:
    student, _ = checkpoint.load(path)

    def rmse(name: str) -> float:
        ref = resolve(ws, name_or_manifest=name)
        frames = [frame for frame in load_manifest(ref.manifest) if frame.split == "val"]
        return evaluate_student(student, ref, frames, SIZE, packs_folder(ws))[0].values["rmse"]

    return Scores(new=rmse(NEW), old=rmse(OLD))


def _quiet(event: TrainEvent) -> None:
    """No line a step: the table is what is read."""


if __name__ == "__main__":
    main()
