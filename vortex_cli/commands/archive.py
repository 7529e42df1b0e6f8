"""`vortex archive` and `vortex restore`: the registry as an open folder, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex_cli import console, wording


def archive(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an earlier archive of this registry.")],
) -> None:
    """Write the registry into an open folder that can be read without Vortex: ledger, weights, exports, errors by frame.

    Into an earlier archive only what is new is written. Frames are not part of it: a DVC remote has them.

    Example: vortex archive ~/archives/students
    """
    from pipelines.archive.writing import archive as write_archive

    ws = console.workspace()
    with console.progress() as display:
        task = display.add_task("archiving", total=None)
        archived = write_archive(ws, folder, lambda count, total: display.update(task, completed=count, total=total))
    lines = (
        f"events    {archived.events:,}, {archived.new_events:,} of them new; the last is {archived.head.hash}",
        f"files     {archived.files:,} ({wording.megabytes(archived.bytes)}), {archived.new_files:,} of them new"
        f" ({wording.megabytes(archived.new_bytes)}), in {archived.folder}",
        f"manifest  {archived.manifest}",
    )
    console.emit(archived, *lines)
    console.note("keep the manifest's SHA-256 elsewhere: it vouches for every file")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `vortex archive` wrote.")],
) -> None:
    """Put an archive into a workspace whose registry is empty: the same events, hashes and files; MLflow is made of them.

    Everything is hashed first; an archive with a changed, missing or additional file is refused by its name.

    Example: vortex restore ~/archives/students --workspace recovered
    """
    from pipelines.archive.restoring import restore as restore_archive

    ws = console.workspace()
    with console.progress() as display:
        task = display.add_task("checking", total=None)
        restored = restore_archive(ws, folder, lambda count, total: display.update(task, completed=count, total=total))
    lines = (
        f"events     {restored.events:,}, as archived; the last is {restored.head.hash}",
        f"versions   {restored.versions:,}, in MLflow too",
        f"artifacts  {restored.artifacts:,} ({wording.megabytes(restored.bytes)})",
        *((f"settings   {', '.join(restored.added)} added to vortex.toml",) if restored.added else ()),
    )
    console.emit(restored, *lines)
    if restored.data:
        console.note(f"the frames were at {restored.data}: put the data.dvc of that state here, then: vortex data pull")
