"""Write the registry into an open folder, and later what has been added since.

Files never change once they are there: artifacts, errors and runs are named by their content, and each archiving adds a part to the
ledger. The manifest is written last and atomically, so that an archive is what it was before, or what it is after.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import VortexError
from core.files import locked, sha256_file, staged_file, write_atomic
from core.progress import Progress
from pipelines.archive.layout import (
    ERRORS,
    FORMAT,
    LEDGER,
    MANIFEST,
    OURS,
    README,
    README_TEXT,
    RUNS,
    ArchivedFile,
    Manifest,
    artifact_path,
    fault_of,
    files_of,
    line_of,
    read_manifest,
    recorded_file,
    run_content,
)
from pipelines.compare.frame_errors import FrameErrors
from pipelines.data.pointer import EMPTY_DIR, data_hash
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.chain import ChainHead, follow
from registry.events import reading
from registry.events.version import VersionMeasured
from registry.ledger import Entry, entry_of
from registry.records import Artifact, Version, to_json
from registry.versions import Hub


@dataclass(frozen=True)
class Archived:
    """What an archive holds now, and how much of it was written by this run; `manifest` is the SHA-256 of its manifest."""

    folder: Path
    head: ChainHead
    events: int
    new_events: int
    artifacts: int
    files: int
    bytes: int
    new_files: int
    new_bytes: int
    manifest: str


def archive(ws: Workspace, folder: Path, on_file: Progress | None = None) -> Archived:
    """Write the workspace's registry into `folder`, or add to the archive there what has happened since.

    Raises VortexError for a folder that holds something else, for the archive of another ledger, and where an artifact of the
    registry is gone or changed: an archive is whole or is not made.
    """
    folder = folder.absolute()
    registry = hub(ws)
    with locked(ws.build / "archive.lock"):
        before = _earlier(folder)
        rows = list(registry.ledger.rows(0))
        heads = list(follow(registry.ledger.url, ChainHead(), rows))
        if not heads:
            raise VortexError("the ledger is empty: there is nothing to archive yet", "make a version with: vortex train v6")
        registry.ledger.verify()
        _require_continued(folder, before, heads)
        present = before.files if before else {}
        files = {path: present[path] for path in (*before.ledger_files, *before.run_files)} if before else {}
        files |= _write_ledger(folder, rows[before.chain_head.seq if before else 0 :])
        entries = [entry_of(row) for row in rows]
        artifacts, errors = _artifacts(entries)
        for count, artifact in enumerate(artifacts, 1):
            files |= _write_artifact(registry, folder, artifact, with_errors=artifact in errors)
            if on_file:
                on_file(count, len(artifacts))
        files |= _write_runs(registry, folder)
        files[README] = recorded_file(README_TEXT.encode())
        manifest = Manifest(
            format=FORMAT,
            head=to_json(heads[-1]),
            data=data if (data := data_hash(ws)) != EMPTY_DIR else None,
            domains=ws.config.domains,
            devices=ws.config.devices,
            versions=[_line(version) for version in reading.fold(entries).whole_versions()],
            files=dict(sorted(files.items())),
        )
        _remove_leftovers(folder, manifest)
        if before is None or before.files[README] != files[README]:
            write_atomic(folder / README, README_TEXT)
        write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    added = [file for path, file in files.items() if path not in present]
    return Archived(
        folder=folder,
        head=heads[-1],
        events=len(rows),
        new_events=len(rows) - (before.chain_head.seq if before else 0),
        artifacts=len(artifacts),
        files=len(files),
        bytes=sum(file.bytes for file in files.values()),
        new_files=len(added),
        new_bytes=sum(file.bytes for file in added),
        manifest=sha256_file(folder / MANIFEST),
    )


def _earlier(folder: Path) -> Manifest | None:
    """The archive that is there already; None for a new folder, and for one in which an archive was begun.

    Raises VortexError for a folder that holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise VortexError(f"{folder} is a file, allowed: a new folder, or an earlier archive", "name another one")
    manifest = read_manifest(folder) if (folder / MANIFEST).exists() else None
    recorded = manifest.files if manifest else {}
    foreign = sorted(path for path in files_of(folder) if path not in recorded and not OURS.fullmatch(path))
    if foreign:
        raise VortexError(
            f"{folder} holds what no archive has: {', '.join(foreign[:3])}" + (f", and {len(foreign) - 3} more" if foreign[3:] else ""),
            "name a new folder, or move these away",
        )
    if manifest:
        faults = [f"{path}: {fault}" for path, file in manifest.files.items() if (fault := fault_of(folder, path, file)) and path != README]
        if faults:
            raise VortexError(
                f"{folder}: the archive there was changed: {faults[0]}", "name a new folder, so that what is left of it stays", faults[1:]
            )
    return manifest


