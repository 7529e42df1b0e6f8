"""The two databases under the ledger: its tables, its triggers, one reader, one writer, and their errors in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from core.errors import VortexError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

ADVISORY_LOCK = 0x766F7274
"""Key of the lock that PostgreSQL writers queue on; "vort" in ASCII."""

TABLES = ("events", "claims")

SQLITE_TRIGGERS = (
    *(
        f"CREATE TRIGGER IF NOT EXISTS {table}_{word.lower()} BEFORE {word} ON {table} BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        for table in TABLES
        for word in ("UPDATE", "DELETE")
    ),
    # REPLACE deletes without firing the trigger above, so a row that exists is refused before it.
    "CREATE TRIGGER IF NOT EXISTS events_order BEFORE INSERT ON events"
    " WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)"
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: an event takes the next number'); END",
    "CREATE TRIGGER IF NOT EXISTS claims_once BEFORE INSERT ON claims"
    " WHEN EXISTS (SELECT 1 FROM claims WHERE scope = NEW.scope AND number = NEW.number)"
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: this number is taken'); END",
)

POSTGRES_TRIGGERS = (
    "CREATE OR REPLACE FUNCTION vortex_append_only() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$",
    *(
        f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION vortex_append_only()"
        for table in TABLES
    ),
)


@cache
def tables() -> SimpleNamespace:
    """The tables. `claims` holds what can be taken once: (scope "version", N) and (scope "channel D/D", move)."""
    from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, String, Table, Text

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
    return SimpleNamespace(metadata=metadata, events=events, claims=claims)


def sqlite_path(url: str) -> Path | None:
    """The file that a sqlite URL names, else None."""
    scheme, _, rest = url.partition(":///")
    return Path(rest) if scheme.split("+")[0] == "sqlite" else None


def for_sqlalchemy(url: str) -> str:
    """The URL as SQLAlchemy, and whoever uses it, understands it: in a sqlite file's path `?`, `#` and `%` are nothing but letters.

    With its driver named MLflow does not make the folder itself, which it would call by the quoted path.
    """
    path = sqlite_path(url)
    if path is None:
        return url
    from sqlalchemy import URL

    return URL.create("sqlite+pysqlite", database=str(path)).render_as_string()


def shown(url: str) -> str:
    """A database as an error may show it: the file, or the URL without its password."""
    path = sqlite_path(url)
    if path:
        return str(path)
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):  # not a URL at all: show no more of it than cannot be a password
        return f"{url.partition('://')[0][:20]}://…"


def read(url: str, query: str, values: Mapping[str, object], timeout: float) -> Iterator[tuple[Any, ...]]:
    """Rows of a query; none while the tables do not exist.

    sqlite is read through the standard library: importing SQLAlchemy takes 0.3 s, a third of what a listing may take.
    """
    path = sqlite_path(url)
    if path is not None:
        if not path.exists():
            return
        with closing(_open_sqlite(path, timeout)) as connection:
            if _has_tables(connection):
                yield from connection.execute(query, values)
        return
    from sqlalchemy import text

    server = engine(url, timeout)
    try:
        if exists(url, timeout):
            with server.connect() as connection:
                for row in connection.execute(text(query), dict(values)):
                    yield tuple(row)
    finally:
        server.dispose()


def exists(url: str, timeout: float) -> bool:
    """Whether the tables are there."""
    path = sqlite_path(url)
    if path is not None:
        if not path.exists():
            return False
        with closing(_open_sqlite(path, timeout)) as connection:
            return _has_tables(connection)
    from sqlalchemy import inspect

    server = engine(url, timeout)
    try:
        return inspect(server).has_table("claims")
    finally:
        server.dispose()


def engine(url: str, timeout: float) -> Engine:
    """A fresh engine without a pool: a transaction is one connection, and nothing is shared across forks."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    path = sqlite_path(url)
    if path is None:
        return create_engine(url, poolclass=NullPool)
    server = create_engine("sqlite://", creator=lambda: _open_sqlite(path, timeout, create=True), poolclass=NullPool)
    event.listen(server, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return server


def create(server: Engine) -> None:
    """Make tables and triggers, all or none; those that exist are kept."""
    with server.begin() as connection:
        queue_up(connection)
        tables().metadata.create_all(connection)
        for statement in SQLITE_TRIGGERS if server.dialect.name == "sqlite" else POSTGRES_TRIGGERS:
            connection.exec_driver_sql(statement)


def queue_up(connection: Connection) -> None:
    """Wait until no other writer is between its decision and its commit. sqlite's BEGIN IMMEDIATE has done so already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")


@contextmanager
def explained(url: str) -> Iterator[None]:
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
        raise _in_words(url, str(error)) from error
    except Exception as error:
        # SQLAlchemy is imported by now if one of its errors is under way; naming its class without importing keeps reads light.
        if type(error).__module__.startswith("sqlalchemy."):
            raise _in_words(url, str(getattr(error, "orig", None) or error)) from error
        raise


def _open_sqlite(path: Path, timeout: float, create: bool = False) -> sqlite3.Connection:
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    # `rw` falls back to reading alone where the file is write-protected, and never creates.
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=EXTRA")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'claims'").fetchone()[0])


def _in_words(url: str, message: str) -> VortexError:
    where = f"ledger {shown(url)}"
    message = message.strip().splitlines()[0] if message.strip() else "no message"
    low = message.lower()
    if "locked" in low:
        return VortexError(f"{where}: another process holds it ({message})", "wait for that process, or end it, and run the command again")
    if "full" in low or "no space" in low:
        return VortexError(f"{where}: the disk is full; nothing was recorded", "free some space and run the command again")
    if "readonly" in low or "read-only" in low or "unable to open" in low or "permission" in low:
        return VortexError(f"{where}: cannot be opened or written ({message})", "check the permissions of the file and of its folder")
    if "malformed" in low or "not a database" in low or "disk i/o" in low:
        return VortexError(f"{where}: the file is damaged ({message})", "restore it from a backup; nothing was written to it")
    if "append-only" in low:
        return VortexError(f"{where}: {message}", "events are never changed: record a new one")
    return VortexError(f"{where}: {message}", "check the `ledger` setting in vortex.toml and that the database is reachable")
