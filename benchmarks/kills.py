"""Kill -9 what takes part in a training by Ray workers, at random, and see whether it ends as the one that nobody disturbed.

    make bench-kills            (benchmarks/kills.py [--points 21] [--workers 2] [--seed 0] [--smoke])

In turns one worker is killed (the run must go on by itself), the driver alone (what it started must end by itself, then the run is
resumed), and every process of the run at once, as a power cut does (then resumed); each run is killed in each of the three ways. With
`--workers 0` the command trains by itself, and only the last way is left; so does the smoke, as killed workers and drivers have tests of
their own (tests/e2e). A kill comes up to half a second after a random step, so within steps, validations and checkpoints. Asked, after each kill: `latest` is whole,
and what was trained since then took no longer than the interval between checkpoints and the one step that a checkpoint waits for. Asked
in the end: each run became one version, with the bits of the run that nobody disturbed, and no process and nothing half written is left.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.trainings.processes import alive, command_of, end, until
from benchmarks.trainings.small import begin, checkpoints, ending, final_state, folder_of, prepare, readable

if TYPE_CHECKING:
    from pipelines.runs.events import Journal, TrainEvent
    from pipelines.train.plan.train_plan import TrainPlan
    from pipelines.workspace import Workspace

INTERVAL_S: Final = 1.0
"""Between checkpoints; ten minutes by default."""
SPREAD_S: Final = 0.5
WORKER, DRIVER, ALL = KINDS = ("one worker", "the driver", "everything")
PLACES: Final = ("step", "validation", "checkpoint")
WAITING: Final = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
"""Ray's two agents, which do nothing, wait a minute for a head that was lost before they end by themselves (62 s, measured)."""
AGENTS_S: Final = 90.0
PATIENCE_S: Final = 600.0


@dataclass(frozen=True)
class Kill:
    """How a run took a kill: what it did then, whether `latest` was whole, seconds of training that it cost, and until training went on."""

    what: str
    within: str
    whole: bool
    lost_s: float
    back_s: float


class Training:
    """A training: the command that drives it, its processes, which bear a mark, and all that its workers, or it, have said."""

    def __init__(self, ws: Workspace, epochs: int, workers: int, mark: str) -> None:
        self.ws, self.mark = ws, mark
        self.plan: TrainPlan = begin(ws, epochs, workers=workers, checkpoint_minutes=INTERVAL_S / 60)
        self.folder = folder_of(ws, self.plan)
        self.journals: dict[Path, Journal] = {}
        self.heard: list[TrainEvent] = []
        self.start()

    def start(self) -> None:
        """Have it trained by a command, as a person does."""
        self.since = time.time()
        with open(self.ws.root / "said", "ab") as said:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "vortex_cli.main", "train", "--resume", self.plan.run],
                cwd=self.ws.root, env=os.environ | {"VORTEX_MARK": self.mark}, start_new_session=True, stdout=said, stderr=said,
            )  # fmt: skip

    def wait(self, true: Callable[[], object], what: str) -> bool:
        """Wait for something; False when the training was done before."""
        until(lambda: true() or self.driver.poll() is not None, PATIENCE_S)
        if true():
            return True
        if self.driver.poll() != 0:
            raise SystemExit(f"{self.plan.run}: {what} did not come\n{(self.ws.root / 'said').read_text()[-2000:]}")
        return False

    def news(self) -> list[TrainEvent]:
        """What was said since the training was started the last time."""
        from pipelines.runs.events import Journal
        from pipelines.runs.state import EVENTS

        for path in self.folder.glob("events-*.jsonl") if self.plan.workers else [self.plan.folder(self.ws) / EVENTS]:
            self.heard += self.journals.setdefault(path, Journal(path)).read()
        return [event for event in self.heard if event.at > self.since]

    def step(self) -> int:
        """How many steps of the whole training have been done."""
        return max((event.epoch * event.steps + event.step for event in self.news() if event.kind == "step"), default=0)

    def kill(self, what: str, random_: random.Random) -> Kill | None:
        """Kill, look at what is left, and have the training go on; None when it was done before."""
        before = marked(self.mark)
        trainers = [pid for pid in before if b"RayTrainWorker" in command_of(pid)] if self.plan.workers else [self.driver.pid]
        if self.driver.poll() is not None or not trainers:
            return None
        killed = time.time()
        for pid in {WORKER: [random_.choice(trainers)], DRIVER: [self.driver.pid], ALL: random_.sample(before, len(before))}[what]:
            end(pid)
        # Workers that outlive another, or their driver, may be within a checkpoint; their places are taken seconds later.
        gone = trainers if what == WORKER else [pid for pid in before if what == ALL or not command_of(pid).startswith(WAITING)]
        if not until(lambda: not any(map(alive, gone))):
            raise SystemExit(f"{self.plan.run}: still there after {what} was killed: {[command_of(pid) for pid in gone if alive(pid)]}")
        self.news()
        whole, lost, within = readable(self.ws, self.plan), self.lost(killed), self.within(killed)
        self.since = killed
        if what != WORKER:
            self.driver.wait()
            self.start()
        if not self.wait(self.started, "a new start"):
            return None
        self.since = self.started()
        return Kill(what, within, whole, lost, self.since - killed)

    def started(self) -> float:
        """When the workers began, this time; 0 before."""
        return next((event.at for event in self.news() if event.kind == "started"), 0.0)

    def lost(self, killed: float) -> float:
        """Seconds of training that were not in the newest checkpoint any more."""
        progress = checkpoints(self.ws, self.plan).progress()
        kept = (progress.epoch, progress.step) if progress else (0, 0)
        done = [event for event in self.heard if event.at <= killed and event.kind in ("started", "step", "epoch")]
        return killed - max((event.at for event in done if (event.epoch, event.step) <= kept), default=killed)

    def within(self, killed: float) -> str:
        """What was going on."""
        if any(self.folder.glob(".epoch-*.staging")):
            return "checkpoint"
        said = [event for event in self.heard if event.at <= killed][-1]
        return "validation" if said.kind == "step" and said.step == said.steps else "step"

    def longest_step(self) -> float:
        """Seconds from one step to the next, with what lies between them: a checkpoint is due within one, and written in its end."""
        told = [event for event in self.heard if event.kind in ("started", "step")]
        return max(after.at - before.at for before, after in pairwise(told) if after.kind == "step")


