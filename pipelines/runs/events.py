"""What a running training says: small, plain, and the same whether the loop runs here or in a Ray worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from core.errors import VortexError

EventKind = Literal["reading", "started", "step", "epoch", "note", "stopped", "failed"]


@dataclass(frozen=True)
class TrainEvent:
    """One thing that happened.

    `reading`: frames are being packed (`step` of `steps`); `message` says it when a pack is done. `started`: the loop begins at `epoch`.
    `step`: a training step is done. `epoch`: an epoch is trained and validated; `values` are its metrics. `note`: something a person should
    know. `stopped`: the loop was asked to stop and has. `failed`: it could not go on; `message`, `hint` and `details` say why, `diverged`
    that it was the training itself. `at` is the Unix time at which it was written down, 0 before.
    """

    kind: EventKind
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    frames_per_second: float = 0.0
    values: dict[str, float] = field(default_factory=dict)
    message: str = ""
    hint: str = ""
    details: tuple[str, ...] = ()
    diverged: bool = False
    at: float = 0.0


Emit = Callable[[TrainEvent], None]


class Diverged(VortexError):
    """The training ran and led nowhere: what was trained is at fault, not the machine. For an ablation or a replay that is a finding."""


def failure(error: VortexError) -> TrainEvent:
    """A worker's error as it travels to the driver."""
    return TrainEvent("failed", message=error.message, hint=error.hint, details=error.details, diverged=isinstance(error, Diverged))


def raised(event: TrainEvent) -> VortexError:
    """The error that a `failed` event tells of."""
    return (Diverged if event.diverged else VortexError)(event.message, event.hint, event.details)


class Journal:
    """A file of events: one process appends, others follow. Needs nothing but a folder that all can see."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._appended = False

    def write(self, event: TrainEvent) -> None:
        """Append an event. Only whole lines are ever read."""
        line = json.dumps(asdict(event if event.at else replace(event, at=time.time())))
        with open(self.path, "ab") as stream:
            if not self._appended and _torn(self.path):
                stream.write(b"\n")
            stream.write(line.encode() + b"\n")
        self._appended = True

    def read(self) -> Iterator[TrainEvent]:
        """Events since the last call. What a killed process left half written is passed over."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as stream:
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                try:
                    raw = json.loads(line)
                    yield TrainEvent(**{**raw, "details": tuple(raw["details"])})
                except (ValueError, TypeError, KeyError):
                    continue


def _torn(path: Path) -> bool:
    """Whether the last line of a file is not whole."""
    with open(path, "rb") as stream:
        if stream.seek(0, 2) == 0:
            return False
        stream.seek(-1, 2)
        return stream.read(1) != b"\n"
