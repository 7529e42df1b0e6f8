"""Where artifacts lie: below today's artifact root, or below the one that was set when they were stored.

The ledger names an artifact by its path below the root, `RUN/artifacts/…`. An embedded MLflow store keeps the absolute place of each run.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from core.errors import VortexError
from core.files import inside, locked

_PLACES: Final = (
    ("runs", "run_uuid", "artifact_uri", "experiment_id = :experiment"),
    ("model_versions", "run_id", "source", "run_id IN (SELECT run_uuid FROM runs WHERE experiment_id = :experiment)"),
    ("model_versions", "run_id", "storage_location", "run_id IN (SELECT run_uuid FROM runs WHERE experiment_id = :experiment)"),
)
"""Where MLflow keeps a place below a run's folder: table, column of the run, column of the place, and which rows are ours."""


def follow(file: Path, root: Path, experiment: str) -> None:
    """Make `root` the place that an embedded store names for new runs, and for each run whose artifacts are not where it says.

    A repository that was moved or copied has its artifacts below today's root, and MLflow has no call to say so; without it a copy
    would write into the original's artifacts. Runs whose artifacts stayed below an earlier root keep that.
    """
    location = root.absolute().as_uri()
    with closing(sqlite3.connect(file, timeout=60)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ? AND artifact_location != ?",
            (location, int(experiment), location),
        )
        for table, key, column, ours in _PLACES:
            rows = connection.execute(
                f"SELECT rowid, {key}, {column} FROM {table}"
                f" WHERE {ours} AND {column} LIKE 'file:%' AND substr({column}, 1, :length) != :prefix",
                {"experiment": int(experiment), "length": len(location) + 1, "prefix": f"{location}/"},
            ).fetchall()
            for row, run, uri in rows:
                below = uri.partition(f"/{run}/")[2]
                if below and ((root / run).exists() or not local(uri).exists()):
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (f"{location}/{run}/{below}", row))


def removal_lock(root: Path) -> Path:
    """The lock under which an artifact that no event names is removed, or is touched by who is about to name it."""
    return root / ".lock"


def touch(root: Path, path: Path) -> bool:
    """Whether an artifact is there; if so, it is not removed in the next time, for an event is about to name it."""
    with locked(removal_lock(root)):
        if not path.is_file():
            return False
        os.utime(path)
        return True


def has_run(file: Path, run_id: str) -> bool:
    """Whether an embedded store has a run of this id, deleted ones included."""
    with closing(sqlite3.connect(file, timeout=60)) as connection:
        return connection.execute("SELECT 1 FROM runs WHERE run_uuid = ?", (run_id,)).fetchone() is not None


def rename_run(file: Path, run_id: str, new_id: str) -> None:
    """Give a run of an embedded store, which has tags and nothing else yet, another id, and the place of that id to its artifacts."""
    with closing(sqlite3.connect(file, timeout=60)) as connection, connection:
        connection.execute("UPDATE tags SET run_uuid = ? WHERE run_uuid = ?", (new_id, run_id))
        connection.execute(
            "UPDATE runs SET run_uuid = ?, artifact_uri = replace(artifact_uri, ?, ?) WHERE run_uuid = ?",
            (new_id, f"/{run_id}/", f"/{new_id}/", run_id),
        )


def local(uri: str) -> Path:
    """The path that a `file:` URI names."""
    return Path(unquote(urlsplit(uri).path))


def earlier(artifact: str, place: str) -> Path | None:
    """An artifact below `place`, the location that MLflow has for its run; None where that is no folder here, or does not hold it."""
    run, _, below = artifact.partition("/artifacts/")
    if not place.startswith("file:") or not below or not place.rstrip("/").endswith(f"/{run}/artifacts"):
        return None
    try:
        path = inside(local(place), below)
    except VortexError:
        return None
    return path if path.is_file() else None
