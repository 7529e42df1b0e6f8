"""What is known of a run outside its checkpoints: how far it is, who trains it, and all that it has said."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from core.errors import VortexError
from core.files import write_atomic
from pipelines.runs.events import Journal, TrainEvent

STATE, EVENTS, NONFINITE = "state.json", "events.jsonl", "nonfinite.jsonl"
HEARTBEAT_S = 10.0
"""How often a training that says something shows that it lives. One that has been silent for minutes can still be packing or validating."""
PACE_S = 1.0
"""Of the steps at most one in this time is written down: half a million of them would be 150 MB."""

DIVERGED_M = 1000.0
"""Best validation RMSE beyond which a student has learnt nothing: a hundred times the farthest depth that is judged. The lineage's
relative teachers missed by 75 m, and that is a finding to keep."""

Status = Literal["planned", "training", "stopped", "truncated", "failed", "finished"]


@dataclass
class RunState:
    """A run as `vortex runs` and a resumed training read it.

    `epoch` of `epochs` of `stage` is done; `pid` on `host` trains or trained it, and was alive at `updated` (Unix time). `mlflow` holds
    the MLflow run of each stage, `finished` the stages that are done, `seconds` those spent training. `version` is what the run became,
    `continues` the truncated version that it goes on from, and `truncated_at` the epochs of its last stage that this one has. `pending`
    is what a truncated version says of itself until its registration is complete. `best` is the best validation RMSE in metres, None
    until an epoch has been judged by this process: the newest checkpoint has it then.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    folder: Path
    status: Status = "planned"
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    updated: float = 0.0
    pid: int = 0
    host: str = ""
    version: str | None = None
    continues: str | None = None
    truncated_at: int = 0
    best: float | None = None
    pending: str | None = None
    mlflow: dict[str, str] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> RunState:
        """The state of a run, which has one from its planning on. Raises VortexError when it is lost or damaged."""
        path = folder / STATE
        try:
            raw = json.loads(path.read_bytes())
            return _STATE.validate_python({**raw, "folder": folder, "status": raw["status"]})
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise VortexError(
                f"{path}: not readable as a run's state", f"what was trained is not lost: vortex train --resume {folder.name}"
            ) from error

    def write(self) -> None:
        """Keep it, atomically."""
        self.updated = time.time()
        fields = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_atomic(self.folder / STATE, json.dumps(fields, indent=1))

    def begin(self) -> None:
        """This process trains from now on."""
        self.status, self.pid, self.host = "training", os.getpid(), socket.gethostname()
        self.write()

    def end(self, status: Status) -> None:
        """Nobody trains any more. On a full disk this cannot be said, and why the training ended is what is to be heard."""
        self.status = status
        with suppress(VortexError):
            self.write()


_STATE = TypeAdapter(RunState)


class Recorder:
    """Writes down what a training says, for those who follow it from elsewhere."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._journal = Journal(state.folder / EVENTS)
        self._paced = 0.0

    def hear(self, event: TrainEvent) -> None:
        """Take an event in. A full disk does not end a training here: its next checkpoint decides."""
        state = self._state
        before = (state.stage, state.epoch)
        if event.kind in ("started", "epoch"):
            state.stage, state.epoch, state.epochs = event.stage, event.epoch, event.epochs
            state.best = event.values.get("best/rmse")
        with suppress(OSError, VortexError):
            if (state.stage, state.epoch) != before or time.time() > state.updated + HEARTBEAT_S:
                state.write()
            if event.kind in ("step", "reading"):
                if time.monotonic() < self._paced:
                    return
                self._paced = time.monotonic() + PACE_S
            self._journal.write(event)


def learnt(best: float | None) -> bool:
    """Whether a best validation RMSE is one of a student that learnt something."""
    return best is not None and best <= DIVERGED_M
