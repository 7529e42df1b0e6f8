"""`vortex data push|pull|checkout|diff`: copies of data/ elsewhere, and its versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from vortex_cli import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

WIDE: Final = 100
"""Columns of a terminal from which on `vortex data diff` shows ids beside their number."""
RemoteOption = Annotated[str | None, typer.Option(metavar="NAME", help="A remote of `dvc remote list`; default: the one it calls default.")]


def push(remote: RemoteOption = None) -> None:
    """Copy the frames that data.dvc records to a DVC remote; what is there already stays.

    Example: vortex data push
    """
    from pipelines.data.remote import push as carry

    with console.progress() as display:
        sent = carry(console.workspace(), remote, _bar(display))
    text = f"{sent.moved} of {sent.files} files pushed to {sent.remote} ({sent.url}); it holds {sent.data}"
    console.emit(sent, text if sent.remote else "data.dvc records an empty folder: there is nothing to push")


def pull(remote: RemoteOption = None) -> None:
    """Fetch the frames that data.dvc records from a DVC remote into data/.

    Example: vortex data pull
    """
    from pipelines.data.remote import pull as carry

    with console.progress() as display:
        got = carry(console.workspace(), remote, _bar(display))
    source = f"{got.moved} files fetched from {got.remote} ({got.url})" if got.remote else "everything was in DVC's cache"
    text = f"{source}; data/ is {got.data}: {got.written} files written, {got.removed} removed"
    console.emit(got, text if got.files or got.removed else "data.dvc records an empty folder: there is nothing to pull")


def checkout(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="A version (v9), a .dir hash or its beginning, or a commit of data.dvc (HEAD~1).")
    ],
    remote: RemoteOption = None,
) -> None:
    """Bring data/ back to exactly the frames that a version was trained on.

    Refuses when data/ has changes that no version holds.

    Example: vortex data checkout v6
    """
    from pipelines.data.checkout import checkout as bring

    with console.progress() as display:
        result = bring(console.workspace(), what, remote=remote, on_file=_bar(display))
    rows = [(name, files, result.verified.get(name)) for name, files in result.datasets.items()]
    text = f"data.dvc: {result.data}; {result.written} files written, {result.removed} removed, {result.fetched} fetched"
    console.emit(result, console.table(("dataset", ("files", "right"), f"digest, as {result.what} recorded it"), rows), text)
    if result.before != result.data:
        console.note(f"back: vortex data checkout {result.before[:12]}")


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A version (v9), a .dir hash, a commit of data.dvc (HEAD~1), or `now`.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same; default: what is in data/ now.")] = "now",
) -> None:
    """Show which frames were added, removed, relabelled, changed or moved between splits, dataset by dataset.

    Reads listings and manifests alone; the frames need not be here. `--json` has every id.

    Example: vortex data diff v6 now
    """
    from pipelines.data.diff import diff as compare

    differences = compare(console.workspace(), a, b)
    wide = console.stdout().width >= WIDE
    rows = [
        (name, *(_ids(getattr(difference, what), wide) for what in ("added", "removed", "relabelled", "changed", "moved")), difference.same)
        for name, difference in differences.datasets.items()
    ]
    columns: tuple[console.Column, ...] = ("dataset", "added", "removed", "relabelled", "changed", "moved", ("same", "right"))
    console.emit(differences, console.table(columns, rows) if rows else "no frame differs", f"{a}: {differences.a}\n{b}: {differences.b}")


def _bar(display: Progress) -> Callable[[str, int, int], None]:
    """A progress bar that says what is carried."""
    task = display.add_task("looking", total=None)
    return lambda what, count, total: display.update(task, description=what, completed=count, total=total)


def _ids(ids: list[str], wide: bool) -> str | None:
    """How many, and the first of them where there is room."""
    if not ids:
        return None
    if not wide:
        return str(len(ids))
    return f"{len(ids)}: {', '.join(ids[:3])}{', …' if len(ids) > 3 else ''}"
