"""What a running training says: small, plain, and the same whether the loop runs here or in a Ray worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

EventKind = Literal["reading", "started", "step", "epoch", "note", "stopped", "failed"]


@dataclass(frozen=True)
class TrainEvent:
    """One thing that happened.

    `reading`: frames are being packed (`step` of `steps`); `message` says it when a pack is done. `started`: the loop begins at `epoch`. `step`: a training step is done.
    `epoch`: an epoch is trained, validated and safe on disk; `values` are its metrics. `note`: something a person should know.
    `stopped`: the loop was asked to stop and has. `failed`: it could not go on; `message`, `hint` and `details` say why.
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


Emit = Callable[[TrainEvent], None]


class Journal:
    """A file of events: one worker appends, the driver follows. Needs nothing but a folder that both can see."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, event: TrainEvent) -> None:
        """Append an event. Only whole lines are ever read."""
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(event)) + "\n")

    def read(self) -> Iterator[TrainEvent]:
        """Events since the last call."""
        if not self.path.exists():
            return
        with open(self.path, "rb") as stream:
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                raw = json.loads(line)
                yield TrainEvent(**{**raw, "details": tuple(raw["details"])})

    _offset = 0
