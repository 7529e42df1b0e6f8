"""The ledger: an append-only, hash-chained table of who did what when, why and from which commit. Everything else is folded from it.

An edit anywhere breaks the chain of hashes from there on (`registry.chain`). Deciding and appending share one transaction, and writers queue for it. On sqlite a rollback journal is used, not WAL:
WAL needs shared memory, which network file systems lack, and cannot be read from a read-only folder.

A chain that was written anew as a whole, or whose end was cut off, is a chain again. So its head is noted outside, in a file after every
append, and a transaction starts by following the chain from there to its end: it costs as much as there are new events. Where these are many,
as for who has noted no head yet, they are followed before it queues, so that no other writer waits for that.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol

from core.errors import VortexError
from core.files import locked, read_regular, write_atomic
from core.printable import clean, one_line
from core.secret import SecretUrl
from registry import database, outbox
from registry.chain import COLUMNS, HEAD_COLUMNS, ChainHead, broken, canonical, chained, follow, require_noted, stored
from registry.outbox import Subscription
from registry.records import to_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

Claim = tuple[str, int]
"""Something that can be taken once: a version's number, a run's registration, a channel's next move."""

LARGEST_HEAD: Final = 4096

PAGE: Final = 1000
"""Entries that a long reading holds at once: some megabytes."""
log = logging.getLogger("vortex.registry")


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


