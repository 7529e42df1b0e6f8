"""`vortex report`: the registry as pages that anyone can open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex_cli import console
from vortex_cli.completion import complete_versions


def report(
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where to; default: build/report.")] = None,
    version: Annotated[
        list[str] | None,
        typer.Option("--version", metavar="VERSION", help="Work this one out too; may be repeated.", autocompletion=complete_versions),
    ] = None,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Draw what versions that hold a stage see.")] = True,
) -> None:
    """Write the registry as a folder of pages: what runs where, since when and why, how good it is, what it forgot, what would replace it.

    The pages need no server and no network. A report that was there is replaced as a whole; two reports of one state of the ledger are
    the same. Verdicts come from the errors of frames that the registry keeps. With more than 50 versions they are worked out for those that
    hold a stage, held it before, or are named. Pictures need the frames in data/ and are kept in build/report-pictures.

    Example: vortex report
    """
    from pipelines.site.writing import write_report

    with console.progress() as display:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = display.add_task(what, total=total or None)
            display.update(tasks[what], completed=done, visible=done < total)  # type: ignore[arg-type]

        result = write_report(console.workspace(), output, versions=version or (), pictures=pictures, on_progress=show)
    console.emit(
        result,
        f"{result.pages:,} pages of {result.versions:,} versions, from event {result.event:,} of the ledger",
        f"open: {result.index}",
    )
