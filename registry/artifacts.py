"""Where artifacts lie: below today's artifact root, or below the one that was set when they were stored.

The ledger names an artifact by its path below the root, `RUN/artifacts/…`. An embedded MLflow store keeps the absolute place of each run.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from core.errors import VortexError
from core.files import inside

ORIGIN: Final = "vortex.origin"
"""Tag of a run that was made for one of another store: the id by which the ledger names it. In a folder its artifacts lie below that."""

_PLACES: Final = (
    ("runs", "run_uuid", "artifact_uri", "experiment_id = :experiment"),
    ("model_versions", "run_id", "source", "run_id IN (SELECT run_uuid FROM runs WHERE experiment_id = :experiment)"),
    ("model_versions", "run_id", "storage_location", "run_id IN (SELECT run_uuid FROM runs WHERE experiment_id = :experiment)"),
)
"""Where MLflow keeps a place below a run's folder: table, column of the run, column of the place, and which rows are ours."""


def key(uri: str) -> str | None:
    """`RUN/artifacts/…`, by which an artifact is found below whatever artifact root; None where its name has no such part."""
    match = re.search(r"(?:^|/)([0-9a-f]{32}/artifacts/.+)$", uri)
    return match and match[1]


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
        origins = dict(connection.execute("SELECT run_uuid, value FROM tags WHERE key = ?", (ORIGIN,)))
        for table, run_column, column, ours in _PLACES:
            rows = connection.execute(
                f"SELECT rowid, {run_column}, {column} FROM {table}"
                f" WHERE {ours} AND {column} LIKE 'file:%' AND (substr({column}, 1, :length) != :prefix"
                f" OR {run_column} IN (SELECT run_uuid FROM tags WHERE key = :origin))",
                {"experiment": int(experiment), "length": len(location) + 1, "prefix": f"{location}/", "origin": ORIGIN},
            ).fetchall()
            for row, run, uri in rows:
                folder = origins.get(run, run)
                below = uri.partition(f"/{run}/")[2]
                if below and ((root / folder).exists() or not local(uri).exists()):
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (f"{location}/{folder}/{below}", row))


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
