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
from typing import Any, Final, Literal, NamedTuple

from core.errors import VortexError
from pipelines.hooks.receivers import Answer, Message, Receiver
from pipelines.workspace import Workspace
from registry.chain import COLUMNS, canonical
from registry.events import reading
from registry.ledger import Entry, entry_of
from registry.outbox import Delivery, Outbox, Queue

START_S: Final = 2.0
"""How long after a command new deliveries are begun. Each has its hook's own limit, so a command ends at most so much later and that."""
SPARE_S: Final = 0.5
BUSY_S: Final = 0.05
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


class Limits(NamedTuple):
    """Where a round ends: at a time of `time.monotonic`, or after an event."""

    until: float | None
    last: int | None

    def over(self, delivery: Delivery) -> bool:
        """Whether a delivery is left to a later round, as is what failed a moment ago unless the round is a patient one."""
        return self.until is not None and (time.monotonic() > self.until or not is_due(delivery, time.time()))


def after_command(ws: Workspace) -> list[str]:
    """Deliver what can be delivered in a short time; remarks about what was not."""
    return [
        f"hook {report.hook}: {report.problem or 'refused by the receiver'}; see `vortex hooks log`, send again with `vortex hooks replay`"
        for report in deliver(ws, patient=False)
        if report.refused or report.state in ("failed", "held")
    ]


def deliver(ws: Workspace, hooks: Sequence[str] = (), *, patient: bool, on_delivery: Callable[[], None] = lambda: None) -> list[HookReport]:
    """Deliver to the hooks of `ws` (or to these of them) what waits, each until nothing does, or it fails; the hooks that anything waited for.

    A `patient` round tries also what failed a moment ago, and ends when all is done that waited when it began: a hook whose command records
    events of its own would keep it for ever. Another one leaves both alone, and ends in time.
    """
    outbox = Outbox(ws.ledger_url, 60.0 if patient else START_S)
    waiting = [backlog.hook for backlog in outbox.backlogs() if backlog.waiting]
    names = [name for name in waiting if name in ws.config.hooks and (not hooks or name in hooks)]
    reports: dict[str, HookReport] = {}
    until = None if patient else time.monotonic() + START_S
    last = outbox.newest() if patient else None
    threads = []
    for name in names:
        # Daemons: one that is not back in time, say from asking for a server's address, does not keep the process.
        thread = threading.Thread(target=_round, args=(ws, outbox, name, Limits(until, last), reports, on_delivery), daemon=True)
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
        sentence = "".join(part if isinstance(part, str) else part[0] for part in reading.parse(entry).sentence())
    except reading.MALFORMED:  # of a newer vortex: what happened is in the event
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
    ws: Workspace, outbox: Outbox, name: str, limits: Limits, reports: dict[str, HookReport], on_delivery: Callable[[], None]
) -> None:
    """What one thread does for one hook. Its errors are the hook's problem, and no other's."""
    try:
        receiver = Receiver.of(ws, name)
    except VortexError as error:
        reports[name] = HookReport(name, "held", problem=error.message)
        return
    try:
        reports[name] = _in_turn(outbox, receiver, limits, on_delivery)
    except VortexError as error:
        reports[name] = HookReport(name, "failed", problem=error.message)
    except Exception as error:
        log.debug("hook %s", name, exc_info=True)
        reports[name] = HookReport(name, "failed", problem=f"{type(error).__name__}: {error}")


def _in_turn(outbox: Outbox, receiver: Receiver, limits: Limits, on_delivery: Callable[[], None]) -> HookReport:
    """Work a hook's queue off, once no other process is at it.

    That one may have looked for the last time just before this one's event came: leaving it to them could leave it lying.
    """
    give_up = time.monotonic() + START_S
    while True:
        with outbox.exclusive(receiver.name) as queue:
            if queue is not None:
                return _work_off(queue, receiver, limits, on_delivery)
        if outbox.oldest_waiting(receiver.name) is None:
            return HookReport(receiver.name, "done")
        if time.monotonic() > give_up:
            return HookReport(receiver.name, "busy", problem="another process is at it")
        time.sleep(BUSY_S)


def _work_off(queue: Queue, receiver: Receiver, limits: Limits, on_delivery: Callable[[], None]) -> HookReport:
    delivered = refused = 0
    while (first := queue.first(COLUMNS)) is not None:
        delivery, row = first
        if limits.over(delivery):
            return HookReport(queue.hook, "waiting", delivered, refused)
        if limits.last is not None and delivery.event > limits.last:
            break
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
