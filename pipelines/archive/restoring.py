"""Put an archive into a workspace that has nothing yet: the same events with the same hashes, the same files, and MLflow made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import VortexError
from core.files import locked, read_regular, read_text_of_user, write_atomic
from core.progress import Progress
from pipelines.archive.layout import LARGEST_MANIFEST, Manifest, artifact_path, read_manifest, row_of, run_of, verify
from pipelines.hub.open import hub
from pipelines.workspace import FILE, Workspace, check_name, load
from registry import audit
from registry.artifacts import key
from registry.chain import ChainHead, follow
from registry.events import reading
from registry.ledger import Entry, entry_of
from registry.records import Artifact, RunRecord
from registry.store import run_record
from registry.versions import Hub

SETTINGS: Final = ("domains", "devices")
"""Tables of vortex.toml without which the history cannot be asked by its channels."""


@dataclass(frozen=True)
class Restored:
    """What came back."""

    head: ChainHead
    events: int
    versions: int
    artifacts: int
    bytes: int
    data: str | None
    added: tuple[str, ...]
    """Domains and devices that were written into vortex.toml."""


def restore(ws: Workspace, folder: Path, on_file: Progress | None = None) -> Restored:
    """Make the empty registry of `ws` that of an archive. The ledger is filled last of all that is true of it, in one transaction.

    Repeated after it was interrupted, it goes on; with the same archive in place, it puts right what MLflow lacks.
    Raises VortexError, having written nothing, for an archive that is not whole, a registry that has other events or files, and a
    store that cannot be reached.
    """
    manifest = read_manifest(folder)
    verify(folder, manifest, on_file)
    rows = [row_of(line, f"{path}:{number}") for path, number, line in _lines(folder, manifest)]
    registry = hub(ws)
    entries = _understood(registry, rows, manifest)
    artifacts = list(dict.fromkeys(artifact for entry in entries for artifact in reading.parse(entry).artifacts()))
    _require_artifacts(manifest, artifacts)
    runs = _runs(folder, manifest)
    with locked(ws.build / "archive.lock"):
        filled = _require_empty(registry, manifest.chain_head, artifacts)
        added = _add_settings(ws, manifest)
        versions = reading.fold(entries).whole_versions()
        for run in [*runs.values(), *(run_record(version) for version in versions if version.run_id not in runs)]:
            registry.store.import_run(run)
        for artifact in artifacts:
            registry.artifacts.put(artifact, folder / artifact_path(artifact))
        if not filled:
            claims, _ = audit.taken(entry for entry in entries if entry.kind in audit.claiming_kinds())
            with registry.ledger.transaction() as tx:
                tx.adopt(rows, claims, registry.ledger.url)
        audit.repair_mlflow(registry, registry.versions())
    return Restored(
        head=registry.ledger.verify(),
        events=len(rows),
        versions=len(versions),
        artifacts=len(artifacts),
        bytes=sum(artifact.bytes for artifact in artifacts),
        data=manifest.data,
        added=added,
    )


def _runs(folder: Path, manifest: Manifest) -> dict[str, RunRecord]:
    """The archived runs by the id that the ledger has for them; an older archive has none, and its versions' are made of the ledger.

    Of a run that went on, that with most points is the last: curves only grow.
    """
    records = [run_of(read_regular(folder / path, LARGEST_MANIFEST), path) for path in manifest.run_files]
    records.sort(key=lambda record: (len(record.metrics), record.ended_ms or 0, len(record.tags)))
    return {record.run_id: record for record in records}


def _lines(folder: Path, manifest: Manifest) -> Iterator[tuple[str, int, str]]:
    """Every line of the archived ledger, with its part and its number there."""
    for path in manifest.ledger_files:
        with open(folder / path, encoding="utf-8", newline="\n") as stream:
            for number, line in enumerate(stream, 1):
                yield path, number, line


def _understood(registry: Hub, rows: list[tuple[Any, ...]], manifest: Manifest) -> list[Entry]:
    """The events, when they are a chain that ends at the manifest's head and that this vortex can fold."""
    end = ChainHead()
    for head in follow(registry.ledger.url, end, rows):
        end = head
    if end != manifest.chain_head:
        raise VortexError(
            f"the archive's ledger ends at event {end.seq} ({end.hash[:12]}…), its manifest says event {manifest.chain_head.seq}",
            "take another copy of the archive",
        )
    entries = [entry_of(row) for row in rows]
    reading.fold(entries)
    return entries


def _require_empty(registry: Hub, head: ChainHead, artifacts: list[Artifact]) -> bool:
    """Whether the ledger has exactly the archive's events already. Raises VortexError for other events, and for files of other runs."""
    end = registry.ledger.verify()
    if end.seq and end != head:
        raise VortexError(
            f"this workspace's ledger has {end.seq} events of its own: an archive is restored into an empty one only",
            "make a new workspace: vortex init NEW, then restore with --workspace NEW",
        )
    root = registry.artifact_root
    runs = {(key(artifact.uri) or artifact.uri).partition("/")[0] for artifact in artifacts}
    foreign = sorted(path.name for path in root.glob("[!.]*") if path.name not in runs) if isinstance(root, Path) else []
    if foreign:
        raise VortexError(
            f"{root} holds runs that the archive does not have: {', '.join(foreign[:3])}",
            "make a new workspace: vortex init NEW, then restore with --workspace NEW",
        )
    return bool(end.seq)


def _require_artifacts(manifest: Manifest, artifacts: list[Artifact]) -> None:
    """Raise VortexError where the archive lacks a file that an event names, or has another one in its place."""
    for artifact in artifacts:
        path = artifact_path(artifact)
        if path not in manifest.files or manifest.files[path].sha256 != artifact.sha256:
            raise VortexError(f"the archive lacks {path}, which an event of its ledger names", "take another copy of the archive")


def _add_settings(ws: Workspace, manifest: Manifest) -> tuple[str, ...]:
    """Write the archive's domains and devices that vortex.toml lacks into it; what stands there stays."""
    import tomlkit

    path = ws.root / FILE
    added = []
    for kind in SETTINGS:
        for name in getattr(manifest, kind):
            check_name(kind.removesuffix("s"), name)
    with locked(ws.build / "vortex.toml.lock"):
        document = tomlkit.parse(read_text_of_user(path))
        for kind in SETTINGS:
            table = document.setdefault(kind, tomlkit.table(is_super_table=True))
            for name, settings in getattr(manifest, kind).items():
                if name not in getattr(ws.config, kind):
                    table[name] = settings.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
                    added.append(f"{kind}.{name}")
        if added:
            text = tomlkit.dumps(document)
            write_atomic(path, text)
            load(ws.root)
    return tuple(added)