def _require_continued(folder: Path, before: Manifest | None, heads: Sequence[ChainHead]) -> None:
    if before is None:
        return
    head = before.chain_head
    if head.seq > len(heads) or heads[head.seq - 1] != head:
        raise VortexError(
            f"{folder} holds the archive of another ledger, or of a later state of this one: it ends at event {head.seq} ({head.hash[:12]}…)",
            "name a new folder",
        )


def _write_ledger(folder: Path, rows: Sequence[Sequence[Any]]) -> dict[str, ArchivedFile]:
    """Write events as one part of the ledger; nothing for no events."""
    if not rows:
        return {}
    path = f"{LEDGER}/{rows[0][0]:09d}-{rows[-1][0]:09d}.jsonl"
    content = "".join(line_of(tuple(row)) for row in rows).encode()
    write_atomic(folder / path, content)
    return {path: recorded_file(content)}


def _artifacts(entries: Sequence[Entry]) -> tuple[list[Artifact], set[Artifact]]:
    """Every artifact that an event names, and those of them that are errors by frame."""
    artifacts: dict[Artifact, None] = {}
    errors = set()
    for entry in entries:
        named = reading.parse(entry).artifacts()
        artifacts |= dict.fromkeys(named)
        errors |= set(named) if entry.kind == VersionMeasured.kind else set()
    return list(artifacts), errors


def _write_artifact(registry: Hub, folder: Path, artifact: Artifact, *, with_errors: bool) -> dict[str, ArchivedFile]:
    """Copy an artifact unless it is there, and write its errors as a table too. Raises VortexError where it is gone or changed."""
    path = artifact_path(artifact)
    file = ArchivedFile(sha256=artifact.sha256, bytes=artifact.bytes)
    if fault_of(folder, path, file):
        source = registry.artifacts.path(artifact)
        with staged_file(folder / path) as staging:
            shutil.copyfile(source, staging)
            if sha256_file(staging) != artifact.sha256:
                raise VortexError(f"{source}: was changed while it was copied", "run the command again")
    files = {path: file}
    if with_errors:
        table = f"{ERRORS}/{artifact.sha256}.parquet"
        if not (folder / table).exists():
            _write_table(FrameErrors.load(folder / path), folder / table)
        files[table] = ArchivedFile(sha256=sha256_file(folder / table), bytes=(folder / table).stat().st_size)
    return files


def _write_runs(registry: Hub, folder: Path) -> dict[str, ArchivedFile]:
    """Write every run that MLflow has. One that has gone on since the last archive is written anew, beside its earlier file."""
    files = {}
    for run in registry.store.runs():
        content = run_content(registry.store.export_run(run))
        file = recorded_file(content)
        path = f"{RUNS}/{file.sha256}.json"
        if fault_of(folder, path, file):
            write_atomic(folder / path, content)
        files[path] = file
    return files


def _write_table(errors: FrameErrors, path: Path) -> None:
    """Errors by frame as Parquet: a row a frame, a column a sum; a sum of several numbers is a list."""
    import polars as pl

    columns: dict[str, Any] = {"frame": list(errors.ids)}
    if errors.sequences:
        columns["sequence"] = list(errors.sequences)
    for name, values in errors.sums.items():
        columns[name] = values if values.ndim == 1 else values.reshape(len(values), -1).tolist()
    with staged_file(path) as staging:
        pl.DataFrame(columns).write_parquet(staging)


def _line(version: Version) -> dict[str, Any]:
    """A version for people: what it is called, what it came from, how good it is, which files are its."""
    headline = version.headline
    return {
        "name": version.name,
        "codename": version.codename,
        "domain": version.domain,
        "parents": [edge.as_json() for edge in version.parents],
        "stages": dict(version.stages),
        "headline": to_json(headline) if headline else None,
        "weights": artifact_path(version.checkpoint),
        "exports": [artifact_path(export.artifact) for export in version.exports],
        "errors": [artifact_path(metrics.errors) for metrics in version.metrics if metrics.errors],
    }


def _remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """Remove what an archive that was interrupted has left, and no event names any more."""
    for path in files_of(folder):
        if path not in manifest.files and OURS.fullmatch(path):
            (folder / path).unlink()
