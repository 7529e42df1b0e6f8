"""The ledger: an append-only, hash-chained table of who did what when, why and from which commit. Everything else is folded from it.

Each event's hash is the SHA-256 over the canonical JSON of its fields and of the previous event's hash, so that an edit anywhere breaks the
chain from there on. Deciding and appending share one transaction, and writers queue for it. On sqlite a rollback journal is used, not WAL:
WAL needs shared memory, which network file systems lack, and cannot be read from a read-only folder.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from core.errors import VortexError
from core.files import locked
from registry import database
from registry.records import to_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

GENESIS = "0" * 64
"""The hash that the first event follows."""

Claim = tuple[str, int]
"""Something that can be taken once: a version's number, a run's registration, a channel's next move."""

HEAD_COLUMNS = "seq, previous, hash, kind, subject, at, actor, reason, git_commit, head"


class Recordable(Protocol):
    """What can be appended: `registry.events` has a class for each kind, the ledger itself knows none."""

    kind: ClassVar[str]
    shape: ClassVar[int]

    @property
    def subject(self) -> str:
        """What it is about."""

    def head(self) -> dict[str, Any]:
        """What listings fold."""

    def body(self) -> dict[str, Any]:
        """The rest."""

    def claims(self) -> Sequence[Claim]:
        """What no other event can take again."""


class Entry(NamedTuple):
    """One line of the ledger. `head` holds what listings fold, `body` the rest (None where it was not asked for).

    A tuple, because thousands are made for a listing and a frozen dataclass takes three times as long.
    """

    seq: int
    previous: str
    hash: str
    kind: str
    subject: str
    at: str
    actor: str
    reason: str
    commit: str | None
    head: dict[str, Any]
    body: dict[str, Any] | None


@dataclass(frozen=True)
class ChainHead:
    """Where the chain ends. Kept elsewhere, it also shows that the newest events were not cut off."""

    seq: int
    hash: str


class NotUnderstood(VortexError):
    """An entry says what this vortex does not know."""


class Reader(ABC):
    """The three questions that both a passer-by and a writer ask."""

    @abstractmethod
    def _rows(self, query: str, values: Mapping[str, object]) -> list[Sequence[Any]]: ...

    def entries(
        self,
        *,
        kinds: Sequence[str] = (),
        without: Sequence[str] = (),
        subject: str | None = None,
        bodies: bool = True,
        last: int | None = None,
    ) -> list[Entry]:
        """Entries of these kinds (`without` those) and this subject, oldest first, or the newest `last` of them.

        None while the ledger does not exist.
        """
        rows = self._rows(*_select(kinds, without, subject, bodies, last))
        if last is not None:
            rows.reverse()
        try:
            # One call for all heads: half the time of one call each.
            heads = json.loads(f"[{','.join([row[9] for row in rows])}]")
            return [Entry._make((*row[:9], head, json.loads(row[10]) if bodies else None)) for row, head in zip(rows, heads, strict=True)]
        except (ValueError, TypeError):
            return [_entry(row) for row in rows]

    def claimed(self, scope: str, number: int) -> str | None:
        """The subject of the event that took `number` in `scope`, or None while it is free."""
        query = "SELECT subject FROM events JOIN claims ON claims.event = events.seq WHERE scope = :scope AND number = :number"
        return next((str(row[0]) for row in self._rows(query, {"scope": scope, "number": number})), None)

    def highest(self, scope: str) -> int:
        """The highest number taken in `scope`; 0 when none is."""
        rows = self._rows("SELECT max(number) FROM claims WHERE scope = :scope", {"scope": scope})
        return int(rows[0][0] or 0) if rows else 0


