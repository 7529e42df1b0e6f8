"""`vortex gc`: what of the disk nothing needs."""

from __future__ import annotations

from typing import Annotated

import typer

from core.errors import VortexError
from vortex_cli import console, wording

REASONS = 12
"""Reasons that a terminal shows; `--json` has a line for each thing."""


def gc(
    apply: Annotated[bool, typer.Option("--apply", help="Remove it; without this it is only shown.")] = False,
    older: Annotated[
        int, typer.Option("--older", min=1, metavar="HOURS", help="What was touched within so many hours stays; default: 24.")
    ] = 24,
) -> None:
    """Show what nothing needs any more, and remove it with --apply: stale packs, pictures, checkpoints of runs that became versions.

    What an event of the ledger names stays always, and so do runs that can go on.

    Example: vortex gc --older 48
    """
    from pipelines.retention.removal import clean
    from pipelines.retention.survey import KINDS

    ws = console.workspace()
    with console.progress() as display:
        task = display.add_task("removing" if apply else "looking", total=None)
        cleaning = clean(
            ws, apply=apply, older_s=older * 3600, on_item=lambda done, total: display.update(task, completed=done, total=total)
        )
    rows = []
    for kind, words in KINDS.items():
        going, staying = ([item.bytes for item in items if item.kind == kind] for items in (cleaning.going, cleaning.staying))
        if going or staying:
            rows.append([words, len(going), wording.megabytes(sum(going)), len(staying), wording.megabytes(sum(staying))])
    gone = "went" if apply else "would go"
    columns: list[console.Column] = [
        f"what {'went' if apply else 'goes'}", ("files", "right"), (gone, "right"), ("other files", "right"), ("stay", "right"),
    ]  # fmt: skip
    reasons = [f"  {wording.megabytes(size):>10}  {reason} ({count})" for reason, count, size in cleaning.reasons()[:REASONS]]
    total = f"{wording.megabytes(cleaning.bytes)} {'were freed' if apply else 'can be freed: vortex gc --apply'}"
    payload = {"applied": apply, "bytes": cleaning.bytes, "going": cleaning.going, "staying": cleaning.staying, "failed": cleaning.failed}
    tables = [console.table(columns, rows)] if rows else []
    outcome = total if cleaning.going else "nothing to remove" if rows else "nothing to remove: build/ and the stored files are empty"
    console.emit(payload, *tables, outcome, *(["stays:", *reasons] if reasons else []))
    if cleaning.failed:
        raise VortexError(
            f"{len(cleaning.failed)} could not be removed",
            "another process uses them, or they are not yours: run it again",
            cleaning.failed,
        )
