"""What runs inside a job: one segment of a training, from its last checkpoint to its end or to the wall."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from core.errors import VortexError
from pipelines.slurm import cluster
from pipelines.train.stopping import REQUEUE, Requeue


@dataclass(frozen=True)
class Segment:
    """Resume a run, and put the job back into the queue when the wall came first. submitit keeps it beside the batch script."""

    workspace: Path
    folder: Path
    requeue: bool

    def __call__(self) -> None:
        """Run inside the job; its exit status is the training's own."""
        job = os.environ["SLURM_JOB_ID"]
        before = progress(self.folder)
        code = self._train(cluster.times(job))
        if self.requeue and code in (Requeue.exit_code, -signal.SIGUSR2):  # the second: it came before the training listened
            if progress(self.folder) == before:
                raise VortexError(
                    f"job {job} reached its wall without one step more than before: it is not requeued, it would never end",
                    f"give it more time: vortex submit --resume {self.folder.name} --time …",
                )
            cluster.requeue(job)
        if code:
            raise SystemExit(code if code > 0 else 128 - code)

    def _train(self, times: dict[str, str]) -> int:
        """Train in a process of its own, that is told the job's `times`, and return how it ended.

        SLURM's warning comes to this process alone and is passed on. SIGTERM and SIGCONT, which it sends before it kills, come to every
        process of a job: passed on as well, the training would take the second one for impatience.
        """
        waiting: list[int] = []
        child: subprocess.Popen[bytes] | None = None

        def pass_on(number: int, frame: FrameType | None) -> None:
            if child is None:
                waiting.append(number)
            else:
                child.send_signal(number)

        def leave(number: int, frame: FrameType | None) -> None:
            """Not SIG_IGN, which the training would inherit."""

        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, pass_on)
        for number in (signal.SIGTERM, signal.SIGCONT, signal.SIGINT):
            signal.signal(number, leave)
        # Its events are in the run's folder; with --json none of them is printed a second time.
        command = [sys.executable, "-m", "vortex_cli.main", "train", "--resume", self.folder.name, "--workspace", str(self.workspace)]
        environment = os.environ | times | {REQUEUE: "1" if self.requeue else "0"}
        child = subprocess.Popen([*command, "--json"], stdout=subprocess.DEVNULL, env=environment)
        for early in waiting:
            child.send_signal(early)
        return child.wait()


def progress(folder: Path) -> list[str]:
    """Where the newest checkpoint of every stage points: what changes with each one."""
    return [os.readlink(path) for path in sorted(folder.glob("*/latest"))]
