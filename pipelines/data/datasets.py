"""Datasets: folders of frames under `data/`, published whole, versioned with DVC, and named by what their bytes are."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import Interrupted, VortexError
from core.files import disk_full, read_text_of_user, write_atomic
from pipelines.data import switch
from pipelines.data.digests import CACHE, dataset_digest
from pipelines.data.pointer import FETCH, data_hash, unfetched
from pipelines.data.publication import pending, publish, refuse_existing, settle, staging_folder
from pipelines.workspace import FILE, NAME, Workspace
from validation.manifest import LEGACY_DOMAIN, MANIFEST, read_manifest
from validation.rows import Supervision

CARD: Final = "dataset.json"
OUTSIDE: Final = "outside:"
"""What the name of a manifest outside of `data/` begins with, before its folder's: no dataset can be called so."""


class DatasetCard(BaseModel):
    """What a dataset says about itself. Counts, cameras and supervision are filled in from its manifest, never from prose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    domain: str
    kind: str
    format: str
    segmentation: Supervision = "none"
    cameras: list[str] = Field(default_factory=list)
    frames: dict[str, int] = Field(default_factory=dict)
    source: str = ""
    registered: bool = True
    """Whether depth should lie on the colour picture; some formats hold it as another camera saw it."""
    settings: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A published dataset: its folder, and its card."""

    name: str
    root: Path
    card: DatasetCard

    @property
    def manifest(self) -> Path:
        """Its rows, one a frame."""
        return self.root / MANIFEST


@dataclass(frozen=True)
class DataRef:
    """Data that a command works on, by name or by manifest. `digest` covers the manifest and the bytes of every file it names."""

    name: str
    manifest: Path
    root: Path
    domain: str
    kind: str
    digest: str
    dvc: str | None
    registered: bool = True
    """Whether its format says that depth lies on the colour picture."""

    @property
    def outside(self) -> bool:
        """Whether it lies outside of `data/`."""
        return self.name.startswith(OUTSIDE)


def find(ws: Workspace, name: str) -> Dataset:
    """The dataset `name`. Raises VortexError naming those that exist, or the fault of its card."""
    settle(ws)
    switch.settle(ws)
    root = ws.data / name
    if not NAME.fullmatch(name) or not root.is_dir() or name == pending(ws):
        names = ", ".join(dataset.name for dataset in listing(ws)) or "none yet"
        raise VortexError(
            f"unknown dataset {name[:80]!r}; this workspace has: {names}",
            f"data.dvc records frames that are not here, {FETCH}"
            if unfetched(ws)
            else "add frames with: vortex data add NAME PATH, or make some with: vortex data synth NAME",
        )
    return Dataset(name, root, _read_card(root / CARD))


def listing(ws: Workspace) -> list[Dataset]:
    """All datasets of the workspace, by name. Raises VortexError when a card is broken."""
    settle(ws)
    switch.settle(ws)
    hidden = pending(ws)
    cards = sorted(ws.data.glob(f"*/{CARD}")) if ws.data.is_dir() else []
    return [Dataset(path.parent.name, path.parent, _read_card(path)) for path in cards if path.parent.name != hidden]


def for_domain(ws: Workspace, domain: str) -> list[Dataset]:
    """The datasets of a domain. Raises VortexError when the domain is unknown or has none, naming what exists."""
    ws.domain(domain)
    every = listing(ws)
    members = [dataset for dataset in every if dataset.card.domain == domain]
    if not members:
        others = ", ".join(f"{dataset.name} ({dataset.card.domain})" for dataset in every) or "none yet"
        raise VortexError(
            f"domain {domain!r} has no dataset; this workspace has: {others}",
            f"data.dvc records frames that are not here, {FETCH}"
            if unfetched(ws)
            else f"add frames with: vortex data add NAME PATH --domain {domain}, or make some with: vortex data synth",
        )
    return members


