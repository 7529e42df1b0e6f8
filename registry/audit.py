"""Is the ledger what was written? Everything is read once and compared: the chain, what follows from it, and what is kept beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.errors import VortexError
from registry import database, events
from registry.ledger import ChainHead, Claim, Contradiction, Entry, Ledger, NotUnderstood

REPAIR = "put it right with: vortex audit verify --repair"


@dataclass(frozen=True)
class Fault:
    """Something that is not what the ledger's events say, and what to do. `repairable` is what follows from the events alone."""

    area: Literal["chain", "events", "claims", "triggers", "mlflow", "aliases", "artifacts"]
    found: str
    remedy: str
    repairable: bool = False


def ledger_faults(ledger: Ledger, heads: dict[str, ChainHead] | None = None) -> tuple[ChainHead, list[Fault]]:
    """The end of the chain, and what is wrong with the ledger; `heads` are noted ones, by the place where each was noted.

    Where the chain is broken that alone is said, because nothing that follows from it can be trusted.
    """
    plain = Ledger(ledger.url, ledger.timeout, ledger.head_file, guarded=False)
    try:
        head = plain.verify(heads)
    except VortexError as error:
        return ChainHead(), [Fault("chain", error.message, error.hint)]
    state = database.look(ledger.url, ledger.timeout)
    faults = [] if not state.missing else [Fault("triggers", database.unguarded(ledger.url, state).message, REPAIR, repairable=True)]
    return head, [*faults, *_event_faults(plain.entries(bodies=False)), *_claim_faults(plain)]


def taken(ledger: Ledger) -> tuple[dict[Claim, int], list[Fault]]:
    """What the ledger's events claim → the event that was first, and those that claim what was taken."""
    claims: dict[Claim, int] = {}
    faults = []
    claiming = [kind for kind, event in events.KINDS.items() if event.claims is not events.Event.claims]
    for entry in ledger.entries(kinds=claiming):
        for claim in events.parse(entry).claims():
            if claim in claims:
                found = f"the chain is intact, but event {entry.seq} ({entry.subject}) takes {_words(claim)}, which event {claims[claim]} has taken"
                faults.append(Fault("events", found, "find out who wrote it, and restore the ledger from a backup"))
            else:
                claims[claim] = entry.seq
    return claims, faults


def repair(ledger: Ledger) -> None:
    """Put back what follows from the events: claims and triggers. Raises VortexError where the chain itself is broken."""
    plain = Ledger(ledger.url, ledger.timeout, ledger.head_file, guarded=False)
    claims, _ = taken(plain)
    plain.rebuild(claims)


def _event_faults(entries: list[Entry]) -> list[Fault]:
    """Events that cannot follow those before them, or that this vortex does not understand."""
    restore = "find out who wrote it, and restore the ledger from a backup"
    try:
        state = events.fold(entries)
        missing = [
            Fault("events", f"channel {channel} has {version} in {stage}, which no event registers", restore)
            for channel, moved in state.channels.items()
            for stage, version in moved.current.items()
            if version not in state.versions
        ]
    except (Contradiction, NotUnderstood) as error:
        return [Fault("events", error.message, restore if isinstance(error, Contradiction) else error.hint)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [Fault("events", f"an event lacks what this vortex expects ({error!r})", events.NEWER)]
    return missing


def _claim_faults(ledger: Ledger) -> list[Fault]:
    """Claims and events, compared both ways."""
    try:
        claims, faults = taken(ledger)
    except (VortexError, LookupError, TypeError, ValueError, AttributeError):
        return []  # what cannot be read is among the event faults
    stored = ledger.claims()
    for claim in sorted(claims.keys() | stored.keys()):
        event, kept = claims.get(claim), stored.get(claim)
        if kept is None:
            found = f"{_words(claim)} is free, but event {event} has taken it"
        elif event is None:
            found = f"{_words(claim)} is taken by event {kept}, which does not take it"
        elif event != kept:
            found = f"{_words(claim)} is taken by event {kept}, but event {event} has taken it"
        else:
            continue
        faults.append(Fault("claims", f"the chain is intact, but {found}", REPAIR, repairable=True))
    return faults


def _words(claim: Claim) -> str:
    scope, number = claim
    if scope == "version":
        return f"the name v{number}"
    kind, _, subject = scope.partition(" ")
    return f"run {subject}" if kind == "run" else f"move {number} of channel {subject}"