class Transaction(Reader):
    """What one writer sees and adds while all others wait."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _rows(self, query: str, values: Mapping[str, object]) -> list[Sequence[Any]]:
        from sqlalchemy import text

        return list(self._connection.execute(text(query), dict(values)))

    def append(self, event: Recordable, *, actor: str, reason: str = "", commit: str | None = None) -> Entry:
        """Add one event, after all others; it takes the numbers that it claims, which no other event can have."""
        from sqlalchemy import select

        tables = database.tables()
        last = self._connection.execute(
            select(tables.events.c.seq, tables.events.c.hash).order_by(tables.events.c.seq.desc()).limit(1)
        ).first()
        shape = {"shape": event.shape} if event.shape > 1 else {}
        row: dict[str, Any] = {
            "seq": last.seq + 1 if last else 1,
            "previous": last.hash if last else GENESIS,
            "kind": event.kind,
            "subject": _clean(event.subject),
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "actor": _clean(actor),
            "reason": _clean(reason),
            "git_commit": _clean(commit) if commit else None,
            "head": canonical(event.head() | shape),
            "body": canonical(event.body()),
        }
        row["hash"] = chained(row)
        self._connection.execute(tables.events.insert(), row)
        for scope, number in event.claims():
            self._connection.execute(tables.claims.insert(), {"scope": scope, "number": number, "event": row["seq"]})
        return _entry([row[name] for name in (*HEAD_COLUMNS.split(", "), "body")])


class Ledger(Reader):
    """The ledger at a SQLAlchemy URL. Reading creates nothing; the first transaction makes the tables."""

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self.url = url
        self.timeout = timeout

    @property
    def path(self) -> Path | None:
        """The file of a sqlite ledger, else None."""
        return database.sqlite_path(self.url)

    def _rows(self, query: str, values: Mapping[str, object]) -> list[Sequence[Any]]:
        with database.explained(self.url):
            return list(database.read(self.url, query, values, self.timeout))

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Decide and append as one: all of it is in the ledger after a clean exit, none of it after an error or a kill."""
        with database.explained(self.url):
            engine = database.engine(self.url, self.timeout)
            try:
                if not database.exists(self.url, self.timeout):
                    with self._creation_lock():
                        database.create(engine)
                with engine.begin() as connection:
                    database.queue_up(connection)
                    yield Transaction(connection)
            finally:
                engine.dispose()

    def append(self, event: Recordable, *, actor: str, reason: str = "", commit: str | None = None) -> Entry:
        """Add one event that needs no decision."""
        with self.transaction() as tx:
            return tx.append(event, actor=actor, reason=reason, commit=commit)

    def verify(self, expected: ChainHead | None = None) -> ChainHead:
        """Walk the whole chain and return its end.

        Raises VortexError naming the first event that is not what was written: edited, missing, inserted or out of order. A chain whose
        newest events were cut off is still a chain: `expected`, an end that was noted earlier, shows that too.
        """
        last = ChainHead(0, GENESIS)
        query, values = _select((), (), None, True)
        with database.explained(self.url):
            for raw in database.read(self.url, query, values, self.timeout):
                row = dict(zip((*HEAD_COLUMNS.split(", "), "body"), raw, strict=True))
                if row["seq"] != last.seq + 1:
                    raise _broken(self.url, last.seq + 1, f"it is missing; the next one found is {row['seq']}")
                if row["previous"] != last.hash:
                    raise _broken(self.url, row["seq"], f"it follows {row['previous'][:12]}…, but event {last.seq} is {last.hash[:12]}…")
                if row["hash"] != chained(row):
                    raise _broken(self.url, row["seq"], f"its content ({row['kind']} of {row['subject']}) does not match its hash")
                last = ChainHead(row["seq"], row["hash"])
                if expected and expected.seq == last.seq and expected.hash != last.hash:
                    raise _broken(self.url, last.seq, f"it is {last.hash[:12]}…, but {expected.hash[:12]}… was noted")
        claimed = int(next(iter(self._rows("SELECT max(event) FROM claims", {})), (0,))[0] or 0)
        if claimed > last.seq:
            raise _broken(self.url, last.seq + 1, f"it is missing: the chain ends at {last.seq}, but event {claimed} has taken a number")
        if expected and expected.seq > last.seq:
            raise _broken(self.url, last.seq + 1, f"it is missing: the chain ends at {last.seq}, but {expected.seq} was noted")
        return last

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Around what folds events: one that lacks what it should say ends in VortexError, naming the first event that was changed."""
        try:
            yield
        except NotUnderstood:
            self.verify()
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            self.verify()
            raise VortexError(
                f"ledger {database.shown(self.url)}: its chain is intact, but an event lacks what this vortex expects ({error!r})",
                "it was perhaps written by a newer vortex: update this one",
            ) from error

    @contextmanager
    def _creation_lock(self) -> Iterator[None]:
        if self.path is None:
            yield
            return
        with locked(self.path.with_name(f".{self.path.name}.lock"), self.timeout):
            yield


def canonical(value: object) -> str:
    """JSON with one spelling: sorted keys, no spaces, UTF-8, no NaN. Records are converted; lone surrogates are replaced."""
    return _clean(json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def chained(row: Mapping[str, Any]) -> str:
    """The hash of an event: over its fields as they are stored and the previous event's hash."""
    fields = {name: row[name] for name in ("seq", "previous", "kind", "subject", "at", "actor", "reason", "git_commit", "head", "body")}
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


def _select(
    kinds: Sequence[str], without: Sequence[str], subject: str | None, bodies: bool, last: int | None = None
) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {}
    where = []
    for condition, names in (("kind IN", kinds), ("kind NOT IN", without)):
        bound = {f"kind{len(values) + number}": kind for number, kind in enumerate(names)}
        values |= bound
        where += [f"{condition} ({', '.join(f':{name}' for name in bound)})"] if bound else []
    if subject is not None:
        where.append("subject = :subject")
        values["subject"] = subject
    conditions = f" WHERE {' AND '.join(where)}" if where else ""
    order = "" if last is None else f" DESC LIMIT {int(last)}"
    return f"SELECT {HEAD_COLUMNS}{', body' if bodies else ''} FROM events{conditions} ORDER BY seq{order}", values


def _entry(row: Sequence[Any]) -> Entry:
    try:
        return Entry._make((*row[:9], json.loads(row[9]), json.loads(row[10]) if len(row) > 10 else None))
    except (ValueError, TypeError) as error:
        raise VortexError(f"ledger event {row[0]} is not readable: {error}", "restore the ledger from a backup") from error


def _clean(text: str) -> str:
    # PostgreSQL cannot store NUL, and neither database a lone surrogate from a file name or a terminal.
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _broken(url: str, seq: int, fault: str) -> VortexError:
    return VortexError(
        f"{database.shown(url)}: the chain breaks at event {seq}: {fault}",
        "someone changed the ledger behind Vortex's back: restore it from a backup, and compare what differs from there on",
    )
