"""The ledger's head, to be kept elsewhere, and the audit of a workspace's whole registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import VortexError
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry import audit, signature
from registry.audit import Fault
from registry.chain import ChainHead
from registry.records import to_json
from registry.versions import Hub

HEAD_TYPE: Final = "application/vnd.vortex.ledger-head+json"
"""What a signed head says that it is."""


@dataclass(frozen=True)
class AuditReport:
    """What was looked at, and what was wrong: `repaired` no longer is, `faults` still are."""

    head: ChainHead
    compared: tuple[str, ...]
    """Where heads were noted that the chain was compared with."""
    artifacts: int
    """How many stored files were hashed again."""
    mlflow: bool
    repaired: tuple[Fault, ...]
    faults: tuple[Fault, ...]
    moved: str = ""
    """Where the ledger was brought, so that it takes no event any more."""

    def sentence(self) -> str:
        """The outcome in words."""
        compared = (
            f", compared with the head in {' and in '.join(self.compared)}" if self.compared else ", compared with no head: none is noted"
        )
        rest = f"; {self.artifacts} stored files hashed again" + ("; MLflow compared" if self.mlflow else "")
        moved = f"; it has moved to {self.moved}, and is what it was then" if self.moved else ""
        return f"{self.head.seq} events{compared}{rest}{moved}"


def head(ws: Workspace, key_file: Path | None = None) -> dict[str, object]:
    """The head of the workspace's ledger, or a signed envelope of it. Raises VortexError where the ledger is empty or broken."""
    end = hub(ws).ledger.verify()
    if not end.seq:
        raise VortexError("the ledger is empty: it has no head yet", "make a version with: vortex train v6")
    return signature.sign(end.text().encode(), HEAD_TYPE, key_file) if key_file else to_json(end)


def verify(
    ws: Workspace, *, head_file: Path | None = None, key_files: Sequence[Path] = (), mlflow: bool = False, repair: bool = False
) -> AuditReport:
    """Compare the ledger with the heads that were noted, and all else with the ledger; `repair` what follows from its events.

    Repairing looks at MLflow too. Raises VortexError for a head file that cannot be read, or whose signer is not trusted.
    """
    registry = hub(ws)
    registry = dataclasses.replace(registry, ledger=registry.ledger.unguarded())
    heads = {}
    if registry.ledger.noted().seq:
        heads[str(registry.ledger.head_file)] = registry.ledger.noted()
    if head_file:
        heads[str(head_file)] = _read_head(head_file, key_files)
    elif key_files:
        raise VortexError("a key is named, and no file that it would have signed", "name the file with --head FILE")
    mlflow = mlflow or repair
    if mlflow and (tag := registry.store.noted_head()):
        heads["the tag of the MLflow experiment"] = ChainHead.parse(tag, "the tag of the MLflow experiment")
    report = _examine(registry, heads, mlflow)
    if not repair or any(fault.area == "chain" for fault in report.faults):
        return report
    audit.repair(registry.ledger)
    with hub(ws).ledger.transaction():
        pass  # an older schema is brought up to this one, and the head noted
    audit.repair_mlflow(registry, registry.versions())
    after = _examine(registry, heads, mlflow)
    return dataclasses.replace(after, repaired=tuple(fault for fault in report.faults if fault not in after.faults))


def _examine(registry: Hub, heads: dict[str, ChainHead], mlflow: bool) -> AuditReport:
    end, faults = audit.ledger_faults(registry.ledger, heads)
    artifacts = 0
    # Where the events cannot be trusted or read, what follows from them says nothing.
    if not any(fault.area in ("chain", "events") for fault in faults):
        versions = registry.versions()
        artifacts, of_artifacts = audit.artifact_faults(registry, versions)
        faults += of_artifacts + (audit.mlflow_faults(registry, versions) if mlflow else [])
    return AuditReport(end, tuple(heads), artifacts, mlflow, (), tuple(faults), registry.ledger.moved)


def _read_head(path: Path, key_files: Sequence[Path]) -> ChainHead:
    """The head in a file, plain or signed."""
    text = signature.read(path)
    if '"payload"' in text:
        text = signature.opened(text, HEAD_TYPE, key_files, str(path)).decode("utf-8", "replace")
    elif key_files:
        raise VortexError(
            f"{path} is not signed, and a key is named", "take the file as `vortex audit head --sign` wrote it, or name no key"
        )
    return ChainHead.parse(text, str(path))
