"""Stop and kill trainings at random, and see whether they end as the one that nobody disturbed.

    make bench-resume            (benchmarks/resume.py [--stops 20] [--kills 20] [--seed 0] [--smoke])

Asked: a run that was stopped at a random moment ends with the same bits, in weights, average, optimiser and random state; a process
killed with -9 (half of the times at a file event, half at a step) leaves a readable `latest`, loses at most one checkpoint interval,
and its run still ends with the same bits as one version; and twelve hours of a scaled clock in three segments are the same training.
Everything trains in one process on the CPU; kills of workers and of whole machines are in `make bench-kills`.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.label_kills import EVENTS, WRITING, child
from benchmarks.label_kills import IMPORTS as OF_DATASETS
from benchmarks.trainings.small import begin, checkpoints, ending, final_state, folder_of, ignore, prepare, readable

if TYPE_CHECKING:
    from pipelines.runs.events import TrainEvent
    from pipelines.train.plan.train_plan import TrainPlan
    from pipelines.workspace import Workspace

INTERVAL_S: Final = 0.5
"""Of the checkpoints in the runs that are killed; ten minutes by default."""
IMPORTS: Final = (
    *OF_DATASETS,
    *("albumentations", "mlflow.store.tracking.sqlalchemy_store", "ray.train.torch", "registry.store"),
    *(
        "pipelines.evaluate.student",
        "pipelines.evaluate.version",
        "pipelines.train.worker.loop",
        "pipelines.train.driver.run",
        "validation.data_gate",
    ),
)


def aside(folder: Path, work: Callable[..., Any], *words: Any) -> Any:
    """Do the work in a fork and bring its answer back: a process that has trained has threads, and cannot be forked any more."""
    answer = folder / "answer.json"
    child(lambda: answer.write_text(json.dumps(work(*words))))
    return json.loads(answer.read_text())


def stops(ws: Workspace, wanted: str, looks: int, epochs: int, count: int, random_: random.Random) -> int:
    """Stop trainings at random looks for a stop (between steps, within a validation, between epochs); how many end with the same bits."""
    from pipelines.runs.stop import Stopped
    from pipelines.train.worker.loop import StageLoop

    equal = 0
    for _ in range(count):
        plan = begin(ws, epochs)
        folder = folder_of(ws, plan)
        look, seen = random_.randint(1, looks), itertools.count(1)
        try:
            StageLoop(plan, 0, folder, ignore, lambda seen=seen, look=look: next(seen) >= look).run()  # type: ignore[misc]
        except Stopped:
            StageLoop(plan, 0, folder, ignore, lambda: False).run()
        equal += final_state(ws, plan) == wanted
    return equal


def train_child(root: Path, run: str, log: Path, kill_event: int | None, kill_step: int | None) -> None:
    """Go on with a run. It writes down when each step was done, and is killed at a file event or a step, when one is given."""
    from pipelines.train.driver.run import train
    from pipelines.train.plan.resume import resume
    from pipelines.workspace import load

    ws = load(root)
    seen, inside = {"events": 0, "steps": 0}, (str(root / "build" / "runs"), str(root / "mlruns"))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in EVENTS or (event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING))
        if writes and isinstance(arguments[0], str | os.PathLike) and os.fspath(arguments[0]).startswith(inside):
            seen["events"] += 1
            if seen["events"] == kill_event:
                os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: TrainEvent) -> None:
        if event.kind == "step":
            seen["steps"] += 1
            with open(log, "a") as stream:
                stream.write(f"{event.epoch} {event.step} {time.monotonic()}\n")
            if seen["steps"] == kill_step:
                os.kill(os.getpid(), signal.SIGKILL)

    plan = resume(ws, run)
    sys.addaudithook(hook)
    train(ws, plan, hear)
    log.with_suffix(".count").write_text(f"{seen['events']} {seen['steps']}")


def lost(ws: Workspace, plan: TrainPlan, log: Path) -> float:
    """Seconds of training that a kill has cost: from the newest checkpoint's step to the last one done. Clears the log."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    log.unlink(missing_ok=True)
    done = [(int(epoch), int(step), float(at)) for epoch, step, at in lines]
    progress = checkpoints(ws, plan).progress()
    behind = [at for epoch, step, at in done if progress is None or (epoch, step) > (progress.epoch, progress.step)]
    return done[-1][2] - behind[0] if behind else 0.0


