"""The two databases under the ledger: its tables, its triggers, one reader, one writer, and their errors in words."""

from __future__ import annotations

import itertools
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from core.errors import VortexError
from core.files import require_regular
from core.printable import clean, one_line
from core.secret import SecretUrl

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

ADVISORY_LOCK: Final = 0x766F7274
"""Key of the lock that PostgreSQL writers queue on; "vort" in ASCII."""

CONNECT_TIMEOUT_S: Final = 10

SCHEMA: Final = 3
"""1: events and claims. 2: the schema has a number, and PostgreSQL too refuses an event that does not take the next number.
3: the outbox, with what hooks are to be sent."""

OUTBOX_SINCE: Final = 3

TABLES: Final = ("events", "claims")

APPEND_ONLY: Final = "the ledger is append-only"
NEXT_NUMBER: Final = f"{APPEND_ONLY}: an event takes the next number"

SQLITE_TRIGGERS: Final[Mapping[str, str]] = {
    **{
        f"{table}_{word.lower()}": f"BEFORE {word} ON {table} BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
        for table in TABLES
        for word in ("UPDATE", "DELETE")
    },
    # REPLACE deletes without firing the trigger above, so a row that exists is refused before it.
    "events_order": "BEFORE INSERT ON events WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)"
    f" BEGIN SELECT RAISE(ABORT, '{NEXT_NUMBER}'); END",
    "claims_once": "BEFORE INSERT ON claims WHEN EXISTS (SELECT 1 FROM claims WHERE scope = NEW.scope AND number = NEW.number)"
    f" BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}: this number is taken'); END",
}
"""Name → what follows it in `CREATE TRIGGER`."""

POSTGRES_FUNCTIONS: Final[Mapping[str, str]] = {
    "vortex_append_only": f" BEGIN RAISE EXCEPTION '{APPEND_ONLY}'; END ",
    "vortex_next_number": " BEGIN IF NEW.seq IS DISTINCT FROM (SELECT coalesce(max(seq), 0) + 1 FROM events)"
    f" THEN RAISE EXCEPTION '{NEXT_NUMBER}'; END IF; RETURN NEW; END ",
}
"""Name → body of the functions that the triggers call."""

POSTGRES_TRIGGERS: Final[Mapping[str, tuple[int, str, str]]] = {
    **{
        f"{table}_append_only": (1, f"BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT", "vortex_append_only")
        for table in TABLES
    },
    # The primary key of claims refuses what is taken; here REPLACE does not exist, and ON CONFLICT fires the trigger above.
    "events_order": (2, "BEFORE INSERT ON events FOR EACH ROW", "vortex_next_number"),
}
"""Name → the schema that brought it, when it fires, and the function that it calls."""

MOVED: Final = "ledger_moved"
"""Name of the trigger that a ledger gets when all of it was brought elsewhere. It refuses every event, whoever appends it, and says where to."""
MOVED_WORDS: Final = "the ledger has moved to "

log = logging.getLogger("vortex.registry")

_PSYCOPG: Final = re.compile(
    r"postgresql\+psycopg://(?:(?P<user>[^:/@]*)(?::(?P<password>[^@]*))?@)?(?P<host>[^/:?@\[\]]*)(?::(?P<port>\d+))?"
    r"/(?P<dbname>[^?]*)(?:\?(?P<options>.*))?"
)
_NAMED: Final = re.compile(r"(?<!:):([a-z]\w*)")
"""A value's name in a query, as SQLAlchemy and sqlite spell it."""

Ask = Callable[[str], Sequence[Sequence[Any]]]
"""One query on an open connection, and its rows."""


class Unguarded(VortexError):
    """Triggers that keep the ledger append-only are gone, switched off or replaced, or something else fires where events are written."""


class Moved(VortexError):
    """The ledger was brought elsewhere, and takes no event any more."""


@dataclass(frozen=True)
class Condition:
    """What stands in a database: the ledger's schema (0 without its tables), which of that schema's triggers do not, and where it moved to.

    `others` fire before events and claims are written and are none of the schema's: they could keep an event from being written, unsaid.
    """

    schema: int = 0
    missing: tuple[str, ...] = ()
    moved: str = ""
    others: tuple[str, ...] = ()

    @property
    def guarded(self) -> bool:
        """Whether the schema's own triggers fire where events are written, and nothing else."""
        return not (self.missing or self.others)