class EntryError(VortexError):
    """Something about an entry, whose words somebody else may have written: whatever they hold, the message is one line."""

    def __init__(self, message: str, hint: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(one_line(message), hint, details)


class NotUnderstood(EntryError):
    """An entry says what this vortex does not know."""


class Contradiction(EntryError):
    """An entry cannot follow those before it: whoever wrote it went round the transaction that decides."""


class Reader(ABC):
    """The three questions that both a passer-by and a writer ask."""

    @abstractmethod
    def _rows(self, query: str, values: Mapping[str, object]) -> list[Sequence[Any]]: ...

    def entries(
        self,
        *,
        kinds: Sequence[str] = (),
        without: Sequence[str] = (),
        subject: str | Sequence[str] | None = None,
        naming: str | None = None,
        after: int | None = None,
        bodies: bool = True,
        first: int | None = None,
        last: int | None = None,
    ) -> list[Entry]:
        """Entries of these kinds (`without` those), of this subject or one of these, of channels and with the text `naming` as a value of their head, and
        with a number greater than `after`. Oldest first: all, the `first` or the newest `last` of them.

        None while the ledger does not exist.
        """
        rows = self._rows(*_select(kinds, without, subject, bodies, naming=naming, after=after, first=first, last=last))
        if last is not None:
            rows.reverse()
        try:
            # One call for all heads: half the time of one call each.
            heads = json.loads(f"[{','.join([row[9] for row in rows])}]")
            entries = [
                Entry._make((*row[:9], head, json.loads(row[10]) if bodies else None)) for row, head in zip(rows, heads, strict=True)
            ]
        except (ValueError, TypeError, RecursionError):
            return [entry_of(row) for row in rows]
        if all(type(entry.head) is dict and (not bodies or type(entry.body) is dict) for entry in entries):
            return entries
        return [entry_of(row) for row in rows]

    def each(self, **which: Any) -> Iterator[Entry]:
        """The same entries, oldest first, without ever holding many of them.

        They are read page by page, and between two pages nothing is held open: a slow reader must not keep others from writing.
        """
        after = 0
        while page := self.entries(**which, after=after, first=PAGE):
            yield from page
            after = page[-1].seq

    def rows(self, after: int) -> Iterator[Sequence[Any]]:
        """Events after this number as they are stored, with all columns; page by page, as `each` reads."""
        query = f"SELECT {', '.join(COLUMNS)} FROM events WHERE seq > :after ORDER BY seq LIMIT {PAGE}"
        while page := self._rows(query, {"after": after}):
            yield from page
            after = int(page[-1][0])

    def subjects(self, kinds: Sequence[str]) -> list[str]:
        """What entries of these kinds are about, each once."""
        names = {f"kind{number}": kind for number, kind in enumerate(kinds)}
        rows = self._rows(f"SELECT DISTINCT subject FROM events WHERE kind IN ({', '.join(f':{name}' for name in names)})", names)
        return sorted(str(row[0]) for row in rows)

    def last(self) -> int:
        """The number of the last event; 0 where there is none."""
        rows = self._rows("SELECT max(seq) FROM events", {})
        return int(rows[0][0] or 0) if rows else 0

    def hashes(self, numbers: Sequence[int]) -> dict[int, str]:
        """Number → hash of those of these events that are there."""
        names = {f"number{place}": number for place, number in enumerate(numbers)}
        rows = self._rows(f"SELECT seq, hash FROM events WHERE seq IN ({', '.join(f':{name}' for name in names)})", names)
        return {int(row[0]): str(row[1]) for row in rows}

    def claimed(self, scope: str, number: int) -> str | None:
        """The subject of the event that took `number` in `scope`, or None while it is free."""
        query = "SELECT subject FROM events JOIN claims ON claims.event = events.seq WHERE scope = :scope AND number = :number"
        return next((str(row[0]) for row in self._rows(query, {"scope": scope, "number": number})), None)

    def highest(self, scope: str) -> int:
        """The highest number taken in `scope`; 0 when none is."""
        rows = self._rows("SELECT max(number) FROM claims WHERE scope = :scope", {"scope": scope})
        return int(rows[0][0] or 0) if rows else 0

    def claims(self) -> dict[Claim, int]:
        """Everything that is taken → the event that took it."""
        return {(scope, number): event for scope, number, event in self._rows("SELECT scope, number, event FROM claims", {})}


class Transaction(Reader):
    """What one writer sees and adds while all others wait. `head` is where the chain ends for it.

    Whatever it appends is put into the outbox too, for each of `subscriptions` that is to be sent it; `queued` counts that.
    """

    def __init__(self, connection: Connection, head: ChainHead, subscriptions: Sequence[Subscription] = ()) -> None:
        self._connection = connection
        self._subscriptions = subscriptions
        self.head = head
        self.queued = 0

    def _rows(self, query: str, values: Mapping[str, object]) -> list[Sequence[Any]]:
        from sqlalchemy import text

        return list(self._connection.execute(text(query), dict(values)))

    def append(self, event: Recordable, *, actor: str, reason: str = "", commit: str | None = None) -> Entry:
        """Add one event, after all others; it takes the numbers that it claims, which no other event can have.

        It keeps no secret that a reason or a setting may hold, and no character that commands the terminal of who reads it.
        """
        tables = database.tables()
        shape = {"shape": event.shape} if event.shape > 1 else {}
        row: dict[str, Any] = {
            "seq": self.head.seq + 1,
            "previous": self.head.hash,
            "kind": event.kind,
            "subject": stored(clean(event.subject)),
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "actor": stored(clean(actor)),
            "reason": stored(clean(reason)),
            "git_commit": stored(clean(commit)) if commit else None,
            "head": canonical(_clean_values(to_json(event.head() | shape))),
            "body": canonical(_clean_values(to_json(event.body()))),
        }
        row["hash"] = chained(row)
        self._connection.execute(tables.events.insert(), row)
        for scope, number in event.claims():
            self._connection.execute(tables.claims.insert(), {"scope": scope, "number": number, "event": row["seq"]})
        for subscription in self._subscriptions:
            if subscription.wants(row["kind"], row["subject"]):
                self._connection.execute(tables.outbox.insert(), outbox.waiting_row(subscription.hook, row["seq"], row["hash"]))
                self.queued += 1
        self.head = ChainHead(self.head.ledger or row["hash"], row["seq"], row["hash"])
        return entry_of([row[name] for name in COLUMNS])

    def seal(self, place: str) -> None:
        """Have the ledger take no event after this transaction, because it moved to `place`; take them again for an empty one."""
        if place:
            database.seal(self._connection, place)
        else:
            database.reopen(self._connection)

    def adopt(self, rows: Iterable[Sequence[Any]], claims: Mapping[Claim, int], url: SecretUrl) -> int:
        """Add events of another ledger, at `url`, as they are, and the numbers that they took; how many. No hook is sent them once more.

        `rows` have all columns and follow this ledger's end. Raises VortexError where they do not, or where their chain breaks. A ledger that
        moved away takes what comes back, and nothing else until it is opened again.
        """
        tables = database.tables()
        taken: dict[int, list[Claim]] = {}
        for claim, event in claims.items():
            taken.setdefault(event, []).append(claim)
        before = self.head.seq
        moved = database.condition(self._connection).moved
        if moved:
            database.reopen(self._connection)
        for row in rows:
            (self.head,) = follow(url, self.head, [row])
            self._connection.execute(tables.events.insert(), dict(zip(COLUMNS, row, strict=True)))
            for scope, number in taken.get(self.head.seq, ()):
                self._connection.execute(tables.claims.insert(), {"scope": scope, "number": number, "event": self.head.seq})
        if moved:
            database.seal(self._connection, moved)
        return self.head.seq - before


class Ledger(Reader):
    """The ledger at a SQLAlchemy URL. Reading creates nothing; the first transaction makes the tables.

    `head_file` is where its head is noted after every append; without one it is noted in this object alone.
    `guarded` is False for the audit, which reads a ledger also where its triggers are missing. What is appended is put into the outbox
    for each of `subscriptions` that is to be sent it, and `on_queued` is called once that is committed.
    """

    def __init__(
        self,
        url: SecretUrl | str,
        timeout: float = 60.0,
        head_file: Path | None = None,
        *,
        guarded: bool = True,
        subscriptions: Sequence[Subscription] = (),
        on_queued: Callable[[], None] | None = None,
    ) -> None:
        self.url = SecretUrl.of(url)
        self.timeout = timeout
        self.head_file = head_file
        self.guarded = guarded
        self.subscriptions = tuple(subscriptions)
        self.on_queued = on_queued
        self._head = ChainHead()

    @property
    def path(self) -> Path | None:
        """The file of a sqlite ledger, else None."""
        return database.sqlite_path(self.url)

    def _rows(self, query: str, values: Mapping[str, object]) -> list[Sequence[Any]]:
        try:
            with database.explained(self.url):
                rows: list[Sequence[Any]] = list(database.read(self.url, query, values, self.timeout, self.guarded))
        except database.Unguarded:
            self.verify()  # names the event, where one was changed
            raise
        if not rows:
            self.require_file()
        return rows

    def parts(self, kinds: Sequence[str], names: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
        """What each entry of these kinds is about, with the fields `names` of its body, oldest first; None for a field that it does not have.

        The database takes the fields out of the bodies: of thousands, reading them whole would take most of a listing's time and memory.
        """
        try:
            rows = self._rows(*_select_parts(kinds, names, sqlite=self.path is not None))
            taken: list[tuple[str, dict[str, Any]]] | None = [(str(subject), _object(text)) for subject, text in rows]
        except (VortexError, ValueError, RecursionError):
            taken = None
        if taken is None or any(all(value is None for value in fields.values()) for _, fields in taken):
            # A body that is no JSON, or no object, is read once more, by what names it.
            return [(entry.subject, {name: (entry.body or {}).get(name) for name in names}) for entry in self.entries(kinds=kinds)]
        return taken

    def require_file(self) -> None:
        """Raise VortexError where the ledger's file is gone or without a byte, and an event of it was noted: nothing would be in quarantine."""
        if self.path and not (self.path.exists() and self.path.stat().st_size) and (noted := self.noted()).seq:
            raise VortexError(
                f"{database.shown(self.url)}: is not there, but its event {noted.seq} was noted in {self.head_file or 'an earlier look'}",
                "put the file back, or restore it from a backup; `ledger` in vortex.toml says where it lies",
            )

    @property
    def moved(self) -> str:
        """Where all of the ledger was brought, so that it takes no event any more; empty where it is open."""
        with database.explained(self.url):
            return database.look(self.url, self.timeout).moved

    @contextmanager
    def transaction(self, *, moved: bool = False) -> Iterator[Transaction]:
        """Decide and append as one: all of it is in the ledger after a clean exit, none of it after an error or a kill.

        Raises VortexError, having written nothing, where the chain does not lead from its noted head to its end, and Moved where the
        ledger was brought elsewhere, unless it may be `moved`.
        """
        with database.explained(self.url):
            noted = self._caught_up(self.noted())
            engine = database.engine(self.url, self.timeout)
            try:
                with self._creation_lock(), engine.begin() as connection:
                    database.queue_up(connection, self.timeout)
                    state = database.condition(connection)
                    database.require(self.url, state)
                    if not moved:
                        database.require_here(self.url, state)
                    if state.schema < database.SCHEMA:
                        database.create(connection)
                    tx = Transaction(connection, noted, self.subscriptions)
                    tx.head = self._follow_tail(tx, noted)
                    yield tx
            finally:
                engine.dispose()
        self._note(tx.head)
        if tx.queued and self.on_queued:
            self.on_queued()

    def append(self, event: Recordable, *, actor: str, reason: str = "", commit: str | None = None) -> Entry:
        """Add one event that needs no decision."""
        with self.transaction() as tx:
            return tx.append(event, actor=actor, reason=reason, commit=commit)

    def noted(self) -> ChainHead:
        """The head that was noted last; an empty one where none was. Raises VortexError when the file holds something else."""
        return max(self._written(), self._head, key=lambda head: head.seq)

    def verify(self, heads: Mapping[str, ChainHead] | None = None) -> ChainHead:
        """Walk the whole chain and return its end.

        Raises VortexError naming the first event that is not what was written: edited, missing, inserted or out of order; and Unguarded
        where all are, but the triggers that keep them are not. A chain that was cut off or written anew is still a chain: `heads`, noted
        earlier, by the place where each was noted, show that too; the one in `head_file` is always asked.
        """
        noted = {**(heads or {}), str(self.head_file or "an earlier look"): self.noted()}
        expected: dict[int, list[tuple[str, ChainHead]]] = {}
        for where, head in noted.items():
            expected.setdefault(head.seq, []).append((where, head))
        end = ChainHead()
        query, values = _select((), (), None, True)
        with database.explained(self.url):
            for head in follow(self.url, end, database.read(self.url, query, values, self.timeout, guarded=False)):
                end = head
                for where, other in expected.get(end.seq, ()):
                    require_noted(self.url, end, other, where)
            for where, head in noted.items():
                if head.seq > end.seq:
                    require_noted(self.url, end, head, where)
            claimed = max((event or 0 for event in self.unguarded().claims().values()), default=0)
            if claimed > end.seq:
                raise broken(self.url, end.seq + 1, f"it is missing: the chain ends at {end.seq}, but event {claimed} has taken a number")
            if self.guarded:
                database.require(self.url, database.look(self.url, self.timeout))
        return end

    def rebuild(self, claims: Mapping[Claim, int]) -> None:
        """Put these claims in the place of those that are there, and every trigger back. Raises VortexError where the chain is broken."""
        self.unguarded().verify()
        with database.explained(self.url):
            engine = database.engine(self.url, self.timeout)
            try:
                with engine.begin() as connection:
                    database.queue_up(connection, self.timeout)
                    self._follow_tail(Transaction(connection, ChainHead()), self.noted())
                    database.rebuild(connection, claims)
            finally:
                engine.dispose()

    def seal(self, place: str, head: ChainHead) -> bool:
        """Take no event any more, and name `place` to who appends; False, and nothing changed, where the ledger does not end at `head`."""
        with self.transaction(moved=True) as tx:
            if tx.head == head:
                tx.seal(place)
            return tx.head == head

    def reopen(self) -> None:
        """Take events again."""
        with self.transaction(moved=True) as tx:
            tx.seal("")

    def unguarded(self) -> Ledger:
        """The same ledger, read also where its triggers are missing."""
        return Ledger(self.url, self.timeout, self.head_file, guarded=False)

    def _caught_up(self, noted: ChainHead) -> ChainHead:
        """The head from which a writer follows the chain: the one that was noted, or the end of now where that is more than a page further on.

        Only the first transaction asks: from then on this object knows where the chain ended.
        """
        reader = self.unguarded()  # whether the triggers stand is asked by the transaction
        if self._head.seq or reader.last() - noted.seq <= PAGE:
            return noted
        return self._follow_tail(reader, noted)

    def _follow_tail(self, reader: Reader, noted: ChainHead) -> ChainHead:
        """The end of the chain that `reader` sees, followed from the noted head on, or from its beginning where none was noted."""
        end = ChainHead()
        if noted.seq:
            hashes = reader.hashes((1, noted.seq))
            first = hashes.get(1, "")
            end = ChainHead(first, noted.seq, hashes[noted.seq]) if noted.seq in hashes else ChainHead(first, reader.last())
            require_noted(self.url, end, noted, str(self.head_file or "an earlier look"))
        for head in follow(self.url, end, reader.rows(end.seq)):
            end = head
        return end

    def _written(self) -> ChainHead:
        """The head in the file."""
        try:
            return (
                ChainHead.parse(read_regular(self.head_file, LARGEST_HEAD).decode("utf-8", "replace"), str(self.head_file))
                if self.head_file
                else ChainHead()
            )
        except FileNotFoundError:
            return ChainHead()

    def _note(self, head: ChainHead) -> None:
        """Note the head of what is now committed. Another process may have noted a later one by now: then that one stays."""
        self._head = head
        if self.head_file is None:
            return
        try:
            if self._written().seq < head.seq:
                write_atomic(self.head_file, head.text() + "\n")
        except (VortexError, OSError) as error:
            log.warning("the ledger has it, but its head could not be noted: %s", error)

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Around what folds events: one that lacks what it should say ends in VortexError, naming the first event that was changed."""
        try:
            yield
        except (NotUnderstood, Contradiction):
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
        """Around a transaction: those that find no tables in a sqlite file come one after the other. PostgreSQL's queue by its lock."""
        if self.path is None or database.look(self.url, self.timeout).schema >= database.SCHEMA:
            yield
            return
        with locked(self.path.with_name(f".{self.path.name}.lock"), self.timeout):
            yield


def _select(
    kinds: Sequence[str],
    without: Sequence[str],
    subject: str | Sequence[str] | None,
    bodies: bool,
    *,
    naming: str | None = None,
    after: int | None = None,
    first: int | None = None,
    last: int | None = None,
) -> tuple[str, dict[str, object]]:
    values: dict[str, object] = {}
    where = []
    subjects = () if subject is None else (subject,) if isinstance(subject, str) else subject
    for condition, names in (("kind IN", kinds), ("kind NOT IN", without), ("subject IN", subjects)):
        bound = {f"name{len(values) + number}": name for number, name in enumerate(names)}
        values |= bound
        where += [f"{condition} ({', '.join(f':{name}' for name in bound)})"] if bound else []
    if naming is not None:
        # Channels' subjects alone have a slash: the index over subjects leads to their few events.
        where.append("seq IN (SELECT seq FROM events WHERE subject LIKE '%/%') AND head LIKE :naming ESCAPE '!'")
        text = canonical(naming)
        values["naming"] = f"%{''.join(f'!{letter}' if letter in '!%_' else letter for letter in text)}%"
    if after is not None:
        where.append("seq > :after")
        values["after"] = after
    conditions = f" WHERE {' AND '.join(where)}" if where else ""
    order = f" DESC LIMIT {int(last)}" if last is not None else f" LIMIT {int(first)}" if first is not None else ""
    return f"SELECT {HEAD_COLUMNS}{', body' if bodies else ''} FROM events{conditions} ORDER BY seq{order}", values


def _select_parts(kinds: Sequence[str], names: Sequence[str], *, sqlite: bool) -> tuple[str, dict[str, object]]:
    """Subjects, and one JSON object of these fields of each body: both databases have the functions, but not by the same names."""
    where, values = _select(kinds, (), None, False)
    field = "json_extract(body, '$.{0}')" if sqlite else "CAST(body AS json) -> '{0}'"
    fields = ", ".join(f"'{name}', {field.format(name)}" for name in names)
    built = f"json_object({fields})" if sqlite else f"CAST(json_build_object({fields}) AS text)"
    return where.replace(f"SELECT {HEAD_COLUMNS}", f"SELECT subject, {built}", 1), values


def entry_of(row: Sequence[Any]) -> Entry:
    """The entry that a stored row is. Raises VortexError where its head or body is no JSON object."""
    try:
        return Entry._make((*row[:9], _object(row[9]), _object(row[10]) if len(row) > 10 else None))
    except (ValueError, TypeError, RecursionError) as error:
        raise VortexError(f"ledger event {row[0]} is not readable: {error}", "restore the ledger from a backup") from error


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"{text[:60]!r} is no object")
    return value


def _clean_values(value: Any) -> Any:
    """Every text of a value as JSON knows it, keys too, as others may show it."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _clean_values(item) for key, item in value.items()}
    return [_clean_values(item) for item in value] if isinstance(value, list) else value
