"""`vortex migrate`: the registry brought to other places."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex_cli import console


def migrate(
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="TOML with tracking_uri, artifact_root and ledger of the other place.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what there is to bring, and change nothing.")] = False,
) -> None:
    """Bring the registry to other places: from the embedded files to a team's servers, and back.

    Runs, files and every event of the ledger are brought over as they are; then vortex.toml names the new places. What was brought stays
    where it was too, and the old ledger takes no event any more. A migration that broke off is completed by the same command.

    Example: vortex migrate --to team.toml
    """
    from pipelines.hub.migration import migrate as bring
    from pipelines.workspace import load

    with console.progress() as display:
        task = display.add_task("bringing runs and files", total=None)
        before = console.workspace()
        migration = bring(before, to, lambda count, total: display.update(task, completed=count, total=total), dry_run=dry_run)
    counts = f"{migration.runs} runs, {migration.artifacts} files, {migration.events} events"
    counts += f", {migration.deliveries} deliveries that hooks wait for" if migration.deliveries else ""
    console.emit(
        migration, f"{'to bring' if dry_run else 'brought'}: {counts}; the ledger ends at event {migration.seq}, {migration.hash[:12]}"
    )
    if not dry_run and load(before.root).config == before.config:
        console.note("vortex.toml named these places before; nothing was changed in it")
    elif not dry_run:
        console.note("vortex.toml names the new places; commit it, so that everyone who works here records there")
