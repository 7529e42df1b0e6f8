"""The outbox: a delivery for each event that a hook wants, in one transaction with it, and one process at a hook."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import VortexError
from registry import audit, database
from registry.chain import COLUMNS
from registry.events.version import VersionQuarantined, VersionReleased
from registry.ledger import Ledger
from registry.outbox import Outbox, Subscription

FORK = multiprocessing.get_context("fork")
CI = Subscription("ci", ("version.quarantined",))


def subscribed(url: str, *subscriptions: Subscription, timeout: float = 60) -> Ledger:
    return Ledger(url, timeout, subscriptions=subscriptions or (CI,))


def record(ledger: Ledger, *numbers: int) -> None:
    for number in numbers:
        ledger.append(VersionQuarantined(f"v{number}"), actor="Ada")


def waiting(url: str, hook: str = "ci") -> list[int]:
    return [each.event for each in Outbox(url).deliveries(hook=hook) if each.state == "waiting"]


@pytest.mark.parametrize(
    ("kinds", "channels", "kind", "subject", "wanted"),
    [
        (("*",), (), "version.quarantined", "v6", True),
        (("channel.*",), (), "version.quarantined", "v6", False),
        (("version.*", "channel.*"), (), "channel.promoted", "host/rooms", True),
        (("*",), ("host/*",), "channel.promoted", "host/rooms", True),
        (("*",), ("*/corridor",), "channel.promoted", "host/rooms", False),
        (("*",), ("*/*",), "version.quarantined", "v6", False),
        (("data.*",), (), "data.quarantined", "a/b", True),
        (("*",), ("a/*",), "data.quarantined", "a/b", False),
    ],
)
def test_a_hook_gets_the_kinds_and_channels_that_it_names(
    kinds: tuple[str, ...], channels: tuple[str, ...], kind: str, subject: str, wanted: bool
) -> None:
    assert Subscription("ci", kinds, channels).wants(kind, subject) is wanted


def test_each_wanted_event_waits_for_each_hook_and_only_then(ledger_url: str) -> None:
    called = []
    ledger = Ledger(ledger_url, subscriptions=(CI, Subscription("all")), on_queued=lambda: called.append(1))
    record(ledger, 1)
    ledger.append(VersionReleased("v1"), actor="Ada")
    record(Ledger(ledger_url), 2)  # a workspace without hooks: it puts nothing in, and takes nothing out
    assert (waiting(ledger_url), waiting(ledger_url, "all"), len(called)) == ([1], [1, 2], 2)
    with pytest.raises(VortexError, match="no"), ledger.transaction() as tx:
        tx.append(VersionQuarantined("v3"), actor="Ada")
        raise VortexError("no")
    assert (waiting(ledger_url), len(called), ledger.verify().seq) == ([1], 2, 3)


def test_a_kill_at_any_statement_leaves_both_the_event_and_its_delivery_or_neither(ledger_url: str) -> None:
    from sqlalchemy import Engine, event

    record(subscribed(ledger_url), 1)

    def die(at: int) -> None:
        statements = 0

        def count(*_: object) -> None:
            nonlocal statements
            statements += 1
            if statements == at:
                os.kill(os.getpid(), signal.SIGKILL)

        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(Engine, name, count)
        record(subscribed(ledger_url), 2)

    at, killed = 1, 0
    while True:
        process = FORK.Process(target=die, args=(at,))
        process.start()
        process.join()
        assert [entry.seq for entry in Ledger(ledger_url).entries()] == waiting(ledger_url)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        killed += 1
        at += 1
    assert killed >= 8 and Ledger(ledger_url).verify().seq == 2


def test_one_process_is_at_a_hook_and_a_killed_one_is_no_longer(ledger_url: str) -> None:
    record(subscribed(ledger_url, CI, Subscription("other")), 1)
    outbox, held = Outbox(ledger_url), FORK.Event()

    def hold() -> None:
        with Outbox(ledger_url).exclusive("ci") as queue:
            assert queue is not None
            held.set()
            time.sleep(60)

    process = FORK.Process(target=hold)
    process.start()
    assert held.wait(30)
    with outbox.exclusive("ci") as queue, outbox.exclusive("other") as another:
        assert queue is None and another is not None
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    for _ in range(100):  # a server notices a moment later
        with outbox.exclusive("ci") as queue:
            if queue is not None:
                break
        time.sleep(0.05)
    assert queue is not None


def test_a_ledger_reached_by_a_link_has_the_same_lock(tmp_path: Path) -> None:
    record(subscribed(f"sqlite:///{tmp_path / 'ledger.db'}"), 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link.db").symlink_to(tmp_path / "ledger.db")
    link = Outbox(f"sqlite:///{tmp_path / 'other' / 'link.db'}")
    with Outbox(f"sqlite:///{tmp_path / 'ledger.db'}").exclusive("ci") as queue, link.exclusive("ci") as other:
        assert queue is not None and other is None


def test_a_delivery_is_settled_put_back_and_dropped(ledger_url: str) -> None:
    record(subscribed(ledger_url), 1, 2, 3)
    outbox = Outbox(ledger_url)
    with outbox.exclusive("ci") as queue:
        assert queue is not None
        for state in ("delivered", "refused"):
            first = queue.first(COLUMNS)
            assert first is not None
            queue.settle(first[0], state, "so", at="2026-01-01T00:00:00.000Z")
        last = queue.first(COLUMNS)
    assert last is not None and (last[0].event, last[1][0], last[1][4]) == (3, 3, "v3")
    assert [(each.state, each.attempts) for each in outbox.deliveries()] == [("delivered", 1), ("refused", 1), ("waiting", 0)]
    assert outbox.backlogs() == [("ci", 1, 1)]
    before = outbox.deliveries()[0]
    entry = Ledger(ledger_url).entries()[0]
    assert outbox.put("ci", [(entry.seq, entry.hash)]) == 1
    assert outbox.deliveries(id=before.id[:8]) == [before._replace(state="waiting", attempts=0, tried_at=None, answer="")]
    assert outbox.deliveries(id="%") == []
    assert (outbox.drop("ci"), outbox.backlogs(), outbox.drop("ci")) == (3, [], 0)
    assert {each.state for each in outbox.deliveries()} == {"dropped"}


def test_a_ledger_of_before_the_outbox_gets_one_from_the_next_writer(ledger_url: str) -> None:
    from sqlalchemy import text

    record(subscribed(ledger_url), 1)
    engine = database.engine(subscribed(ledger_url).url, 5)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE outbox"))
        connection.execute(text("UPDATE ledger_schema SET version = 2"))
    assert (database.look(Ledger(ledger_url).url, 5).schema, Outbox(ledger_url).deliveries(), len(Ledger(ledger_url).entries())) == (
        2,
        [],
        1,
    )
    record(subscribed(ledger_url), 2)
    assert (database.look(Ledger(ledger_url).url, 5).schema, waiting(ledger_url)) == (3, [2])
    with engine.begin() as connection:  # and so does one whose outbox somebody has dropped
        connection.execute(text("DROP TABLE outbox"))
    engine.dispose()
    record(subscribed(ledger_url), 3)
    assert waiting(ledger_url) == [3] and not audit.ledger_faults(Ledger(ledger_url))[1]


def test_the_audit_finds_a_delivery_without_its_event_and_repairs_it(ledger: Ledger, edit: Callable[..., None]) -> None:
    record(subscribed(str(ledger.url)), 1)
    edit(ledger, "INSERT INTO outbox SELECT hook, 7, 'other', state, attempts, tried_at, due, answer FROM outbox")
    faults = audit.ledger_faults(ledger)[1]
    assert [(fault.area, fault.found, fault.repairable) for fault in faults] == [
        ("outbox", "hook ci is to be sent event 7, which the ledger does not have", True)
    ]
    audit.repair(ledger)
    assert audit.ledger_faults(ledger)[1] == [] and waiting(str(ledger.url)) == [1]


def test_what_is_not_delivered_moves_to_another_ledger_and_back_once(ledger_url: str, tmp_path: Path) -> None:
    there = f"sqlite:///{tmp_path / 'there.db'}"
    source, target = subscribed(ledger_url), subscribed(there)

    def bring(source: Ledger, target: Ledger) -> int:
        with target.transaction() as tx:
            tx.adopt(source.rows(tx.head.seq), source.claims(), source.url)
            assert tx.queued == 0  # its hooks were told where it happened
        return Outbox(source.url).carry_to(Outbox(target.url))

    record(source, 1, 2)
    ids = [each.id for each in Outbox(ledger_url).deliveries()]
    assert (bring(source, target), bring(source, target)) == (2, 0)
    assert (waiting(ledger_url), waiting(there), [each.id for each in Outbox(there).deliveries()]) == ([], [1, 2], ids)
    with Outbox(there).exclusive("ci") as queue:
        assert queue is not None
        first = queue.first(COLUMNS)
        assert first is not None
        queue.settle(first[0], "delivered", "204", at="2026-01-01T00:00:00.000Z")
    record(subscribed(there), 3)
    assert bring(target, source) == 2
    assert (waiting(ledger_url), waiting(there)) == ([2, 3], [])
