"""The ledger: appended to, never changed, whole after every accident, and the same on both databases."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import selectors
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Pool, event

from core.errors import VortexError
from registry import audit, database
from registry import ledger as ledger_module
from registry.chain import COLUMNS, GENESIS, ChainHead, chained
from registry.database import Condition, Moved
from registry.events.version import VersionRegistered
from registry.ledger import Claim, Ledger
from registry.records import NewVersion


@dataclass
class Note:
    """An event of no kind that the registry has: the ledger asks only that it can be recorded."""

    kind: ClassVar[str] = "note"
    shape: ClassVar[int] = 1
    subject: str
    number: float = 0
    text: str = "ünïcode"
    taken: tuple[Claim, ...] = ()

    def head(self) -> dict[str, Any]:
        return {"number": self.number}

    def body(self) -> dict[str, Any]:
        return {"text": self.text}

    def claims(self) -> tuple[Claim, ...]:
        return self.taken


V10 = (("version", 10),)


def add(ledger: Ledger, count: int = 1) -> None:
    for number in range(count):
        ledger.append(Note(f"subject {number}", number), actor="Ada", reason="test", commit="abc")


@pytest.fixture
def both(ledger_url: str) -> Ledger:
    return Ledger(ledger_url)


def test_a_ledger_that_does_not_exist_is_empty_and_stays_absent(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'none' / 'ledger.db'}")
    assert ledger.entries() == []
    assert ledger.verify().seq == 0
    assert ledger.highest("version") == 0
    assert list(tmp_path.iterdir()) == []


def test_events_come_back_in_order_with_who_what_when_why_and_commit(both: Ledger) -> None:
    add(both, 3)
    events = both.entries()
    assert [event.seq for event in events] == [1, 2, 3]
    first = events[0]
    assert (first.kind, first.subject, first.actor, first.reason, first.commit) == ("note", "subject 0", "Ada", "test", "abc")
    assert first.body == {"text": "ünïcode"}
    assert first.at.endswith("Z")
    assert events[1].previous == first.hash
    assert [event.seq for event in both.entries(last=2)] == [2, 3]
    assert [event.seq for event in both.entries(subject="subject 1")] == [2]
    assert both.entries(kinds=("other",)) == []
    assert both.entries(without=("note",)) == []
    assert len(both.entries(kinds=("note",), without=("other", "another"), subject="subject 1")) == 1
    assert both.verify() == ChainHead(first.hash, 3, events[2].hash)


def test_parts_of_bodies_are_what_the_bodies_hold(both: Ledger) -> None:
    odd = {"a": ["ünïcode \\ \" ' %", 0.1, 1e300, 2**53, None, {"b": []}], "none": None}
    both.append(Note("first", text=cast(str, odd)), actor="Ada")
    both.append(Note("second"), actor="Ada")
    assert both.parts(("note", "other"), ("text", "absent")) == [
        ("first", {"text": odd, "absent": None}),
        ("second", {"text": "ünïcode", "absent": None}),
    ]
    assert both.parts(("note",), ("absent",)) == [("first", {"absent": None}), ("second", {"absent": None})]
    assert both.parts(("other",), ("text",)) == []


@pytest.mark.parametrize("body", ["{", "[]", "", "7"])
def test_a_body_that_is_no_object_is_named_by_its_event_where_parts_are_asked(body: str, tmp_path: Path) -> None:
    ledger = Ledger(url := f"sqlite:///{tmp_path / 'ledger.db'}", guarded=False)
    add(ledger, 2)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE events SET body = ? WHERE seq = 2", (body,))
    with pytest.raises(VortexError, match="event 2 is not readable"):
        ledger.parts(("note",), ("text",))


class Proxy:
    """A way to a server; once it is `lossy`, the answer to a commit never arrives: the connection breaks off between the two."""

    def __init__(self, host: str, port: int) -> None:
        self.server = (host, port)
        self.lossy = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the test has ended
            while True:
                threading.Thread(target=self._pass_on, args=(self.listener.accept()[0],), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        # Not `select`, which knows no number above 1023: a long run of tests has more files open than that.
        with client, socket.create_connection(self.server) as server, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, server)
            selector.register(server, selectors.EVENT_READ, client)
            while True:
                for ready, _ in selector.select():
                    data = cast(socket.socket, ready.fileobj).recv(1 << 16)
                    # The server answers a commit with the word.
                    if not data or (self.lossy and ready.fileobj is server and b"COMMIT\0" in data):
                        return
                    ready.data.sendall(data)


def test_a_server_that_is_lost_between_commit_and_answer_has_recorded_it_once(both: Ledger) -> None:
    if both.path:
        pytest.skip("sqlite has no server to lose")
    url = urlsplit(both.url.reveal())
    proxy = Proxy(str(url.hostname), url.port or 5432)
    lossy = Ledger(url._replace(netloc=url.netloc.rpartition(":")[0] + f":{proxy.port}").geturl())
    add(both)
    with pytest.raises(VortexError, match="the connection broke off") as lost, lossy.transaction() as tx:
        tx.append(Note("v10", taken=V10), actor="Ada")
        proxy.lossy = True  # only now: the driver has commits of its own when it connects
    assert "`vortex history` shows which" in lost.value.hint
    proxy.listener.close()
    # It is there, whole, and whoever looks before doing it again sees that.
    assert [(event.seq, event.subject) for event in both.entries()] == [(1, "subject 0"), (2, "v10")]
    with both.transaction() as tx:
        assert tx.claimed("version", 10) == "v10"
    assert both.verify().seq == 2


def test_a_claim_can_be_taken_once(both: Ledger) -> None:
    with both.transaction() as tx:
        tx.append(Note("v10", taken=V10), actor="Ada")
        assert tx.claimed("version", 10) == "v10"
    with pytest.raises(VortexError), both.transaction() as tx:
        tx.append(Note("v10 again", taken=V10), actor="Eve")
    assert both.claimed("version", 10) == "v10"
    assert both.claimed("version", 11) is None
    assert both.highest("version") == 10
    assert len(both.entries()) == 1, "the refused transaction left an event behind"


def test_an_error_in_the_transaction_leaves_nothing(both: Ledger) -> None:
    add(both)
    with pytest.raises(ZeroDivisionError), both.transaction() as tx:
        tx.append(Note("x"), actor="Ada")
        raise ZeroDivisionError
    assert both.verify().seq == 1


def test_an_error_in_the_first_transaction_leaves_no_tables(both: Ledger) -> None:
    with pytest.raises(ZeroDivisionError), both.transaction():
        raise ZeroDivisionError
    assert database.look(both.url, 5) == Condition()
    add(both)
    assert both.verify().seq == 1


def test_a_transaction_is_one_connection_to_a_server(both: Ledger) -> None:
    if both.path is not None:
        pytest.skip("a file is looked at before it is opened for writing")
    connections: list[object] = []

    def connected(connection: object, _: object) -> None:
        connections.append(connection)

    event.listen(Pool, "connect", connected)
    try:
        add(both, 2)
    finally:
        event.remove(Pool, "connect", connected)
    assert len(connections) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'Eve'",
        "DELETE FROM events",
        "UPDATE claims SET event = 2",
        "DELETE FROM claims",
    ],
)
def test_the_database_refuses_changes(both: Ledger, statement: str) -> None:
    from sqlalchemy import text

    with both.transaction() as tx:
        tx.append(Note("v10", taken=V10), actor="Ada")
    engine = database.engine(both.url, 5)
    with pytest.raises(Exception, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
    assert both.verify().seq == 1


def test_replace_cannot_slip_past_the_triggers(ledger: Ledger) -> None:
    add(ledger, 2)
    assert ledger.path is not None
    connection = sqlite3.connect(ledger.path)
    columns = "seq, previous, hash, kind, subject, at, actor, reason, git_commit, head, body"
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(f"INSERT OR REPLACE INTO events SELECT {columns.replace('actor', repr('Eve'))} FROM events WHERE seq = 1")
    connection.close()


@pytest.mark.parametrize(
    ("statement", "event"),
    [
        ("UPDATE events SET reason = 'another' WHERE seq = 3", 3),
        ("UPDATE events SET head = '{\"number\":7}' WHERE seq = 2", 2),
        ("UPDATE events SET git_commit = NULL WHERE seq = 4", 4),
        ("UPDATE events SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 1", 1),
        ("DELETE FROM events WHERE seq = 2", 2),
        ("UPDATE events SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 5", 5),
    ],
)
def test_verify_names_the_first_event_that_was_changed(ledger: Ledger, statement: str, event: int, edit: Callable[..., None]) -> None:
    add(ledger, 5)
    edit(ledger, statement)
    with pytest.raises(VortexError, match=f"event {event}:"):
        ledger.verify()


def test_a_tail_that_was_cut_off_is_seen_by_who_noted_the_end(ledger: Ledger, edit: Callable[..., None]) -> None:
    add(ledger, 3)
    noted = ledger.verify()
    edit(ledger, "DELETE FROM events WHERE seq = 3")
    passer_by = Ledger(ledger.url)
    assert passer_by.verify().seq == 2
    with pytest.raises(VortexError, match=r"event 3: it is missing: the chain ends at 2, but event 3 was noted in a letter"):
        passer_by.verify({"a letter": noted})


def test_the_head_is_noted_after_every_append(ledger: Ledger, tmp_path: Path) -> None:
    noting = Ledger(ledger.url, head_file=tmp_path / "kept" / "ledger.head")
    assert noting.noted() == ChainHead("", 0, GENESIS)
    add(noting, 2)
    first, second = noting.entries()
    assert noting.noted() == ChainHead(first.hash, 2, second.hash)
    assert json.loads((tmp_path / "kept" / "ledger.head").read_text()) == {"ledger": first.hash, "seq": 2, "hash": second.hash}


def test_a_note_never_goes_back(ledger: Ledger, tmp_path: Path) -> None:
    noting, other = (Ledger(ledger.url, head_file=tmp_path / "ledger.head") for _ in range(2))
    with noting.transaction() as tx:
        tx.append(Note("a"), actor="Ada")
        early = tx.head
    add(other)
    noting._note(early)  # the process was held up between its commit and its note
    assert Ledger(ledger.url, head_file=tmp_path / "ledger.head").noted().seq == 2


def rewrite(ledger: Ledger, edit: Callable[..., None], seq: int, **changes: str) -> None:
    """Change an event, and hash the chain anew from there to its end."""
    assert ledger.path is not None
    with closing(sqlite3.connect(ledger.path)) as connection:
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM events ORDER BY seq")]
    statements = ["UPDATE events SET previous = 'p' || seq, hash = 'h' || seq"]  # both are unique: out of the way first
    previous = GENESIS
    for row in rows:
        row |= {"previous": previous, **(changes if row["seq"] == seq else {})}
        previous = chained(row)
        texts = ", ".join(f"{name} = '{value}'" for name, value in {**changes, "previous": row["previous"], "hash": previous}.items()
                          if name in ("previous", "hash") or row["seq"] == seq)  # fmt: skip
        statements.append(f"UPDATE events SET {texts} WHERE seq = {row['seq']}")
    edit(ledger, *statements)


def test_a_chain_that_was_hashed_anew_is_seen_by_the_next_writer(ledger: Ledger, tmp_path: Path, edit: Callable[..., None]) -> None:
    noting = Ledger(ledger.url, head_file=tmp_path / "ledger.head")
    add(noting, 4)
    rewrite(ledger, edit, 2, actor="Eve")
    assert Ledger(ledger.url).verify().seq == 4, "to who noted nothing it is a chain"
    for attempt in (noting.verify, lambda: add(Ledger(ledger.url, head_file=tmp_path / "ledger.head"))):
        with pytest.raises(VortexError, match=r"breaks at event 4: it is \w+…, but \w+… was noted in .*ledger.head"):
            attempt()
    assert len(ledger.entries()) == 4


def test_a_new_first_event_is_another_ledger(ledger: Ledger, tmp_path: Path, edit: Callable[..., None]) -> None:
    noting = Ledger(ledger.url, head_file=tmp_path / "ledger.head")
    add(noting, 2)
    rewrite(ledger, edit, 1, actor="Eve")
    with pytest.raises(VortexError, match="chain breaks at event 1, or this is another ledger"):
        noting.verify()


@pytest.mark.parametrize("statement", ["DELETE FROM events WHERE seq > 2", "DELETE FROM events"])
def test_a_writer_does_not_go_on_from_a_tail_that_was_cut_off(
    ledger: Ledger, tmp_path: Path, statement: str, edit: Callable[..., None]
) -> None:
    noting = Ledger(ledger.url, head_file=tmp_path / "ledger.head")
    add(noting, 4)
    edit(ledger, statement)
    with pytest.raises(VortexError, match="event 4 was noted in"):
        add(Ledger(ledger.url, head_file=tmp_path / "ledger.head"))


def test_what_others_appended_is_followed_by_the_next_writer(ledger: Ledger, tmp_path: Path, edit: Callable[..., None]) -> None:
    noting = Ledger(ledger.url, head_file=tmp_path / "ledger.head")
    add(noting, 2)
    add(Ledger(ledger.url), 3)
    add(noting)
    assert noting.noted().seq == 6
    add(Ledger(ledger.url), 2)
    edit(ledger, "UPDATE events SET actor = 'Eve' WHERE seq = 7")
    with pytest.raises(VortexError, match="event 7: its content"):
        add(noting)


def test_a_writer_follows_new_events_only(both: Ledger) -> None:
    add(both, 3)
    followed: list[int] = []
    original = ledger_module.follow

    def counting(url: str, head: ChainHead, rows: Iterable[Any]) -> Iterator[ChainHead]:
        for each in original(url, head, rows):
            followed.append(each.seq)
            yield each

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "follow", counting)
        add(both)
        assert followed == []
        add(Ledger(both.url))
        assert followed == [1, 2, 3, 4]


@pytest.mark.parametrize("noted", [0, 1])
def test_nobody_waits_while_a_writer_follows_a_long_chain(both: Ledger, tmp_path: Path, noted: int) -> None:
    head_file = tmp_path / "ledger.head"
    add(Ledger(both.url, head_file=head_file), noted)
    with both.transaction() as tx:
        for number in range(2 * ledger_module.PAGE):
            tx.append(Note(f"subject {number}"), actor="Ada")
    original = ledger_module.follow
    walks: list[list[int]] = []

    def one_appends_meanwhile(url: str, head: ChainHead, rows: Iterable[Any]) -> Iterator[ChainHead]:
        walks.append([])
        for each in original(url, head, rows):
            walks[-1].append(each.seq)
            yield each
        if len(walks) == 1:
            add(Ledger(both.url, timeout=0.2))  # its own walk is the second; it raises where somebody holds the lock

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "follow", one_appends_meanwhile)
        add(Ledger(both.url, head_file=head_file))
    end = noted + 2 * ledger_module.PAGE
    before, others, others_tail, tail = walks
    assert (before, others, others_tail, tail) == (list(range(noted + 1, end + 1)), list(range(1, end + 1)), [], [end + 1])
    assert both.verify() == Ledger(both.url, head_file=head_file).noted()
    assert both.last() == end + 2


def test_a_ledger_file_that_is_gone_is_no_empty_ledger(tmp_path: Path) -> None:
    path, head_file = tmp_path / "ledger.db", tmp_path / "ledger.head"
    assert Ledger(f"sqlite:///{path}", head_file=head_file).entries() == []
    add(Ledger(f"sqlite:///{path}", head_file=head_file))
    path.rename(tmp_path / "away.db")
    for attempt in (lambda each: each.entries(), lambda each: each.last(), add):
        with pytest.raises(VortexError, match=r"ledger.db: is not there, but its event 1 was noted in .*ledger.head"):
            attempt(Ledger(f"sqlite:///{path}", head_file=head_file))
    assert not path.exists()
    path.touch()  # as other tools leave one that they looked for
    with pytest.raises(VortexError, match=r"ledger.db: is not there, but its event 1 was noted in .*ledger.head"):
        Ledger(f"sqlite:///{path}", head_file=head_file).entries()


def test_a_head_file_that_holds_something_else_is_named(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "ledger.head").write_text("event 7")
    noting = Ledger(ledger.url, head_file=tmp_path / "ledger.head")
    with pytest.raises(VortexError, match=r"ledger.head holds no head of a ledger: 'event 7'"):
        add(noting)
    assert ledger.entries() == []


def test_a_ledger_of_a_newer_schema_is_left_alone(both: Ledger) -> None:
    from sqlalchemy import text

    add(both)
    engine = database.engine(both.url, 5)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO ledger_schema (version) VALUES (7)"))
    engine.dispose()
    for attempt in (both.entries, both.verify, lambda: add(both)):
        with pytest.raises(VortexError, match=r"has schema 7, and this vortex knows schemas up to 3") as caught:
            attempt()
        assert "newer vortex" in caught.value.hint


def test_a_ledger_without_a_schema_number_gets_one_from_the_next_writer(both: Ledger) -> None:
    from sqlalchemy import text

    add(both)
    engine = database.engine(both.url, 5)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE ledger_schema"))
        if connection.dialect.name == "postgresql":
            connection.execute(text("DROP TRIGGER events_order ON events"))
    engine.dispose()
    assert (database.look(both.url, 5), len(both.entries())) == (Condition(1, ()), 1)
    add(both)
    assert database.look(both.url, 5) == Condition(database.SCHEMA, ())
    assert both.verify().seq == 2


SWALLOWS = {
    "sqlite": ('CREATE TRIGGER "quiet %" BEFORE INSERT ON events BEGIN SELECT RAISE(IGNORE); END',),
    "postgresql": (
        "CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        'CREATE TRIGGER "quiet %%" BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION quiet()',
        "CREATE RULE unsaid AS ON INSERT TO claims DO INSTEAD NOTHING",
    ),
}
"""What keeps an event from being written, without a word to who writes it."""


def test_what_could_keep_an_event_from_being_written_is_named_and_removed(both: Ledger) -> None:
    add(both)
    engine = database.engine(both.url, 5)
    with engine.begin() as connection:
        dialect = connection.dialect.name
        for statement in SWALLOWS[dialect]:
            connection.exec_driver_sql(statement)
    engine.dispose()
    assert database.look(both.url, 5).others == (("quiet %",) if dialect == "sqlite" else ("quiet %", "unsaid"))
    with pytest.raises(database.Unguarded, match=r"quiet %.* none of Vortex's: it may keep events from being written"):
        add(both)
    (words,) = [fault.found for fault in audit.ledger_faults(both)[1] if fault.area == "triggers"]
    assert words.startswith("its trigger") and "quiet %" in words
    audit.repair(both)
    assert database.look(both.url, 5) == Condition(database.SCHEMA)
    add(both)
    assert both.verify().seq == 2


def test_a_ledger_that_moved_takes_nothing_and_says_where_to(both: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    place = "/srv/Ada's 100 % safe place/ledger.db"
    add(both, 2)
    earlier = both.verify()
    add(both)
    assert not both.seal(place, earlier) and both.moved == ""  # an event came meanwhile
    assert both.seal(place, both.verify()) and both.moved == place
    begun = Ledger(both.url)
    with pytest.raises(Moved, match=rf"has moved to {re.escape(place)}: nothing is recorded here any more"):
        add(begun)
    # Nor does whoever asks nobody.
    engine = database.engine(both.url, 5)
    with pytest.raises(Exception, match="the ledger has moved to"), engine.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO events SELECT 4, 'x', 'y', {', '.join(COLUMNS[3:])} FROM events WHERE seq = 1")
    engine.dispose()
    assert both.verify().seq == len(both.entries()) == 3
    assert [record.message for record in caplog.records if f"has moved to {place}" in record.message]
    both.reopen()
    add(both)
    assert both.verify().seq == 4 and both.moved == ""


def test_what_comes_back_is_taken_by_a_ledger_that_moved(both: Ledger, tmp_path: Path) -> None:
    there = Ledger(f"sqlite:///{tmp_path / 'there.db'}")

    def bring(source: Ledger, target: Ledger) -> int:
        with target.transaction(moved=True) as tx:
            return tx.adopt(source.rows(tx.head.seq), source.claims(), source.url)

    add(both, 2)
    assert (bring(both, there), both.seal("there", both.verify())) == (2, True)
    add(there)
    assert bring(there, both) == 1 and both.verify() == there.verify()
    with pytest.raises(Moved):  # until that one is closed and this one opened
        add(both)


def test_the_next_number_alone_can_be_appended(both: Ledger) -> None:
    from sqlalchemy import text

    add(both, 2)
    engine = database.engine(both.url, 5)
    copied = ", ".join(f"'x' || substr({name}, 2)" if name in ("previous", "hash") else name for name in COLUMNS if name != "seq")
    for seq in (0, 7):
        with pytest.raises(Exception, match="takes the next number"), engine.begin() as connection:
            connection.execute(text(f"INSERT INTO events ({', '.join(COLUMNS)}) SELECT {seq}, {copied} FROM events WHERE seq = 1"))
    engine.dispose()
    assert both.verify().seq == 2


@pytest.mark.parametrize("how", ["dropped", "replaced"])
def test_a_missing_trigger_is_named_by_every_reader_and_writer(both: Ledger, how: str) -> None:
    from sqlalchemy import text

    add(both)
    engine = database.engine(both.url, 5)
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER events_order"))
            if how == "replaced":
                connection.execute(text("CREATE TRIGGER events_order BEFORE INSERT ON events BEGIN SELECT 1; END"))
        elif how == "dropped":
            connection.execute(text("DROP TRIGGER events_order ON events"))
        else:
            connection.execute(text("ALTER TABLE events DISABLE TRIGGER events_order"))
    engine.dispose()
    for attempt in (both.entries, both.verify, lambda: add(both)):
        with pytest.raises(database.Unguarded, match=r"its trigger events_order is missing, switched off or replaced"):
            attempt()
    both.rebuild({})
    assert both.verify().seq == 1


def test_strange_text_and_numbers_survive(both: Ledger) -> None:
    both.append(Note("a\0b", float("nan"), "\udcff"), actor="\ud800", reason="'; DROP TABLE events;--")
    both.append(Note("b", float("-inf")), actor="Ada")
    both.verify()
    first, second = both.entries()
    assert str(float(first.head["number"])) == "nan"
    assert float(second.head["number"]) == float("-inf")
    assert (first.subject, first.actor, first.body) == ("a␀b", "?", {"text": "?"})
    assert first.reason == "'; DROP TABLE events;--"


def test_processes_that_append_at_once_to_a_fresh_ledger_lose_nothing(both: Ledger) -> None:
    context = multiprocessing.get_context("fork")
    crowd = [context.Process(target=add, args=(Ledger(both.url), 5)) for _ in range(4)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * 4
    assert both.verify().seq == 20


def test_a_kill_inside_the_transaction_leaves_the_ledger_as_it_was(ledger: Ledger) -> None:
    add(ledger)

    def die() -> None:
        with Ledger(ledger.url).transaction() as tx:
            tx.append(Note("half"), actor="Ada")
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert ledger.verify().seq == 1
    add(ledger)
    assert ledger.verify().seq == 2


def test_a_damaged_file_ends_in_one_line(ledger: Ledger) -> None:
    assert ledger.path is not None
    ledger.path.write_bytes(b"this is not a database, it only looks long enough to be one" * 100)
    for attempt in (ledger.entries, ledger.verify, lambda: add(ledger)):
        with pytest.raises(VortexError, match="damaged") as caught:
            attempt()
        assert str(ledger.path) in caught.value.message
    assert ledger.path.read_bytes().startswith(b"this is not")


@pytest.mark.timeout(60)
def test_a_pipe_in_the_place_of_the_ledger_is_named_and_not_waited_for(ledger: Ledger) -> None:
    assert ledger.path is not None
    ledger.path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(ledger.path)
    for attempt in (ledger.entries, ledger.verify, lambda: add(ledger)):
        with pytest.raises(VortexError, match=r"ledger\.db: a named pipe is not a file$"):
            attempt()


def test_a_locked_ledger_says_so(ledger: Ledger) -> None:
    add(ledger)
    assert ledger.path is not None
    holder = sqlite3.connect(ledger.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(VortexError, match="another process holds it"):
        add(Ledger(ledger.url, timeout=0.2))
    assert len(Ledger(ledger.url, timeout=0.2).entries()) == 1, "a writer must not keep readers out"
    holder.execute("ROLLBACK")
    holder.close()


def test_a_writer_does_not_wait_for_ever_on_postgresql(both: Ledger) -> None:
    from sqlalchemy import create_engine, text

    if both.path is not None:
        pytest.skip("sqlite has a test of its own, above")
    add(both)
    holder = create_engine(both.url.reveal())
    with holder.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({database.ADVISORY_LOCK})"))
        with pytest.raises(VortexError, match="another process holds it") as caught:
            add(Ledger(both.url, timeout=0.2))
        assert "wait for that process" in caught.value.hint
        assert len(both.entries()) == 1, "a writer must not keep readers out"
    holder.dispose()


def test_a_full_disk_says_so_and_keeps_what_was_there(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    add(ledger)
    opened = database._open_sqlite

    def small(path: Path, timeout: float, create: bool = False) -> sqlite3.Connection:
        connection = opened(path, timeout, create)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        return connection

    monkeypatch.setattr(database, "_open_sqlite", small)
    with pytest.raises(VortexError, match="disk is full"):
        ledger.append(Note("big", text="x" * 100_000), actor="Ada")
    monkeypatch.undo()
    assert ledger.verify().seq == 1


def test_a_read_only_folder_can_be_read_and_not_written(ledger: Ledger) -> None:
    add(ledger)
    assert ledger.path is not None
    # Root may write anywhere, so the check runs as `nobody` where we are root.
    folder = ledger.path.parent
    if os.getuid() == 0:
        for parent in (folder, *list(folder.parents)[:3]):
            if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
                parent.chmod(0o755)
        ledger.path.chmod(0o644)
    else:
        folder.chmod(0o555)
        ledger.path.chmod(0o444)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            seen = len(ledger.entries())
            try:
                add(Ledger(ledger.url, timeout=1))
            except VortexError as error:
                code = 0 if seen == 1 and "cannot be opened or written" in error.message else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.getuid() != 0:
        folder.chmod(0o755)
    assert os.waitstatus_to_exitcode(status) == 0


def test_reading_imports_neither_sqlalchemy_nor_mlflow(ledger: Ledger, make_new: Callable[..., NewVersion]) -> None:
    import sys

    ledger.append(VersionRegistered("v6", make_new(), 1), actor="Ada")
    program = (
        "import sys; from registry.ledger import Ledger; from registry.versions import Hub\n"
        f"assert len(Ledger({ledger.url.reveal()!r}).entries()) == 1; hub = Hub.open('x', 'y', {ledger.url.reveal()!r})\n"
        "assert [summary.name for summary in hub.listing().summaries] == [hub.described('v6').name]\n"
        "print([name for name in ('sqlalchemy', 'mlflow', 'torch', 'pandas', 'numpy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