@cache
def tables() -> SimpleNamespace:
    """The tables. `claims` holds what can be taken once: (scope "version", N) and (scope "channel D/D", move).

    `outbox` has a row for each event that a hook is to be sent (`registry.outbox`). It alone is not append-only: it holds no facts of the
    registry, but what is still to be done about them.
    """
    from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

    metadata = MetaData()
    whole = BigInteger().with_variant(Integer, "sqlite")
    events = Table(
        "events",
        metadata,
        Column("seq", whole, primary_key=True, autoincrement=False),
        Column("previous", String(64), nullable=False, unique=True),
        Column("hash", String(64), nullable=False, unique=True),
        Column("kind", String(64), nullable=False),
        Column("subject", Text, nullable=False, index=True),
        Column("at", String(32), nullable=False),
        Column("actor", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("git_commit", Text),
        Column("head", Text, nullable=False),
        Column("body", Text, nullable=False),
    )
    claims = Table(
        "claims",
        metadata,
        Column("scope", Text, primary_key=True),
        Column("number", whole, primary_key=True, autoincrement=False),
        Column("event", whole, ForeignKey("events.seq"), nullable=False),
    )
    schema = Table("ledger_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))
    outbox = Table(
        "outbox",
        metadata,
        Column("hook", String(64), primary_key=True),
        Column("event", whole, ForeignKey("events.seq"), primary_key=True, autoincrement=False),
        Column("id", String(36), nullable=False, unique=True),
        Column("state", String(16), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("tried_at", String(32)),
        Column("due", Float, nullable=False),
        Column("answer", Text, nullable=False),
        Index("outbox_by_state", "state", "hook", "event"),
    )
    return SimpleNamespace(metadata=metadata, events=events, claims=claims, schema=schema, outbox=outbox)


def sqlite_path(url: SecretUrl) -> Path | None:
    """The file that a sqlite URL names, else None."""
    scheme, _, rest = url.reveal().partition(":///")
    return Path(rest) if scheme.split("+")[0] == "sqlite" else None


def for_sqlalchemy(url: SecretUrl) -> str:
    """The URL as SQLAlchemy, and whoever uses it, understands it: in a sqlite file's path `?`, `#` and `%` are nothing but letters.

    With its driver named MLflow does not make the folder itself, which it would call by the quoted path.
    """
    path = sqlite_path(url)
    if path is None:
        return url.reveal()
    from sqlalchemy import URL

    return URL.create("sqlite+pysqlite", database=str(path)).render_as_string()


def shown(url: SecretUrl) -> str:
    """A database as an error shows it: the file, or where the URL leads."""
    return str(sqlite_path(url) or url)


def read(
    url: SecretUrl, query: str, values: Mapping[str, object], timeout: float, guarded: bool = True, since: int = 1
) -> Iterator[tuple[Any, ...]]:
    """Rows of a query; none while the tables do not exist, which came with the schema `since`.

    sqlite is read through the standard library, PostgreSQL through psycopg: importing SQLAlchemy takes 0.3 s, a third of what a listing may take.
    Raises VortexError for a newer schema, and Unguarded where a trigger is missing, unless that is not `guarded` against.
    """
    path = sqlite_path(url)
    if path is not None:
        if not path.exists():
            return
        with closing(_open_sqlite(path, timeout)) as connection:
            if _readable(url, _sqlite_condition(connection), guarded, since):
                yield from connection.execute(query, values)
        return
    place = _psycopg_place(url)
    if place is not None:
        import psycopg

        with psycopg.connect(**place) as remote:
            if _readable(url, _postgres_state(lambda asked: remote.execute(asked.encode()).fetchall()), guarded, since):
                yield from remote.execute(_NAMED.sub(r"%(\1)s", query.replace("%", "%%")).encode(), dict(values))
        return
    from sqlalchemy import text

    server = engine(url, timeout)
    try:
        with server.connect() as connection:
            if _readable(url, condition(connection), guarded, since):
                for row in connection.execute(text(query), dict(values)):
                    yield tuple(row)
    finally:
        server.dispose()


def _psycopg_place(url: SecretUrl) -> dict[str, Any] | None:
    """What psycopg connects to, as SQLAlchemy reads such a URL; None for another driver, and where SQLAlchemy has a spelling of its own."""
    match = _PSYCOPG.fullmatch(url.reveal())
    if match is None:
        return None
    parts = match.groupdict()
    options = dict(parse_qsl(parts.pop("options") or ""))
    names = {name: unquote(text) if name in ("user", "password") else text for name, text in parts.items() if text}
    return None if "host" in options else {"connect_timeout": CONNECT_TIMEOUT_S, **names, **options}


def look(url: SecretUrl, timeout: float) -> Condition:
    """The condition of the database at `url`; nothing is created."""
    path = sqlite_path(url)
    if path is not None:
        if not path.exists():
            return Condition()
        with closing(_open_sqlite(path, timeout)) as connection:
            return _sqlite_condition(connection)
    server = engine(url, timeout)
    try:
        with server.connect() as remote:
            return condition(remote)
    finally:
        server.dispose()


def condition(connection: Connection) -> Condition:
    """The condition of the database that a writer is connected to."""

    def ask(query: str) -> Sequence[Sequence[Any]]:
        return connection.exec_driver_sql(query).all()

    return _sqlite_state(ask) if connection.dialect.name == "sqlite" else _postgres_state(ask)


def require(url: SecretUrl, state: Condition, guarded: bool = True) -> bool:
    """Whether the tables are there. Raises VortexError for a newer schema, and Unguarded where `guarded` and the triggers are not the schema's."""
    if state.schema > SCHEMA:
        raise VortexError(
            f"ledger {shown(url)} has schema {state.schema}, and this vortex knows schemas up to {SCHEMA}",
            "it was written by a newer vortex: update this one",
        )
    if guarded and not state.guarded:
        raise unguarded(url, state)
    return state.schema > 0


def _readable(url: SecretUrl, state: Condition, guarded: bool, since: int) -> bool:
    """Whether the tables are there, as `require` has it, and of the schema `since`; whoever reads a ledger that moved away is told, once."""
    if guarded and state.moved:
        _warn_moved(shown(url), state.moved)
    return require(url, state, guarded) and state.schema >= since


@cache
def _warn_moved(ledger: str, place: str) -> None:
    log.warning("ledger %s has moved to %s: what was recorded there since then is not shown here", ledger, place)


def require_here(url: SecretUrl, state: Condition) -> None:
    """Raise Moved where the ledger was brought elsewhere."""
    if state.moved:
        raise moved(url, state.moved)


def moved(url: SecretUrl, place: str) -> Moved:
    """The error that names where a ledger moved to."""
    return Moved(
        f"ledger {shown(url)} has moved to {place}: nothing is recorded here any more",
        "take the vortex.toml that names that place, or write it with: vortex migrate --to FILE; then give the command again",
    )


def seal(connection: Connection, place: str) -> None:
    """Have the ledger refuse every further event, in words that name the place that it moved to."""
    reopen(connection)
    quoted = (MOVED_WORDS + clean(place)).replace("'", "''")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"CREATE TRIGGER {MOVED} BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, '{quoted}'); END")
        return
    body = f" BEGIN RAISE EXCEPTION USING MESSAGE = '{quoted}'; END ".replace("%", "%%")  # psycopg takes a single one for a value
    connection.exec_driver_sql(f"CREATE OR REPLACE FUNCTION {MOVED}() RETURNS trigger LANGUAGE plpgsql AS $vortex${body}$vortex$")
    connection.exec_driver_sql(f"CREATE TRIGGER {MOVED} BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION {MOVED}()")


def reopen(connection: Connection) -> None:
    """Have the ledger take events again."""
    on_events = "" if connection.dialect.name == "sqlite" else " ON events"
    connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {MOVED}{on_events}")


def unguarded(url: SecretUrl, state: Condition) -> Unguarded:
    """The error that names the triggers which are missing."""
    return Unguarded(
        f"ledger {shown(url)}: its hash chain is intact, but {wrong_triggers(state)}",
        "put them back with: vortex audit verify --repair",
    )


def wrong_triggers(state: Condition) -> str:
    """Which triggers are missing, and which are others, in words."""

    def named(names: Sequence[str]) -> str:
        return f"trigger{'s' if len(names) > 1 else ''} {', '.join(map(one_line, names))} {'are' if len(names) > 1 else 'is'}"

    missing = f"its {named(state.missing)} missing, switched off or replaced: anyone can change events unhindered" if state.missing else ""
    others = f"its {named(state.others)} none of Vortex's: it may keep events from being written" if state.others else ""
    return "; ".join(filter(None, (missing, others)))


def engine(url: SecretUrl, timeout: float) -> Engine:
    """A fresh engine without a pool: a transaction is one connection, and nothing is shared across forks."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    path = sqlite_path(url)
    if path is None:
        # libpq by itself waits for minutes for a host that does not answer.
        patience = {} if "connect_timeout" in url.reveal() else {"connect_timeout": CONNECT_TIMEOUT_S}
        return create_engine(url.reveal(), poolclass=NullPool, connect_args=patience)
    server = create_engine("sqlite://", creator=lambda: _open_sqlite(path, timeout, create=True), poolclass=NullPool)
    event.listen(server, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return server


def create(connection: Connection) -> None:
    """Make tables and triggers, or bring an older schema up to this one, in the transaction of the first writer. What exists is kept."""
    from sqlalchemy import select

    schema = tables().schema
    tables().metadata.create_all(connection)
    _guard(connection)
    if SCHEMA not in connection.execute(select(schema.c.version)).scalars().all():
        connection.execute(schema.insert(), {"version": SCHEMA})


def rebuild(connection: Connection, claims: Mapping[tuple[str, int], int]) -> None:
    """Put every trigger back, remove others, and put these claims (scope and number → event) in the place of those that are there."""
    state = condition(connection)
    if connection.dialect.name == "sqlite":
        for name in (*SQLITE_TRIGGERS, *state.others):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {_quoted(name)}")
    else:
        for name, table in itertools.product((*POSTGRES_TRIGGERS, *state.others), TABLES):
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {_quoted(name)} ON {table}".replace("%", "%%"))
            connection.exec_driver_sql(f"DROP RULE IF EXISTS {_quoted(name)} ON {table}".replace("%", "%%"))
    connection.execute(tables().claims.delete())
    if claims:
        rows = [{"scope": scope, "number": number, "event": event} for (scope, number), event in claims.items()]
        connection.execute(tables().claims.insert(), rows)
    _guard(connection)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def queue_up(connection: Connection, timeout: float) -> None:
    """Wait until no other writer is between its decision and its commit. sqlite's BEGIN IMMEDIATE has done so already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {max(1, round(timeout * 1000))}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")


@contextmanager
def explained(url: SecretUrl) -> Iterator[None]:
    """Turn what a database driver raises into one line that says what to do."""
    try:
        yield
    except VortexError:
        raise
    except ModuleNotFoundError as error:
        raise VortexError(
            f"ledger {shown(url)}: the database driver {error.name!r} is not installed", "install it with: uv sync --extra postgres"
        ) from error
    except (sqlite3.Error, OSError) as error:
        raise _in_words(url, getattr(error, "strerror", None) or str(error)) from error
    except UnicodeDecodeError as error:
        raise _in_words(url, f"malformed text ({error})") from error
    except Exception as error:
        # SQLAlchemy is imported by now if one of its errors is under way; naming its class without importing keeps reads light.
        if type(error).__module__.split(".")[0] in ("sqlalchemy", "psycopg"):
            raise _in_words(url, str(getattr(error, "orig", None) or error)) from error
        raise


def _open_sqlite(path: Path, timeout: float, create: bool = False) -> sqlite3.Connection:
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    require_regular(path)
    # `rw` falls back to reading alone where the file is write-protected, and never creates.
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=EXTRA")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _guard(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        for name, text in SQLITE_TRIGGERS.items():
            connection.exec_driver_sql(f"CREATE TRIGGER IF NOT EXISTS {name} {text}")
        return
    for name, text in POSTGRES_FUNCTIONS.items():
        connection.exec_driver_sql(f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${text}$$")
    for name, (_, when, function) in POSTGRES_TRIGGERS.items():
        connection.exec_driver_sql(f"CREATE OR REPLACE TRIGGER {name} {when} EXECUTE FUNCTION {function}()")


def _sqlite_condition(connection: sqlite3.Connection) -> Condition:
    return _sqlite_state(lambda query: connection.execute(query).fetchall())


def _sqlite_state(ask: Ask) -> Condition:
    rows = ask("SELECT type, name, sql, tbl_name FROM sqlite_master")
    there = {(kind, name): text for kind, name, text, _ in rows}
    if ("table", "claims") not in there:
        return Condition()
    schema = _schema(ask, ("table", "outbox") in there) if ("table", "ledger_schema") in there else 1
    # sqlite keeps the text of a trigger from its name on.
    return Condition(
        schema,
        tuple(name for name, text in SQLITE_TRIGGERS.items() if there.get(("trigger", name)) != f"CREATE TRIGGER {name} {text}"),
        _moved_to(there.get(("trigger", MOVED))),
        tuple(name for kind, name, _, table in rows if kind == "trigger" and table in TABLES and name not in (*SQLITE_TRIGGERS, MOVED)),
    )


def _postgres_state(ask: Ask) -> Condition:
    there = ", ".join(f"to_regclass('{name}') IS NOT NULL" for name in ("claims", "ledger_schema", "outbox"))
    ((claims, numbered, outbox),) = ask(f"SELECT {there}")
    if not claims:
        return Condition()
    schema = _schema(ask, outbox) if numbered else 1
    query = (
        "SELECT tgname, prosrc FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid"
        " WHERE tgrelid IN (to_regclass('events'), to_regclass('claims')) AND tgenabled IN ('O', 'A')"
    )
    triggers = {row[0]: row[1] for row in ask(query)}
    # What fires after an event is written cannot keep it away (replication, NOTIFY), and is nobody's business here; 2 stands for BEFORE.
    of_tables = "IN (to_regclass('events'), to_regclass('claims'))"
    others = ask(
        f"SELECT tgname FROM pg_trigger WHERE tgrelid {of_tables} AND NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 2 <> 0"
        f" UNION SELECT rulename FROM pg_rewrite WHERE ev_class {of_tables} AND ev_enabled <> 'D'"
    )
    return Condition(
        schema,
        tuple(
            name
            for name, (since, _, function) in POSTGRES_TRIGGERS.items()
            if since <= schema and triggers.get(name) != POSTGRES_FUNCTIONS[function]
        ),
        _moved_to(triggers.get(MOVED)),
        tuple(sorted(name for (name,) in others if name not in (*POSTGRES_TRIGGERS, MOVED))),
    )


def _moved_to(trigger: str | None) -> str:
    """The place that the text of a ledger's seal names; empty without one."""
    if trigger is None:
        return ""
    named = re.search(rf"'{MOVED_WORDS}((?:[^']|'')*)'", trigger)
    return named[1].replace("''", "'") if named else "another place"


def _schema(ask: Ask, outbox: bool) -> int:
    """The schema's number. A ledger whose outbox somebody has dropped is one of before it: the next writer makes it again."""
    number = int(ask("SELECT max(version) FROM ledger_schema")[0][0] or 1)
    return number if outbox or number > SCHEMA else min(number, OUTBOX_SINCE - 1)


def _in_words(url: SecretUrl, message: str) -> VortexError:
    where = f"ledger {shown(url)}"
    message = message.strip().splitlines()[0] if message.strip() else "no message"
    low = message.lower()
    if "locked" in low or "lock timeout" in low:
        return VortexError(f"{where}: another process holds it ({message})", "wait for that process, or end it, and run the command again")
    if any(words in low for words in ("closed the connection", "connection is closed", "consuming input failed", "terminating connection")):
        return VortexError(
            f"{where}: the connection broke off ({message})",
            "what was being recorded is there as a whole or not at all: `vortex history` shows which; the same command completes it",
        )
    if "is not a file" in low:
        return VortexError(f"{where}: {message}", "move it away, or mend the `ledger` setting in vortex.toml")
    if "full" in low or "no space" in low:
        return VortexError(f"{where}: the disk is full; nothing was recorded", "free some space and run the command again")
    if "readonly" in low or "read-only" in low or "unable to open" in low or "permission" in low:
        return VortexError(f"{where}: cannot be opened or written ({message})", "check the permissions of the file and of its folder")
    if "malformed" in low or "not a database" in low or "disk i/o" in low:
        return VortexError(f"{where}: the file is damaged ({message})", "restore it from a backup; nothing was written to it")
    if MOVED_WORDS in message:
        return moved(url, message.partition(MOVED_WORDS)[2])
    if "append-only" in low:
        return VortexError(f"{where}: {message}", "events are never changed: record a new one")
    return VortexError(f"{where}: {message}", "check the `ledger` setting in vortex.toml and that the database is reachable")
