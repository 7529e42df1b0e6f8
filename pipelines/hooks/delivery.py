"""Deliver what waits in the outbox to the hooks of a workspace: each in the order of the events, none held up by another.

A command that has recorded something delivers when it has answered, for a few seconds; the rest waits for the next one that records, or
for `vortex hooks replay`. A delivery is crossed out after the receiver took it, so a kill in between sends it once more.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from core.errors import VortexError
from pipelines.hooks.receivers import Answer, Message, Receiver
from pipelines.workspace import Workspace
from registry import events
from registry.chain import COLUMNS, canonical
from registry.ledger import Entry, entry_of
from registry.outbox import Delivery, Outbox, Queue

START_S: Final = 2.0
"""How long after a command new deliveries are begun. Each has its hook's own limit, so a command ends at most so much later and that."""
SPARE_S: Final = 0.5
FIRST_WAIT_S: Final = 10.0
LONGEST_WAIT_S: Final = 3600.0
log = logging.getLogger("vortex.hooks")


@dataclass(frozen=True)
class HookReport:
    """What a round did for one hook.

    `state`: `done`, nothing waits; `waiting` for the time after which a failure is tried again, or for a command with time for it;
    `failed` just now; `held` here, because a variable is not set; `busy`, another process is at it.
    """

    hook: str
    state: Literal["done", "waiting", "failed", "held", "busy"]
    delivered: int = 0
    refused: int = 0
    problem: str = ""


def after_command(ws: Workspace) -> list[str]:
    """Deliver what can be delivered in a short time; remarks about what was not."""
    return [
        f"hook {report.hook}: {report.problem or 'refused by the receiver'}; see `vortex hooks log`, send again with `vortex hooks replay`"
        for report in deliver(ws, patient=False)
        if report.refused or report.state in ("failed", "held")
    ]


def deliver(ws: Workspace, hooks: Sequence[str] = (), *, patient: bool, on_delivery: Callable[[], None] = lambda: None) -> list[HookReport]:
    """Deliver to the hooks of `ws` (or to these of them) what waits, each until nothing does, or it fails; the hooks that anything waited for.

    A `patient` round tries also what failed a moment ago, and ends when all is done; another one leaves both alone, and ends in time.
    """
    outbox = Outbox(ws.ledger_url)
    waiting = [backlog.hook for backlog in outbox.backlogs() if backlog.waiting]
    names = [name for name in waiting if name in ws.config.hooks and (not hooks or name in hooks)]
    reports: dict[str, HookReport] = {}
    until = None if patient else time.monotonic() + START_S
    threads = []
    for name in names:
        # Daemons: one that is not back in time, say from asking for a server's address, does not keep the process.
        thread = threading.Thread(target=_round, args=(ws, outbox, name, until, reports, on_delivery), daemon=True)
        thread.start()
        threads.append((name, thread))
    for name, thread in threads:
        thread.join(None if until is None else max(0.0, until + ws.config.hooks[name].timeout + SPARE_S - time.monotonic()))
    late = {name: HookReport(name, "waiting", problem="it was not done in time") for name in names}
    return [reports.get(name, late[name]) for name in names]


def message(delivery: Delivery, entry: Entry) -> Message:
    """What a hook is sent of an event: as MLflow's webhooks have it, what it is about, what happened, when, and the event itself."""
    entity, _, action = entry.kind.partition(".")
    try:
        sentence = "".join(part if isinstance(part, str) else part[0] for part in events.parse(entry).sentence())
    except (VortexError, LookupError, TypeError, ValueError, AttributeError):  # of a newer vortex: what happened is in the event
        sentence = ""
    data: dict[str, Any] = {
        "seq": entry.seq,
        "hash": entry.hash,
        "kind": entry.kind,
        "subject": entry.subject,
        "sentence": sentence,
        "actor": entry.actor,
        "reason": entry.reason,
        "commit": entry.commit,
        "head": entry.head,
        "body": entry.body,
    }
    return Message(delivery.id, json.dumps({"entity": entity, "action": action, "timestamp": entry.at, "data": data}, ensure_ascii=True))


def trial(ws: Workspace, name: str) -> Answer:
    """Send a hook an example, which is in no ledger. Raises VortexError where it does not exist, or a variable of it is not set."""
    if name not in ws.config.hooks:
        raise unknown(ws, name)
    now = datetime.now(UTC)
    example = {"entity": "hook", "action": "test", "timestamp": stamp(now), "data": {"hook": name}}
    return Receiver.of(ws, name).send(Message(f"test-{int(now.timestamp() * 1000)}", canonical(example)))


def unknown(ws: Workspace, name: str) -> VortexError:
    """The error for a hook that vortex.toml does not name."""
    names = ", ".join(ws.config.hooks) or "none"
    return VortexError(f"unknown hook {name!r}; vortex.toml has: {names}", f"add [hooks.{name[:63]}] with a url or a command to it")


def stamp(moment: datetime) -> str:
    """A time as the ledger writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_due(delivery: Delivery, now: float) -> bool:
    """Whether it may be tried again at Unix time `now`. A time further ahead than any wait is one of a clock that was wrong."""
    return delivery.due <= now or delivery.due > now + LONGEST_WAIT_S


def wait_after(attempts: int, answer: Answer) -> float:
    """Seconds until what has failed so many times is tried again: twice as many each time, or as many as the receiver asks for."""
    doubled = FIRST_WAIT_S * 2.0 ** min(attempts - 1, 20)
    return min(LONGEST_WAIT_S, max(doubled, answer.wait_s))


def _round(
    ws: Workspace, outbox: Outbox, name: str, until: float | None, reports: dict[str, HookReport], on_delivery: Callable[[], None]
) -> None:
    """What one thread does for one hook. Its errors are the hook's problem, and no other's."""
    try:
        receiver = Receiver.of(ws, name)
    except VortexError as error:
        reports[name] = HookReport(name, "held", problem=error.message)
        return
    try:
        with outbox.exclusive(name) as queue:
            reports[name] = HookReport(name, "busy") if queue is None else _work_off(queue, receiver, until, on_delivery)
    except VortexError as error:
        reports[name] = HookReport(name, "failed", problem=error.message)
    except Exception as error:
        log.debug("hook %s", name, exc_info=True)
        reports[name] = HookReport(name, "failed", problem=f"{type(error).__name__}: {error}")


def _work_off(queue: Queue, receiver: Receiver, until: float | None, on_delivery: Callable[[], None]) -> HookReport:
    delivered = refused = 0
    while (first := queue.first(COLUMNS)) is not None:
        delivery, row = first
        if until is not None and (time.monotonic() > until or not is_due(delivery, time.time())):
            return HookReport(queue.hook, "waiting", delivered, refused)
        answer = receiver.send(message(delivery, entry_of(row)))
        now = datetime.now(UTC)
        if answer.outcome == "failed":
            due = now.timestamp() + wait_after(delivery.attempts + 1, answer)
            queue.settle(delivery, "waiting", answer.text, at=stamp(now), due=due)
            return HookReport(queue.hook, "failed", delivered, refused, answer.text)
        queue.settle(delivery, answer.outcome, answer.text, at=stamp(now))
        on_delivery()
        delivered += answer.outcome == "delivered"
        refused += answer.outcome == "refused"
    return HookReport(queue.hook, "done", delivered, refused)
