"""What every kind of event has: one class per kind, and nowhere else does a kind or a key of its head or body stand.

A class says which fields its event has, how they are written (`head` for what listings fold, `body` for the rest) and read back (`parse`),
which numbers it claims, what it folds into, and its sentence in the history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, Literal, Self

from registry.ledger import Claim, Entry
from registry.records import Artifact
from registry.state import State

Role = Literal["name", "stage", "refused", "rolled back", "quarantined"]
"""What a part of a sentence is, so that a terminal and a page can each show it in their way."""

Sentence = tuple[str | tuple[str, Role], ...]

AUDIT: Final = (
    "it did not come from a promotion, a rollback, a registration, an import or an adoption: `vortex audit verify` says all that is wrong"
)

Scope = Literal["version", "channel", "data", "device"]
"""What an event is about, which is what its subject names."""

KINDS: Final[dict[str, type[Event]]] = {}
"""Kind, as the ledger stores it → its class; each class enters itself."""


class Event(ABC):
    """One thing that happened. A subclass with a `kind` is one that the ledger stores: `class X(Event, kind="version.x")`."""

    kind: ClassVar[str]
    scope: ClassVar[Scope]
    shape: ClassVar[int] = 1
    """The version of head and body. It is stored from 2 on, and an event of a later shape than this is refused instead of misread."""
    folds: ClassVar[bool] = True
    """Whether it changes what is; one that does not is told in the history only, and reads leave it out."""

    def __init_subclass__(cls, kind: str = "") -> None:
        super().__init_subclass__()
        if kind:
            cls.kind = kind
            KINDS[kind] = cls

    @property
    @abstractmethod
    def subject(self) -> str:
        """What it is about: the name of a version or an enrolled device, a channel as `device/domain`, or a dataset as `NAME` or `NAME@CONTENT`."""

    def head(self) -> dict[str, Any]:
        """The small part that listings read, as JSON knows it; nothing but the subject, unless a kind says more."""
        return {}

    def body(self) -> dict[str, Any]:
        """The rest."""
        return {}

    def claims(self) -> tuple[Claim, ...]:
        """What it takes that no other event can take again."""
        return ()

    def artifacts(self) -> tuple[Artifact, ...]:
        """The stored files that it names."""
        return ()

    @classmethod
    @abstractmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""

    @staticmethod  # noqa: B027 (a kind may have nothing to fold)
    def fold_head(entry: Entry, state: State) -> None:
        """Put into `state` what the head says. Of the entry itself, because making thousands of events for a listing takes too long."""

    def fold_body(self, state: State) -> None:  # noqa: B027
        """Put into `state` what the body adds, after the head was folded."""

    @abstractmethod
    def sentence(self) -> Sentence:
        """What happened, as a sentence's core."""

    def concerns(self, version: str | None, device: str | None, domain: str | None) -> bool:
        """Whether it belongs to all of these that are given. What is of no version and no channel does where none is."""
        return version is None and device is None and domain is None
