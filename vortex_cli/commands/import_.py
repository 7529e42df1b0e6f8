"""`vortex import`: versions that were published elsewhere, recorded without their weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console, published
from vortex_cli.parameters import Reason

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.hub.published import ImportReport


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A lineage file; lineage.yaml is the shipped one, unless a file of that name lies here.")
    ],
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be recorded, and record nothing.")] = False,
) -> None:
    """Record versions that were published elsewhere: parents, data, lessons, jobs and published figures, without weights.

    A declared version takes its name. Its figures are shown as published and judge nothing; what needs weights refuses it until
    `vortex adopt` brings them in. Importing a file again changes nothing; one that says something else is refused.

    Example: vortex import lineage.yaml
    """
    from pipelines.hub.published import import_lineage, place_of

    path, shipped = place_of(file)
    if shipped:
        console.note(f"file     {path}, which Vortex ships")
    report = import_lineage(console.workspace(), path, reason=reason, dry_run=dry_run)
    payload = {"file": report.file, "dry_run": dry_run, "declared": report.declared, "already": report.already}
    console.emit(payload, _table(report))
    verb = "would be declared" if dry_run else "declared"
    console.note(f"{len(report.declared)} {verb}" + (f", {len(report.already)} were before" if report.already else ""))


def _table(report: ImportReport) -> Table:
    lines = [
        published.line(name, declaration, "before" if name in report.already else "now") for name, declaration in report.versions.items()
    ]
    return published.listing(lines, "declared")
