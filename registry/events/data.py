"""What happened to a dataset or to one content of it: quarantined, released."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from registry import stored
from registry.events.event import Event, Scope, Sentence
from registry.ledger import Entry
from registry.records import Quarantine
from registry.state import State


@dataclass(frozen=True)
class DataEvent(Event):
    """Something about a dataset: `NAME` for every content of that name, `NAME@CONTENT` for the one with that digest."""

    scope: ClassVar[Scope] = "data"
    data: str

    @property
    def subject(self) -> str:
        """The dataset."""
        return self.data


@dataclass(frozen=True)
class DataQuarantined(DataEvent, kind="data.quarantined"):
    """A dataset came into quarantine: nothing that was trained on it, or has weights of what was, is promoted.

    `contents` are the digests that were known under its name; a dataset is known by them under any other name.
    """

    contents: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """The digests."""
        return {"contents": self.contents}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject, stored.texts((entry.body or {})["contents"]))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It stands in quarantine."""
        state.quarantines["data", entry.subject] = Quarantine("data", entry.subject, entry.reason, entry.actor, entry.at)

    def fold_body(self, state: State) -> None:
        """By which contents it is known."""
        state.quarantines["data", self.data] = dataclasses.replace(state.quarantines["data", self.data], contents=self.contents)

    def sentence(self) -> Sentence:
        """That it is in quarantine."""
        return "dataset ", (_data_name(self.data), "name"), " ", ("quarantined", "quarantined")


@dataclass(frozen=True)
class DataReleased(DataEvent, kind="data.released"):
    """The quarantine of a dataset was lifted."""

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject)

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It stands in quarantine no more."""
        state.quarantines.pop(("data", entry.subject), None)

    def sentence(self) -> Sentence:
        """That its quarantine ended."""
        return "dataset ", (_data_name(self.data), "name"), " released from quarantine"


def _data_name(subject: str) -> str:
    name, at, content = subject.partition("@")
    return f"{name}{at}{content[:12]}"
