"""Import versions that were published elsewhere: described in the ledger under their names, without weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipelines.hub.lineage_file import SHIPPED_FILE, read
from pipelines.hub.open import actor, commit, hub
from pipelines.workspace import Workspace
from registry.declarations import Declaration
from registry.names import undeclared

SHIPPED_NAME: Final = SHIPPED_FILE.name


@dataclass(frozen=True)
class ImportReport:
    """What an import recorded, or would record: `declared` are the names that are new, `already` those that were recorded before."""

    file: Path
    dry_run: bool
    declared: tuple[str, ...]
    already: tuple[str, ...]
    versions: dict[str, Declaration]


def place_of(file: str) -> tuple[Path, bool]:
    """The file that a name stands for, and whether it is the shipped one: `lineage.yaml`, where no file of that name lies here."""
    path = Path(file)
    shipped = file == SHIPPED_NAME and not path.exists()
    return (SHIPPED_FILE if shipped else path), shipped


def import_lineage(ws: Workspace, file: Path, *, reason: str = "", dry_run: bool = False) -> ImportReport:
    """Declare the versions of a lineage file, all or none; those that are recorded just so are left as they are.

    Raises VortexError with every fault of the file, for a name that a version trained here has, and for one that was declared otherwise.
    """
    registry = hub(ws)
    versions = read(file, registry.recorded())
    if dry_run:
        declared = undeclared(registry.ledger, versions)
    else:
        declared = registry.declare(versions, actor=actor(), reason=reason or f"imported from {file.name}", commit=commit(ws))
    return ImportReport(file, dry_run, tuple(declared), tuple(name for name in versions if name not in declared), versions)