def kills(ws: Workspace, wanted: str, epochs: int, rounds: int, random_: random.Random, folder: Path) -> tuple[Counter[str], float]:
    """Kill trainings at random and let them go on, every third one twice; how they went, and the most seconds that a kill cost."""
    went: Counter[str] = Counter()
    worst, events, steps = 0.0, 0, 0
    log = folder / "steps"
    for number in range(-1, rounds):  # the first is not killed: it counts what the others can be killed at
        run = aside(folder, begun, ws, epochs)
        for _ in range(0 if number < 0 else 2 if number % 3 == 2 else 1):
            at_event = random_.randint(1, events) if number % 2 else None
            at_step = None if at_event else random_.randint(1, steps)
            went["kills"] += child(train_child, ws.root, run, log, at_event, at_step) == signal.SIGKILL
            cost, whole = aside(folder, look_after, ws, run, log)
            worst, went["readable"], went["asked"] = max(worst, cost), went["readable"] + whole, went["asked"] + 1
        child(train_child, ws.root, run, log, None, None)
        if number < 0:
            events, steps = map(int, log.with_suffix(".count").read_text().split())
        went.update(aside(folder, judge, ws, run, wanted))
        log.unlink(missing_ok=True)
    return went, worst


def begun(ws: Workspace, epochs: int) -> str:
    """A run with checkpoints in a short interval, laid out."""
    return begin(ws, epochs, checkpoint_minutes=INTERVAL_S / 60).run


def look_after(ws: Workspace, run: str, log: Path) -> tuple[float, bool]:
    """What a kill has cost, and whether the newest checkpoint can be read."""
    from pipelines.train.plan.resume import resume

    plan = resume(ws, run)
    whole = readable(ws, plan)
    return lost(ws, plan, log) if whole else 0.0, whole


def judge(ws: Workspace, run: str, wanted: str) -> dict[str, int]:
    """How a run has ended."""
    from pipelines.train.plan.resume import resume

    return ending(ws, resume(ws, run), wanted)


def segments(ws: Workspace, wanted: str, epochs: int) -> tuple[int, bool]:
    """A training of twelve hours on a clock that steps drive, with a wall every four and a half; its segments, and whether it is the same."""
    from pipelines.runs.stop import REQUEUE, Requeue
    from pipelines.runs.wall import Wall
    from pipelines.train.driver.run import train
    from pipelines.train.plan.resume import resume

    plan, now, count = begin(ws, epochs), [0.0], 0
    steps = epochs * (plan.stages[0].count("train") // plan.recipe.optimizer.batch_size + 1)

    def hear(event: TrainEvent) -> None:
        now[0] += 12 * 3600 / steps * (event.kind in ("step", "epoch"))

    os.environ[REQUEUE] = "1"
    while True:
        count += 1
        try:
            train(ws, resume(ws, plan.run), hear, wall=Wall(now[0] + 5.5 * 3600, "wall time 5h30m", lambda: now[0]))
            break
        except Requeue:
            continue
    del os.environ[REQUEUE]
    return count, final_state(ws, plan) == wanted


def main() -> None:
    """Print the table; exit 1 unless every figure is as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="one of everything but the segments, to see that it runs")
    options = parser.parse_args()
    counts = (1, 1) if options.smoke else (options.stops, options.kills)
    frames, epochs = (12, 1) if options.smoke else (40, 3)
    import torch

    for module in IMPORTS:
        importlib.import_module(module)  # before the forks, which then need not
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        good = report(Path(folder), counts, frames, epochs, random.Random(options.seed), options.smoke)
    if not good:
        raise SystemExit(1)


def report(folder: Path, counts: tuple[int, int], frames: int, epochs: int, random_: random.Random, smoke: bool) -> bool:
    """Do and print everything; whether all is as asked."""
    from pipelines.workspace import load

    child(prepare, folder / "workspace", frames)
    ws = load(folder / "workspace")
    wanted, looks = aside(folder, undisturbed, ws, epochs)
    equal = aside(folder, stops, ws, wanted, looks, epochs, counts[0], random_)
    print(f"stopped at random, same bits           {equal} of {counts[0]}")
    one = True
    if not smoke:
        count, one = aside(folder, segments, ws, wanted, epochs)
        print(f"12 h in segments, same bits            {'yes' if one else 'NO'}, {count} segments")
    went, worst = kills(ws, wanted, epochs, counts[1], random_, folder)
    runs = counts[1] + 1
    print(f"killed with -9                         {went['kills']} times in {counts[1]} runs (the others were done before their kill came)")
    print(f"  latest readable                      {went['readable']} of {went['asked']}")
    print(f"  same bits / one version in the end   {went['same bits']} / {went['one version']} of {runs}")
    print(f"  half-written files left              {went['left behind']}")
    print(f"  most that a kill cost                {worst:.2f} s, checkpoints every {INTERVAL_S} s")
    kept = went["readable"] == went["asked"] and went["same bits"] == went["one version"] == runs and not went["left behind"]
    # A kill during a checkpoint costs what it took, too.
    return equal == counts[0] and one and kept and worst <= 2 * INTERVAL_S


def undisturbed(ws: Workspace, epochs: int) -> tuple[str, int]:
    """What a training that nobody disturbs ends with, and how often it looks whether to stop."""
    from pipelines.train.worker.loop import StageLoop

    plan, looks = begin(ws, epochs), itertools.count()
    StageLoop(plan, 0, folder_of(ws, plan), ignore, lambda: next(looks) < 0).run()
    return final_state(ws, plan), next(looks)


if __name__ == "__main__":
    main()
