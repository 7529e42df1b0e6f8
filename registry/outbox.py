"""The outbox: which event a hook is still to be sent, and what became of those that it was sent.

A row is written in the transaction of its event, so there is no event without its deliveries and no delivery without its event. Rows of
a hook are taken in the order of their events by one process at a time. Who holds a hook holds a lock that ends with the process, not a
lease that ends with a time: clocks differ, and a process that is merely slow would go on beside the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from core.files import locked_now
from core.secret import SecretUrl
from registry import database

if TYPE_CHECKING:
    from sqlalchemy import Connection

State = Literal["waiting", "delivered", "refused", "dropped", "moved"]
"""`refused` by the receiver for what it says, `dropped` by a person, `moved` with the ledger to another database."""
HOOK_LOCK: Final = 0x686F6F6B
"""First key of the locks by which PostgreSQL lets one process at a hook; "hook" in ASCII. The second is the hash of schema and name."""
IDS: Final = "6f4fc0ce-1a43-5cf0-9f0c-9d8d6a3f5c21"
"""The namespace of the ids (UUID version 5 over the event's hash and the hook's name): a delivery has one, however often it is tried."""

_DELIVERY: Final = (
    "outbox.hook, outbox.event, outbox.id, outbox.state, outbox.attempts, outbox.tried_at, outbox.due, outbox.answer,"
    " events.kind, events.subject, events.at"
)
"""The columns of a `Delivery`, in its order."""
_JOINED: Final = "FROM outbox JOIN events ON events.seq = outbox.event"
_OLDEST: Final = f"{_JOINED} WHERE outbox.state = 'waiting' AND outbox.hook = :hook ORDER BY outbox.event LIMIT 1"
_PUT: Final = (
    "INSERT INTO outbox (hook, event, id, state, attempts, tried_at, due, answer)"
    " VALUES (:hook, :event, :id, :state, :attempts, :tried_at, :due, :answer)"
    " ON CONFLICT (hook, event) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, tried_at = excluded.tried_at,"
    " due = excluded.due, answer = excluded.answer"
)


@dataclass(frozen=True)
class Subscription:
    """Which events a hook is sent: those whose kind fits one of the patterns, and with `channels` those of such channels alone."""

    hook: str
    kinds: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ()

    def wants(self, kind: str, subject: str) -> bool:
        """Whether an event of this kind about this subject is to be sent."""
        if not any(fnmatchcase(kind, pattern) for pattern in self.kinds):
            return False
        return not self.channels or (kind.startswith("channel.") and any(fnmatchcase(subject, pattern) for pattern in self.channels))


class Delivery(NamedTuple):
    """One event for one hook. `due` is the Unix time in seconds before which it is not tried again by itself, `answer` the last one."""

    hook: str
    event: int
    id: str
    state: State
    attempts: int
    tried_at: str | None
    due: float
    answer: str
    kind: str
    subject: str
    at: str


class Backlog(NamedTuple):
    """How many deliveries a hook has that wait, and that were refused."""

    hook: str
    waiting: int
    refused: int


class Queue:
    """The waiting deliveries of a hook, in the hand of this process alone."""

    def __init__(self, connection: Connection, hook: str) -> None:
        self._connection = connection
        self.hook = hook

    def first(self, columns: Sequence[str]) -> tuple[Delivery, Sequence[Any]] | None:
        """The oldest one, and these columns of its event; None where nothing waits."""
        names = ", ".join(f"events.{name}" for name in columns)
        row = next(iter(_execute(self._connection, f"SELECT {_DELIVERY}, {names} {_OLDEST}", {"hook": self.hook})), None)
        width = len(Delivery._fields)
        return (Delivery._make(row[:width]), row[width:]) if row else None

    def settle(self, delivery: Delivery, state: State, answer: str, *, at: str, due: float = 0.0) -> None:
        """Note what became of a delivery that was tried."""
        query = (
            "UPDATE outbox SET state = :state, answer = :answer, attempts = attempts + 1, tried_at = :at, due = :due"
            " WHERE hook = :hook AND event = :event"
        )
        values = {"state": state, "answer": answer, "at": at, "due": due, "hook": self.hook, "event": delivery.event}
        _execute(self._connection, query, values)


class Outbox:
    """The outbox of the ledger at a SQLAlchemy URL. Reading creates nothing; a ledger that has none yet has an empty one."""

    def __init__(self, url: SecretUrl | str, timeout: float = 60.0) -> None:
        self.url = SecretUrl.of(url)
        self.timeout = timeout

    def backlogs(self) -> list[Backlog]:
        """The hooks that something waits for, or that have refused something, by name."""
        query = (
            "SELECT hook, sum(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END), sum(CASE WHEN state = 'refused' THEN 1 ELSE 0 END)"
            " FROM outbox WHERE state IN ('waiting', 'refused') GROUP BY hook ORDER BY hook"
        )
        return [Backlog(str(hook), int(waiting), int(refused)) for hook, waiting, refused in self._rows(query, {})]

    def deliveries(
        self, *, hook: str | None = None, id: str | None = None, undelivered: bool = False, last: int | None = None
    ) -> list[Delivery]:
        """Deliveries of a hook, with an id that begins so, or that wait or were refused; oldest event first, the newest `last` of them."""
        where = ["outbox.hook = :hook"] if hook is not None else []
        where += ["outbox.id LIKE :id ESCAPE '!'"] if id is not None else []
        where += ["outbox.state IN ('waiting', 'refused')"] if undelivered else []
        literal = "".join(f"!{letter}" if letter in "!%_" else letter for letter in id or "")
        query = (
            f"SELECT {_DELIVERY} {_JOINED}"
            f"{' WHERE ' if where else ''}{' AND '.join(where)} ORDER BY outbox.event DESC, outbox.hook DESC"
            f"{'' if last is None else f' LIMIT {int(last)}'}"
        )
        rows = self._rows(query, {name: value for name, value in (("hook", hook), ("id", f"{literal}%")) if f":{name}" in query})
        return [Delivery._make(row) for row in reversed(rows)]

    def oldest_waiting(self, hook: str) -> Delivery | None:
        """What a hook is to be sent next."""
        return next((Delivery._make(row) for row in self._rows(f"SELECT {_DELIVERY} {_OLDEST}", {"hook": hook})), None)

    def newest(self) -> int:
        """The newest event that any hook was to be sent; 0 where there was none."""
        return next((int(row[0] or 0) for row in self._rows("SELECT max(event) FROM outbox", {})), 0)

    def orphans(self) -> list[tuple[str, int]]:
        """Hook and event of the deliveries whose event the ledger does not have."""
        return [(str(hook), int(event)) for hook, event in self._rows(f"SELECT hook, event FROM outbox WHERE {_ORPHANED}", {})]

    @contextmanager
    def exclusive(self, hook: str) -> Iterator[Queue | None]:
        """The queue of a hook; None where another process is at it. Raises VortexError where the database cannot be written."""
        with database.explained(self.url):
            engine = database.engine(self.url, self.timeout)
            try:
                with engine.connect() as connection, self._sole(connection, hook) as held:
                    yield Queue(connection, hook) if held else None
            finally:
                engine.dispose()

    def put(self, hook: str, events: Iterable[tuple[int, str]]) -> int:
        """Have a hook be sent these events (number and hash), also where it was sent them before; how many."""
        rows = [waiting_row(hook, event, hash) for event, hash in events]
        self._write(_PUT, rows)
        return len(rows)

    def drop(self, hook: str) -> int:
        """Send a hook nothing of what waits for it, and of what it has refused; how many that was."""
        rows = [{"hook": each.hook, "event": each.event} for each in self.deliveries(hook=hook, undelivered=True)]
        self._write("UPDATE outbox SET state = 'dropped' WHERE hook = :hook AND event = :event AND state IN ('waiting', 'refused')", rows)
        return len(rows)

    def remove_orphans(self) -> None:
        """Remove the deliveries of events that the ledger does not have."""
        if self.orphans():
            self._write(f"DELETE FROM outbox WHERE {_ORPHANED}", [{}])

    def carry_to(self, target: Outbox) -> int:
        """Bring what is not delivered to another database that has its events already; how many.

        There it is noted before it is crossed out here: what breaks off in between is sent twice rather than never. A delivery that the
        other place knows otherwise than as moved away stays as it is there.
        """
        rows = [each._asdict() for each in self.deliveries(undelivered=True)]
        target._write(f"{_PUT} WHERE outbox.state = 'moved'", rows)
        moved = "UPDATE outbox SET state = 'moved' WHERE hook = :hook AND event = :event AND state = :state"
        self._write(moved, [{name: row[name] for name in ("hook", "event", "state")} for row in rows])
        return len(rows)

    def _rows(self, query: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        with database.explained(self.url):
            return list(database.read(self.url, query, values, self.timeout, guarded=False, since=database.OUTBOX_SINCE))

    def _write(self, query: str, rows: Sequence[Mapping[str, Any]]) -> None:
        from sqlalchemy import text

        if not rows:
            return
        with database.explained(self.url):
            engine = database.engine(self.url, self.timeout)
            try:
                with engine.begin() as connection:
                    connection.execute(text(query), [dict(row) for row in rows])
            finally:
                engine.dispose()

    @contextmanager
    def _sole(self, connection: Connection, hook: str) -> Iterator[bool]:
        """Whether this process alone is at a hook now. The lock ends with the block, with the process, or with the connection."""
        path = database.sqlite_path(self.url)
        if path is not None:
            path = path.resolve()  # reached by a link it is the same ledger
            with locked_now(path.with_name(f".{path.name}.hook-{hook}.lock")) as held:
                yield held
            return
        query = "SELECT pg_try_advisory_lock(:key, hashtext(current_schema() || ' ' || :hook))"
        yield bool(_execute(connection, query, {"key": HOOK_LOCK, "hook": hook})[0][0])


_ORPHANED: Final = "event NOT IN (SELECT seq FROM events)"


def waiting_row(hook: str, event: int, hash: str) -> dict[str, Any]:
    """The row of an event that a hook is to be sent."""
    import uuid  # 5 ms that a listing has no use for

    id = str(uuid.uuid5(uuid.UUID(IDS), f"{hash} {hook}"))
    return {"hook": hook, "event": event, "id": id, "state": "waiting", "attempts": 0, "tried_at": None, "due": 0.0, "answer": ""}


def _execute(connection: Connection, query: str, values: Mapping[str, Any]) -> list[Sequence[Any]]:
    """One statement in a transaction of its own."""
    from sqlalchemy import text

    with connection.begin():
        result = connection.execute(text(query), dict(values))
        return list(result) if result.returns_rows else []
