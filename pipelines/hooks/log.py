"""What waits for the hooks and why, and what they were sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.errors import VortexError
from pipelines.hooks.delivery import HookReport, deliver, is_due, unknown
from pipelines.hooks.receivers import Receiver, place
from pipelines.hooks.subscriptions import subscriptions
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.outbox import Delivery, Outbox


@dataclass(frozen=True)
class HookState:
    """A hook, here or elsewhere: where it leads, what waits for it, what it has refused, and why it waits."""

    hook: str
    place: str
    waiting: int
    refused: int
    why: str
    failing: bool


@dataclass(frozen=True)
class HookLog:
    """Every hook, and its deliveries, oldest event first."""

    hooks: tuple[HookState, ...]
    deliveries: tuple[Delivery, ...]


def states(ws: Workspace) -> tuple[HookState, ...]:
    """Every hook of this vortex.toml, and those of others that something waits for."""
    outbox = Outbox(ws.ledger_url)
    backlogs = {backlog.hook: backlog for backlog in outbox.backlogs()}
    listing = []
    for name in dict.fromkeys((*ws.config.hooks, *backlogs)):
        backlog = backlogs.get(name)
        oldest = outbox.oldest_waiting(name) if backlog and backlog.waiting else None
        why = _why(ws, name, oldest) if oldest else ""
        listing.append(
            HookState(
                name,
                place(ws, name) if name in ws.config.hooks else "not in this vortex.toml",
                backlog.waiting if backlog else 0,
                backlog.refused if backlog else 0,
                why,
                bool(oldest and oldest.attempts and name in ws.config.hooks),
            )
        )
    return tuple(listing)


def log(ws: Workspace, *, hook: str | None = None, undelivered: bool = False, last: int | None = None) -> HookLog:
    """What there is to tell of the hooks of a workspace, or of one; the newest `last` deliveries."""
    hooks = states(ws)
    if hook is not None and hook not in {state.hook for state in hooks}:
        raise unknown(ws, hook)
    deliveries = Outbox(ws.ledger_url).deliveries(hook=hook, undelivered=undelivered, last=last)
    return HookLog(tuple(state for state in hooks if hook in (None, state.hook)), tuple(deliveries))


def replay(
    ws: Workspace,
    *,
    id: str | None = None,
    first: int | None = None,
    hook: str | None = None,
    on_delivery: Callable[[], None] = lambda: None,
) -> list[HookReport]:
    """Deliver now what waits, after putting back into the outbox the delivery `id`, or all events from number `first` on.

    Of these the hooks are sent what they would be sent today, also what was recorded before they were named.
    Raises VortexError for an id that no delivery has, or several.
    """
    again = _again(ws, id, first, hook)
    if any(again.values()):
        with hub(ws).ledger.transaction():
            pass  # a ledger of before the outbox gets one
    for name, events in again.items():
        Outbox(ws.ledger_url).put(name, events)
    return deliver(ws, list(again), patient=True, on_delivery=on_delivery)


def planned(ws: Workspace, *, id: str | None = None, first: int | None = None, hook: str | None = None) -> dict[str, int]:
    """How many deliveries the same replay would send each hook, which sends none. Raises VortexError as `replay` does."""
    outbox, again = Outbox(ws.ledger_url), _again(ws, id, first, hook)
    counts = {}
    for name, events in again.items():
        waiting = {each.event for each in outbox.deliveries(hook=name, undelivered=True) if each.state == "waiting"}
        counts[name] = len(waiting | {seq for seq, _ in events})
    return counts


def _again(ws: Workspace, id: str | None, first: int | None, hook: str | None) -> dict[str, list[tuple[int, str]]]:
    """The hooks of a replay, and the events (number and hash) that each is to be sent once more."""
    if hook is not None and hook not in ws.config.hooks:
        raise unknown(ws, hook)
    ledger = hub(ws).ledger
    if id is not None:
        delivery = _one(ws, Outbox(ws.ledger_url), id)
        (entry,) = ledger.entries(after=delivery.event - 1, first=1, bodies=False)
        return {delivery.hook: [(entry.seq, entry.hash)]}
    again: dict[str, list[tuple[int, str]]] = {name: [] for name in ws.config.hooks if hook in (None, name)}
    if first is not None:
        entries = [entry for entry in ledger.each(bodies=False) if entry.seq >= first]
        for subscription in subscriptions(ws):
            if subscription.hook in again:
                again[subscription.hook] = [(each.seq, each.hash) for each in entries if subscription.wants(each.kind, each.subject)]
    return again


def drop(ws: Workspace, hook: str) -> int:
    """Send a hook nothing of what waits for it or was refused; how many events. It may be one that is in no vortex.toml any more."""
    if hook not in {state.hook for state in states(ws)}:
        raise unknown(ws, hook)
    return Outbox(ws.ledger_url).drop(hook)


def _one(ws: Workspace, outbox: Outbox, id: str) -> Delivery:
    deliveries = outbox.deliveries(id=id)
    if len(deliveries) != 1:
        what = f"{len(deliveries)} deliveries have an id that begins" if deliveries else "no delivery has an id that begins"
        raise VortexError(f"{what} with {id[:40]!r}", "take a whole one of: vortex hooks log")
    if deliveries[0].hook not in ws.config.hooks:
        raise unknown(ws, deliveries[0].hook)
    return deliveries[0]


def _why(ws: Workspace, name: str, oldest: Delivery) -> str:
    if name not in ws.config.hooks:
        return "whoever has it in vortex.toml delivers"
    try:
        Receiver.of(ws, name)
    except VortexError as error:
        return error.message
    if not oldest.attempts:
        return "not tried yet"
    now = time.time()
    wait = "is tried by the next command that records" if is_due(oldest, now) else f"is tried again in {max(1, round(oldest.due - now))} s"
    return f"event {oldest.event}: {oldest.answer}; {wait}"


def undelivered(hooks: Sequence[HookState]) -> list[str]:
    """A line for each hook that something waits for, or that has refused something."""
    lines = []
    for state in hooks:
        counts = [f"{state.waiting} undelivered ({state.why})"] if state.waiting else []
        counts += [f"{state.refused} refused"] if state.refused else []
        if counts:
            lines.append(f"{state.hook}: {', '.join(counts)}")
    return lines
