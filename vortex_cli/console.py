"""The only place that prints: results on stdout, progress and remarks on stderr, one JSON document when asked."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from core.errors import VortexError
from core.option import Option

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress
    from rich.table import Table

    from pipelines.workspace import Workspace


@dataclasses.dataclass
class Session:
    """The options that every command takes, as this call gave them."""

    workspace_dir: Annotated[Path | None, Option("The workspace; default: here or above.", name="--workspace", metavar="DIR")] = None
    json: Annotated[bool, Option("Print one JSON document instead of tables.")] = False
    traceback: Annotated[bool, Option("Show the Python traceback of an error.")] = False

    def restore(self, saved: Session) -> None:
        """Take over the options of `saved`, after a command ran inside another."""
        self.__dict__.update(saved.__dict__)


session = Session()
BOUNDLESS = 10_000
"""Columns of a terminal on which every table has room."""
MOST_DETAILS = 50
"""Details of one error that a person reads; more are counted."""


def workspace() -> Workspace:
    """The workspace this command works in: `--workspace DIR`, or the folder that holds `vortex.toml` here or above."""
    from pipelines import workspace as module

    return module.load(session.workspace_dir) if session.workspace_dir else module.find()


def stdout() -> Console:
    """Console for results. 120 columns when piped, so that a table never folds to 80 in a log."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)


def stderr() -> Console:
    """Console for progress, remarks and errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def emit(payload: object, *renderables: RenderableType) -> None:
    """Print the result of a command: `payload` as one JSON document under `--json`, otherwise the renderables."""
    if session.json:
        import json  # a millisecond, which `--help` does without

        text = json.dumps(plain(payload), indent=2, ensure_ascii=False, allow_nan=False)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # an ASCII terminal, or a file name that is no text: JSON has its own spelling for both
            text = json.dumps(plain(payload), indent=2, allow_nan=False)
        sys.stdout.write(text + "\n")
        return
    console = stdout()
    for renderable in renderables:  # a line for a pipe is one line; a terminal folds between words
        console.print(renderable, markup=False, soft_wrap=isinstance(renderable, str) and not console.is_terminal)


def write(text: str) -> None:
    """Print a result that is already text (JUnit XML, GitHub annotations) exactly as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def note(message: str) -> None:
    """Say something on the way (what was inferred, where a picture lies); on stderr, so that pipes stay clean."""
    from rich.text import Text

    stderr().print(Text(message), soft_wrap=True)


def rule(title: str) -> None:
    """A heading between the steps of a long command, on stderr."""
    stderr().rule(title, align="left")


def fail(error: VortexError) -> None:
    """Print an error for a person: the line, its details, and what to do."""
    from rich.text import Text

    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), error.message), soft_wrap=True)
    for detail in error.details[:MOST_DETAILS]:
        console.print(Text(f"  - {detail}"), soft_wrap=True)
    if len(error.details) > MOST_DETAILS:
        console.print(Text(f"  - and {len(error.details) - MOST_DETAILS:,} more"), soft_wrap=True)
    if error.hint:
        console.print(Text.assemble(("  try: ", "bold"), error.hint), soft_wrap=True)


Column = tuple[str, Literal["left", "right", "center"]] | str


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], title: str = "", caption: str = "", whole: Collection[str] = ()
) -> Table:
    """A plain, calm table. A cell is text, a number, None (shown as –) or any rich renderable.

    Where a terminal is narrow, columns named in `whole` are broken last: what stands there is to be copied.
    """
    from rich import box
    from rich.table import Table as RichTable

    rich_table = RichTable(
        title=title or None, caption=caption or None, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False
    )
    for column in columns:
        name, justify = (column, "left") if isinstance(column, str) else column
        rich_table.add_column(name, justify=justify, overflow="fold", no_wrap=name in whole)  # type: ignore[arg-type]
    for row in rows:
        rich_table.add_row(*(_cell(value) for value in row))
    return rich_table


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[object]], spare: Sequence[str]) -> Table:
    """A table whose cells are never broken: where a terminal is too narrow, columns are left out, in the order of `spare`.

    Where even the others do not fit, they fold: nothing is cropped.
    """
    console, names = stdout(), [column if isinstance(column, str) else column[0] for column in columns]
    for dropped in range(len(spare) + 1):
        indices = [index for index, name in enumerate(names) if name not in spare[:dropped]]
        part = [columns[index] for index in indices], [[row[index] for index in indices] for row in rows]
        rich_table = table(*part, whole=names)
        if console.measure(rich_table, options=console.options.update(width=BOUNDLESS)).maximum <= console.width:
            return rich_table
    return table(*part)


def markup(text: str) -> RenderableType:
    """A cell or line with rich markup in it; everything else is printed exactly as it is."""
    from rich.text import Text

    return Text.from_markup(text)


def verdict(passed: bool) -> RenderableType:
    """`pass` in green or `FAIL` in red: a word, so that it reads without colour too."""
    from rich.text import Text

    return Text("pass", "green") if passed else Text("FAIL", "bold red")


@contextmanager
def progress(*fields: str) -> Iterator[Progress]:
    """A progress display on stderr with bar, count and ETA; silent when stderr is not a terminal or under `--json`.

    `fields` are names of extra columns that the task updates with text.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn()]
    columns += [TextColumn(f"{{task.fields[{field}]}}") for field in fields]
    console = stderr()
    with RichProgress(*columns, TimeRemainingColumn(), console=console, disable=session.json or not console.is_terminal) as display:
        yield display


def plain(value: object) -> Any:
    """`value` as JSON knows it: dataclasses and pydantic models become objects, paths text, non-finite numbers null."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "as_json"):
        return plain(value.as_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if hasattr(value, "item"):
        return plain(value.item())
    return str(value)


def _cell(value: object) -> Any:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if math.isfinite(value) else "not finite"
    if isinstance(value, (str, int, Path)):
        from rich.text import Text

        return Text(str(value))
    return value
