"""A ledger that somebody changed behind Vortex's back ends in one line that names the event, in every command that reads it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from core.errors import VortexError
from registry.ledger import Ledger


def test_an_emptied_ledger_does_not_pass_for_a_new_one(ledger: Ledger) -> None:
    with ledger.transaction() as tx:
        tx.append("test", "a", {}, {}, actor="me", claims=(("version", 10),))
    assert ledger.path
    with closing(sqlite3.connect(ledger.path)) as store, store:
        for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            store.execute(f"DROP TRIGGER {name}")
        store.execute("DELETE FROM events")
    with pytest.raises(VortexError, match="event 1: it is missing"):
        ledger.verify()


@pytest.mark.parametrize("head", ["'{}'", "'[1]'", "'null'", "x'ff00'"])
def test_tampered_heads_name_the_event_that_was_changed(ledger: Ledger, head: str) -> None:
    ledger.append("test", "a", {"number": 1}, {}, actor="me")
    assert ledger.path
    with closing(sqlite3.connect(ledger.path)) as store, store:
        store.execute("DROP TRIGGER events_update")
        store.execute(f"UPDATE events SET head = {head}")
    with pytest.raises(VortexError, match="event 1"), ledger.understood():
        _ = [event.head["number"] for event in ledger.events()]


def test_events_of_a_newer_vortex_are_not_called_tampering(ledger: Ledger) -> None:
    ledger.append("test", "a", {}, {}, actor="me")
    with pytest.raises(VortexError, match="chain is intact, but an event lacks"), ledger.understood():
        _ = [event.head["number"] for event in ledger.events()]
