"""How Ray's controller looks after the workers of a stage: what it does when one is lost or fails, and that it ends at once. Imports ray."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from core.errors import VortexError
from pipelines.runs.events import Journal, TrainEvent, failure, raised

LOSSES = 3
"""Restarts from one and the same checkpoint before the run ends: one loss is an accident, the fourth has a cause."""

TRANSPORTS = ("gloo", "nccl")
"""What the errors of those name who wait for gradients of a worker that is gone: often heard before its machine is given up."""


class Trainer(TorchTrainer):  # type: ignore[misc]
    """Ray's, without the helper that gives a dead controller's reservation back: a stage has a connection of its own, and Ray does so when that ends.

    Where no dashboard runs, as on a cluster of this machine, the helper has nobody to ask, and ending it takes 12 s (Ray 2.60, measured).
    """

    def _create_default_callbacks(self) -> list[Any]:
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, PlacementGroupCleanerCallback)]


class Recovery(UserCallback):  # type: ignore[misc]
    """Follows the losses of one stage. Ray starts the workers again each time; they go on from the newest checkpoint."""

    def __init__(self, journal: Path, folder: Path, run: str) -> None:
        self._journal, self._folder, self._run = journal, folder, run
        self._losses = 0
        self._checkpoint: str | None = None

    def after_exception(self, run_context: object, worker_exceptions: dict[int, Exception]) -> None:
        """Called by Ray, in its controller, with what each rank that failed has raised. What this raises ends the training."""
        journal = Journal(self._journal)
        for event in journal.read():
            if event.kind == "failed":
                raise raised(event)
        newest = _latest(self._folder)
        self._losses = self._losses + 1 if newest == self._checkpoint else 1
        self._checkpoint = newest
        loss = describe(worker_exceptions)
        if self._losses > LOSSES:
            message = f"{self._run}: {loss}, again after {LOSSES} restarts from the same checkpoint"
            error = VortexError(message, f"look at the machine it ran on (its memory, its GPU), then: vortex train --resume {self._run}")
            journal.write(failure(error))
            raise error
        journal.write(TrainEvent("note", message=f"{loss}: training goes on from the newest checkpoint"))


def describe(failures: dict[int, Exception]) -> str:
    """Which workers were lost and why, in a few words.

    When one dies the others fail for want of it: they are named only when nobody died.
    """
    # A worker that does not answer is reported wrapped.
    causes = {rank: getattr(error, "health_check_failure", error) for rank, error in failures.items()}
    dead = {rank: error for rank, error in causes.items() if isinstance(error, RayActorError)}
    named = dead or causes
    ranks = sorted(named)
    who = f"worker {ranks[0]}" if len(ranks) == 1 else f"workers {', '.join(map(str, ranks))}"
    if dead:
        return f"{who} died with {'its' if len(ranks) == 1 else 'their'} process or machine"
    error = named[ranks[0]]
    if any(word in str(error).lower() for word in TRANSPORTS):
        return f"{who} lost the connection to another one"
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{who} failed ({lines[-1].strip()[:200] if lines else type(error).__name__})"


def _latest(folder: Path) -> str | None:
    """The name of the newest checkpoint: a new one has another."""
    try:
        return os.readlink(folder / "latest")
    except OSError:
        return None