def marked(mark: str) -> list[int]:
    """The processes that were started with a mark in their environment, by whomever."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it ended meanwhile, or is another person's
            continue
    return found


def undisturbed(ws: Workspace, epochs: int, workers: int, mark: str) -> tuple[int, str]:
    """How many steps a training has, and the bits that it ends with."""
    calm = Training(ws, epochs, workers, mark)
    calm.wait(lambda: False, "its end")
    return calm.step(), final_state(ws, calm.plan)


def torment(begin_one: Callable[[], Training], points: int, steps: int, random_: random.Random) -> tuple[list[Kill], list[Training]]:
    """Kill trainings of so many steps, each in as many ways as are left, until there are enough points."""
    kills: list[Kill] = []
    runs: list[Training] = []
    while len(kills) < points:
        runs.append(run := begin_one())
        kinds = random_.sample(KINDS, 3) if run.plan.workers else [ALL]
        # Not in the last part: a training that is done cannot be killed any more.
        for what, after in zip(kinds, sorted(random_.sample(range(1, steps * 4 // 5), len(kinds))), strict=True):
            if len(kills) < points and run.wait(lambda run=run, after=after: run.step() >= after, "a step"):  # type: ignore[misc]
                time.sleep(random_.random() * SPREAD_S)
                kills += filter(None, [run.kill(what, random_)])
        run.wait(lambda: False, "its end")
    return kills, runs


def report(kills: list[Kill], runs: list[Training], wanted: str | None) -> bool:
    """Print how the kills went and how the runs ended; whether all is as asked."""
    print(f"{'kill -9 of':<15}{'times':>6}{'latest whole':>14}{'most lost':>11}{'goes on after':>15}    within {', '.join(PLACES)}")
    for what in KINDS:
        of = [kill for kill in kills if kill.what == what]
        if of:
            whole, lost, back = sum(kill.whole for kill in of), max(kill.lost_s for kill in of), max(kill.back_s for kill in of)
            within = ", ".join(str(sum(kill.within == place for kill in of)) for place in PLACES)
            print(f"{what:<15}{len(of):>6}{whole:>14}{lost:>9.2f} s{back:>13.1f} s    {within}")
    most, longest = max(kill.lost_s for kill in kills), max(run.longest_step() for run in runs)
    print(
        f"lost at most   {most:.2f} s, asked {INTERVAL_S + longest:.2f} s: a checkpoint every {INTERVAL_S:g} s, longest step {longest:.2f} s"
    )
    ends = [ending(run.ws, run.plan, wanted) for run in runs]
    same, one, left = (sum(found[name] for found in ends) for name in ("same bits", "one version", "left behind"))
    print(f"same bits      {f'{same} of {len(runs)} runs' if wanted else 'not compared'}; one version: {one}; half written: {left}")
    return all(kill.whole for kill in kills) and most <= INTERVAL_S + longest and same == one == len(runs) and not left


def orphans(mark: str) -> int:
    """Wait for what ends by itself; how many processes do not."""
    started = time.monotonic()
    until(lambda: not marked(mark), AGENTS_S)
    left = len(marked(mark))
    print(f"processes left {left}, {time.monotonic() - started:.0f} s after the last run")
    return left


def main() -> None:
    """Print the table; exit 1 unless everything is as asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=21)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="one kill of a training without workers, and no run to compare with")
    options = parser.parse_args()
    points, epochs, workers = (1, 10, 0) if options.smoke else (options.points, 40, options.workers)
    from pipelines.workspace import load

    mark = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder  # killed, Ray leaves its session there
        root = Path(folder) / "workspace"
        prepare(root, 12 if options.smoke else 40)
        ws = load(root)
        try:
            steps, wanted = (2 * epochs, None) if options.smoke else undisturbed(ws, epochs, workers, mark)
            kills, runs = torment(partial(Training, ws, epochs, workers, mark), points, steps, random.Random(options.seed))
            good = report(kills, runs, wanted) and not orphans(mark)
        finally:
            for pid in marked(mark):
                end(pid)
    if not good:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
