"""What runs inside a job: one segment of a training, from its last checkpoint to its end or to the wall."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from core.errors import VortexError
from pipelines.runs.events import Journal, TrainEvent
from pipelines.runs.slurm import queue, stamps
from pipelines.runs.state import EVENTS
from pipelines.runs.stop import REQUEUE, Requeue

ASKING_S, PAUSE_S = 150.0, 5.0
"""How long a requeue is asked for, of the three minutes before the wall at which SLURM's signal comes, and the pause between two times."""
PR_SET_PDEATHSIG: Final = 1
"""Of prctl(2)."""
LAST_WORDS_S: Final = 5.0
"""How long the job waits for what an ended training printed: a worker that outlives it may keep the stream open."""


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
        code = self._train(self._times(job))
        if self.requeue and code in (Requeue.exit_code, -signal.SIGUSR2):  # the second: it came before the training listened
            if progress(self.folder) != before:
                self._requeue(job)
            else:
                message = f"job {job} reached its wall without one step more than before: it is not requeued, it would never end"
                self._say(message, f"give it more time: vortex submit --resume {self.folder.name} --time …")
        elif code < 0:
            cause = ", as the kernel does when memory runs out" if code == -signal.SIGKILL else ""
            message = f"the training of job {job} was ended by {signal.Signals(-code).name}{cause}"
            self._say(message, f"what it saved is whole: vortex submit --resume {self.folder.name}")
        if code:
            raise SystemExit(code if code > 0 else 128 - code)

    def _times(self, job: str) -> dict[str, str]:
        """When the job began and ends; nothing where SLURM does not say: then its signal comes before the wall all the same."""
        try:
            return queue.times(job)
        except VortexError as error:
            sys.stderr.write(stamps.stamped(f"the wall is not known, SLURM's signal will tell of it: {error.message}\n"))
            return {}

    def _requeue(self, job: str) -> None:
        """Ask for it again and again: the controller may be restarting just now."""
        until = time.monotonic() + ASKING_S
        while True:
            try:
                return queue.requeue(job)
            except VortexError as error:
                if time.monotonic() > until:
                    again = f"what was trained is whole: vortex submit --resume {self.folder.name}"
                    return self._say(f"job {job} could not be put back into the queue: {error.message}", again)
            time.sleep(PAUSE_S)

    def _say(self, message: str, hint: str) -> None:
        """Into the run's events: the training, which has ended, could not."""
        with suppress(OSError):
            Journal(self.folder / EVENTS).write(TrainEvent("failed", message=message, hint=hint))

    def _train(self, times: dict[str, str]) -> int:
        """Train in a process of its own, that is told the job's `times`, and return how it ended.

        SLURM's warning comes to this process alone and is passed on. SIGTERM and SIGCONT, which it sends before it kills, come to every
        process of a job: passed on as well, the training would take the second one for impatience.
        """
        waiting: list[int] = []
        child: subprocess.Popen[str] | None = None

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
        command = [sys.executable, "-P", "-m", "vortex_cli.main", "train", "--resume", self.folder.name, "--workspace", str(self.workspace)]
        environment = os.environ | times | {REQUEUE: "1" if self.requeue else "0"}
        streams: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        child = subprocess.Popen(
            [*command, "--json"], **streams, text=True, errors="replace", env=environment, preexec_fn=_end_with_parent()
        )
        for early in waiting:
            child.send_signal(early)
        passing = threading.Thread(target=_pass_on_prints, args=(child.stderr,), daemon=True)
        passing.start()
        code = child.wait()
        passing.join(LAST_WORDS_S)
        return code


def _end_with_parent() -> Callable[[], None]:
    """What has a new process stopped by the kernel when this one is killed: a training without its job would hold the run, unseen."""
    control = ctypes.CDLL(None).prctl  # looked up here: between fork and exec there is no time for it
    return lambda: control(PR_SET_PDEATHSIG, signal.SIGTERM)


def _pass_on_prints(stream: Iterable[str]) -> None:
    for line in stream:
        sys.stderr.write(stamps.stamped(line))
        sys.stderr.flush()


def progress(folder: Path) -> list[str]:
    """Where the newest checkpoint of every stage points: what changes with each one."""
    return [os.readlink(path) for path in sorted(folder.glob("*/latest")) if path.is_symlink()]
