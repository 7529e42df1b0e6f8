"""From the ledger's entries to events and to the state that they fold into."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from core.errors import VortexError
from registry.events.event import KINDS, Event, Scope
from registry.ledger import Contradiction, Entry, NotUnderstood, Reader
from registry.state import State

MALFORMED: Final = (VortexError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading an entry raises that was not written by its class, or that is about what no earlier entry made; VortexError for a subject that
is no channel."""

NEWER: Final = "it was written by a newer vortex: update this one"


def fold(entries: Iterable[Entry]) -> State:
    """The state after these entries in their order. Entries that were read without their bodies fold their heads alone.

    Raises NotUnderstood for a kind or a shape that this vortex does not know or one that lacks something, Contradiction for an event that cannot
    follow the others.
    """
    state = State()
    for entry in entries:
        event_type = KINDS.get(entry.kind)
        # Asked here, because one call for each of thousands of entries is a 20th of the time.
        if event_type is None or "shape" in entry.head:
            event_type = type_of(entry)
        try:
            event_type.fold_head(entry, state)
            if entry.body is not None:
                event_type.parse(entry).fold_body(state)
        except Contradiction:
            raise
        except MALFORMED as error:
            raise _malformed(entry, error) from error
    return state


def type_of(entry: Entry) -> type[Event]:
    """The class of an entry's event. Raises NotUnderstood, naming the kind, when there is none or the entry has a later shape."""
    event_type = KINDS.get(entry.kind)
    if event_type is None:
        raise NotUnderstood(f"ledger event {entry.seq} is a {entry.kind!r}, a kind that this vortex does not know", NEWER)
    shape = entry.head.get("shape", 1)
    if type(shape) is not int or shape > event_type.shape:
        what = f"a {entry.kind!r} of shape {shape!r:.20}, and this vortex knows shapes up to {event_type.shape}"
        raise NotUnderstood(f"ledger event {entry.seq} is {what}", NEWER)
    return event_type


def require_known(source: Reader) -> None:
    """Raise NotUnderstood for an entry of a kind that this vortex does not know, whatever it is about: it may change anything."""
    for entry in source.entries(without=tuple(KINDS), bodies=False, first=1):
        type_of(entry)


def parse(entry: Entry) -> Event:
    """The event that was stored as this entry. Raises as `type_of`, and where a field is missing or of another type."""
    event_type = type_of(entry)
    try:
        return event_type.parse(entry)
    except MALFORMED as error:
        raise _malformed(entry, error) from error


def _malformed(entry: Entry, error: Exception) -> NotUnderstood:
    why = f"{type(error).__name__}: {error}"[:200]
    return NotUnderstood(f"ledger event {entry.seq} is a {entry.kind!r} that lacks what this vortex expects ({why})", NEWER)


def kinds(*, scope: Scope | None = None, folds: bool | None = None) -> tuple[str, ...]:
    """The kinds of this scope, and those that fold or do not, where that is asked for."""
    return tuple(kind for kind, event in KINDS.items() if scope in (None, event.scope) and folds in (None, event.folds))


def kinds_besides(scope: Scope) -> tuple[str, ...]:
    """The kinds of all other scopes. Who reads one scope leaves these out, and so still meets a kind that only a newer vortex knows."""
    return tuple(kind for kind, event in KINDS.items() if event.scope != scope)