@contextmanager
def new_dataset(ws: Workspace, name: str, card: DatasetCard) -> Iterator[Path]:
    """Yield an empty folder to fill with frames and `manifest.jsonl`; on a clean exit it becomes `data/NAME` and is versioned.

    The card's counts, cameras and supervision are taken from the manifest. On any failure nothing of it stays in `data/`, and
    `data.dvc` is as it was. Raises VortexError when the name is taken, the manifest is broken, or the disk is full.
    """
    refuse_existing(ws, name)
    staging = staging_folder(ws, name)
    try:
        staging.mkdir(parents=True)
        yield staging
        complete = complete_card(card.model_copy(update={"name": name}), staging / MANIFEST)
        write_atomic(staging / CARD, complete.model_dump_json(indent=2) + "\n")
        publish(ws, name, staging)
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted: dataset {name!r} was not added; data/ is as it was", "run the same command again") from error
    except OSError as error:
        full = disk_full(error, staging)
        what = "no space left on the disk" if full else f"{error.filename or staging}: {error.strerror or error}"
        raise VortexError(
            f"dataset {name!r} was not added: {what}; data/ is as it was",
            "free some space and run the command again" if full else "check the path and its permissions",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def resolve(ws: Workspace, *, name_or_manifest: str, domain: str | None = None) -> DataRef:
    """What a command is to work on: a dataset's name, or the path of a manifest.

    `domain` overrides what the rows say, and is needed for manifests with the legacy keys. Raises VortexError for an unknown name,
    a broken manifest, one that mixes domains, or an unknown domain.
    """
    path = Path(name_or_manifest)
    if path.suffix == ".jsonl" or os.sep in name_or_manifest:
        path = path / MANIFEST if path.is_dir() else path
        path = path.parent.resolve() / path.name  # what is planned here may be done elsewhere
        if path.parent.resolve().parent == ws.data.resolve() and path.name == MANIFEST:
            return resolve(ws, name_or_manifest=path.parent.resolve().name, domain=domain)
        domains, digest = _survey(ws, path, path.parent)
        domain_name = domain or _one_domain(path, domains)
        try:
            kind = "indoor" if domain_name == LEGACY_DOMAIN else ws.domain(domain_name).kind
        except VortexError as error:
            raise VortexError(
                f"{path}: {error.message}", f"add [domains.{domain_name}] with a kind to {ws.root / FILE}, or correct the rows"
            ) from error
        return DataRef(f"{OUTSIDE}{path.parent.resolve().name}", path, path.parent, domain_name, kind, digest, None)
    dataset = find(ws, name_or_manifest)
    domains, digest = _survey(ws, dataset.manifest, dataset.root)
    domain_name = domain or _one_domain(dataset.manifest, domains)
    return DataRef(
        dataset.name, dataset.manifest, dataset.root, domain_name, dataset.card.kind, digest, data_hash(ws), dataset.card.registered
    )


def _survey(ws: Workspace, manifest: Path, root: Path) -> tuple[set[str], str]:
    """The domains of the rows, and the digest of everything that they name."""
    domains: set[str] = set()
    files: set[str] = set()
    for frame in read_manifest(manifest):
        domains.add(frame.domain)
        files.update(frame.files().values())
    try:
        versioned = root.resolve().is_relative_to(ws.data.resolve())
        return domains, dataset_digest(manifest, root, files, ws.build / CACHE, versioned=versioned)
    except VortexError as error:
        raise VortexError(f"{manifest}: {error.message}", error.hint) from error


def _one_domain(manifest: Path, domains: set[str]) -> str:
    if len(domains) != 1:
        raise VortexError(
            f"{manifest}: its frames name {len(domains)} domains ({', '.join(sorted(domains))}), allowed: one",
            "split it into one manifest a domain, or name one with --domain",
        )
    return next(iter(domains))


def _read_card(path: Path) -> DatasetCard:
    try:
        return DatasetCard.model_validate_json(read_text_of_user(path))
    except FileNotFoundError as error:
        raise VortexError(
            f"{path}: is missing, so the folder is no dataset", f"move {path.parent} away and add its frames again"
        ) from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        faults = error.errors() if isinstance(error, ValidationError) else []
        details = [f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in faults]
        allowed = ", ".join(DatasetCard.model_fields)
        raise VortexError(f"{path}: is not a dataset's card, allowed keys: {allowed}", "restore it with: dvc checkout", details) from error


def complete_card(card: DatasetCard, manifest: Path) -> DatasetCard:
    """The card with counts, cameras and supervision as the manifest has them. Raises ManifestError for a faulty one."""
    frames: Counter[str] = Counter()
    cameras: dict[str, None] = {}
    supervision: set[str] = set()
    for frame in read_manifest(manifest):
        frames[frame.split] += 1
        cameras[frame.camera] = None
        supervision.add(frame.supervision)
    declared = next(iter(supervision)) if len(supervision) == 1 else "partial"
    counts = {split: frames[split] for split in ("train", "gap", "val", "test") if frames[split]}
    return card.model_copy(update={"frames": counts, "cameras": list(cameras), "segmentation": declared})
