"""The only place that prints: results on stdout, progress and remarks on stderr, one JSON document when asked."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from core.errors import UsageError, VortexError
from core.option import Option
from core.printable import clean, escaped
from core.secret import MASK, hide

if TYPE_CHECKING:
    from json import JSONEncoder

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


class _Silence:
    """A line on a terminal, after a second in which nothing was to be seen: a command that loads its libraries is not one that hangs."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._shows = False

    @contextmanager
    def watched(self, command: str) -> Iterator[None]:
        """Say that `command` is at work, where the block shows nothing for a second. What it shows first takes the line's place."""
        if session.json or not sys.stderr.isatty():
            yield
            return
        self._timer = threading.Timer(PATIENCE_S, self._say, (command,))
        self._timer.daemon = True
        self._timer.start()
        try:
            yield
        finally:
            self.end()

    def end(self) -> None:
        """There is something to be seen now."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._shows:
                self._shows = False
                sys.stderr.write("\r\x1b[2K")
                sys.stderr.flush()

    def _say(self, command: str) -> None:
        with self._lock:
            if self._timer is not None:
                self._shows = True
                sys.stderr.write(f"{command} is getting ready …")
                sys.stderr.flush()


session = Session()
silence = _Silence()
PATIENCE_S = 1.0
CHUNK = 500
"""Items of an array that are written at a time."""
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
    return _terminal(soft_wrap=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)


def stderr() -> Console:
    """Console for progress, remarks and errors."""
    return _terminal(stderr=True)


def _terminal(**options: Any) -> Console:
    from vortex_cli.terminal import Terminal

    silence.end()
    return Terminal(highlight=False, emoji=False, **options)


def emit(payload: object, *renderables: RenderableType) -> None:
    """Print the result of a command: `payload` as one JSON document under `--json`, otherwise the renderables.

    What a generator yields is an array, written an item a line as it comes: a listing of any length takes the memory of some items.
    So is what a generator yields that stands at the top of a payload that is an object.
    """
    if session.json:
        silence.end()
        if isinstance(payload, Iterator):
            _write_array(payload)
            sys.stdout.write("\n")
        elif isinstance(payload, dict) and any(isinstance(value, Iterator) for value in payload.values()):
            _write_object(payload)
        else:
            sys.stdout.write(document(payload) + "\n")
        return
    if not renderables:  # rich takes 50 ms to load
        return
    console = stdout()
    for renderable in renderables:
        if isinstance(renderable, str):
            say(console, renderable)
        else:
            console.print(renderable, markup=False)


def _write_array(items: Iterator[object], left: str = "") -> None:
    """An item a line, each after `left`; some hundreds are looked through at a time, for one at a time takes longer than to write it."""
    opening = "[\n"
    while some := [_encoded(item, None) for item in islice(items, CHUNK)]:
        if hide(text := f",\n{left}".join(some)) != text:
            text = f",\n{left}".join([_kept(item, None) for item in some])
        sys.stdout.write(opening + left + _spelt(text))
        opening = ",\n"
    sys.stdout.write("[]" if opening == "[\n" else f"\n{left[2:]}]")


def _write_object(payload: dict[str, object]) -> None:
    opening = "{\n"
    for name, value in payload.items():
        if isinstance(value, Iterator):
            sys.stdout.write(f"{opening}  {document(str(name))}: ")
            _write_array(value, "    ")
        else:
            sys.stdout.write(opening + document({name: value})[len("{\n") : -len("\n}")])
        opening = ",\n"
    sys.stdout.write("\n}\n")


def document(payload: object) -> str:
    """`payload` as one JSON document, without secrets. What is no printable character is spelt as JSON spells it."""
    return _spelt(_kept(_encoded(payload, 2), 2))


def _encoded(payload: object, indent: int | None) -> str:
    try:
        return _encoder(indent).encode(payload)
    except (ValueError, TypeError):  # a number that is not finite, or a key that is no text
        return _encoder(indent).encode(plain(payload))


def _kept(text: str, indent: int | None) -> str:
    """JSON without secrets. They are looked for in all of it, but taken out of each text by itself: in JSON a pattern may reach from one
    text into the next, or between a quote and its backslash, and what is left would be another document or none."""
    if hide(text) == text:
        return text
    import json

    return _encoder(indent).encode(_hidden(json.loads(text)))


def _hidden(value: Any, name: str = "") -> Any:
    """What JSON holds without the secrets in it, under the name that it has in its object."""
    if isinstance(value, str):
        named = value and "of it" not in hide(f"'{name}': 'of it'")
        return MASK if named else hide(value)
    if isinstance(value, dict):
        return {hide(key): _hidden(item, key) for key, item in value.items()}
    return [_hidden(item) for item in value] if isinstance(value, list) else value


@cache
def _encoder(indent: int | None) -> JSONEncoder:
    import json  # a millisecond, which `--help` does without

    return json.JSONEncoder(indent=indent, ensure_ascii=False, allow_nan=False, default=plain)


def _spelt(text: str) -> str:
    """JSON in characters that stdout takes."""
    text = escaped(text)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # an ASCII terminal, or a file name that is no text: JSON has its own spelling for both
        import json

        return re.sub(r"[^\x00-\x7f]+", lambda match: json.dumps(match[0])[1:-1], text)
    return text


def answer(message: str) -> None:
    """Say something from within a signal's handler, where whatever was being printed is not finished."""
    os.write(2, f"\n{clean(message)}\n".encode(errors="backslashreplace"))


def write(text: str) -> None:
    """Print a result that is already text (JUnit XML, GitHub annotations, the lines of a log), cleaned and otherwise as it is."""
    silence.end()
    cleaned = clean(text)
    if cleaned.count("\n") != text.count("\n"):  # what was taken for a secret reached from one line into another
        cleaned = "\n".join([clean(line) for line in text.split("\n")])
    sys.stdout.write(cleaned if cleaned.endswith("\n") else cleaned + "\n")


def note(message: str) -> None:
    """Say something on the way (what was inferred, where a picture lies); on stderr, so that pipes stay clean."""
    say(stderr(), message)


def ask_secret(what: str, variable: str, *, twice: bool = False) -> str:
    """Ask a person for a secret, without an echo; `twice` where a slip would lose it. Raises UsageError where nobody can be asked."""
    import getpass

    silence.end()
    if not sys.stdin.isatty():
        raise UsageError(f"the {what} is needed, and there is no terminal to ask on", f"set {variable}")
    secret = getpass.getpass(f"{what}: ")
    if twice and getpass.getpass(f"{what}, again: ") != secret:
        raise UsageError("the two were not the same", "run the command again")
    return secret


def say(console: Console, message: str, prefix: str = "", style: str = "") -> None:
    """Print a message after a prefix of its own style.

    A terminal gets lines that end between words, and stand under the second column where the message has columns; a pipe gets one line.
    """
    from rich.text import Text

    lines = folded(prefix + clean(message), console.width) if console.is_terminal else [prefix + message]
    for number, line in enumerate(lines):
        text = Text(line)
        if number == 0:
            text.stylize(style, 0, len(prefix))
        console.print(text, soft_wrap=True)


@dataclasses.dataclass(frozen=True)
class CheckLine:
    """Something that was looked at: the word for its state and that word's style, what was found, and what stands below it."""

    state: str
    style: str
    text: str
    below: str = ""


def emit_checks(payload: object, lines: Iterable[CheckLine]) -> None:
    """Print what a check found: `payload` under `--json`, otherwise a line each. Unlike cells of a table, lines keep paths whole."""
    emit(payload)
    if session.json:
        return
    console = stdout()
    for line in lines:
        say(console, line.text, f"{line.state:<9} ", line.style)
        if line.below:
            say(console, line.below, f"{'':10}")


def folded(message: str, width: int) -> list[str]:
    """A message in lines of at most `width` columns. A word that is longer, such as a path, has a line to itself: it can be copied whole."""
    import textwrap

    lines = []
    for line in message.splitlines() or [""]:
        head = re.match(r"\S{1,12} {2,}(?=\S)", line)  # `data     rooms …`
        indent = " " * len(head[0] if head else re.match(r" *", line)[0])  # type: ignore[index]
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
            drop_whitespace=True,
            replace_whitespace=False,
        ) or [""]
    return lines


def rule(title: str) -> None:
    """A heading between the steps of a long command, on stderr."""
    stderr().rule(title, align="left")


def fail(error: VortexError) -> None:
    """Print an error for a person: the line, its details, and what to do."""
    console = stderr()
    say(console, error.message, "error: ", "bold red")
    for detail in error.details[:MOST_DETAILS]:
        say(console, detail, "  - ")
    if len(error.details) > MOST_DETAILS:
        say(console, f"and {len(error.details) - MOST_DETAILS:,} more", "  - ")
    if error.hint:
        say(console, error.hint, "  try: ", "bold")


def traceback(cause: BaseException) -> None:
    """Print where an error came from, on stderr."""
    from traceback import format_exception

    silence.end()
    sys.stderr.write(clean("".join(format_exception(cause))))


def hush_libraries() -> None:
    """What a library logs or warns of is cleaned too, wherever its own handlers write it."""
    import logging
    import warnings

    factory, formatted = logging.getLogRecordFactory(), warnings.formatwarning
    if getattr(factory, "cleans", False):
        return

    def record(*args: Any, **fields: Any) -> logging.LogRecord:
        entry = factory(*args, **fields)
        with suppress(TypeError, ValueError):  # a library's own mistake in its message: logging says so where it writes it
            entry.msg, entry.args = clean(entry.getMessage()), ()
        return entry

    record.cleans = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)
    warnings.formatwarning = lambda *args, **fields: clean(formatted(*args, **fields))


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


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[object]], spare: Sequence[str], title: str = "") -> Table:
    """A table whose cells are never broken: where a terminal is too narrow, columns are left out, in the order of `spare`.

    Where even the others do not fit, they fold: nothing is cropped.
    """
    console, names = stdout(), [column if isinstance(column, str) else column[0] for column in columns]
    for dropped in range(len(spare) + 1):
        indices = [index for index, name in enumerate(names) if name not in spare[:dropped]]
        part = [columns[index] for index in indices], [[row[index] for index in indices] for row in rows]
        rich_table = table(*part, title, whole=names)
        if console.measure(rich_table, options=console.options.update(width=BOUNDLESS)).maximum <= console.width:
            return rich_table
    return table(*part, title)


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

    columns: list[Any] = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), MofNCompleteColumn()]
    columns += [TextColumn(f"{{task.fields[{field}]}}", markup=False) for field in fields]
    console = stderr()
    with RichProgress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        disable=session.json or not console.is_terminal,
        redirect_stdout=False,  # what a library keeps of it, as DVC's colorama does to the end of the process, is to be the real one
    ) as display:
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
    if hasattr(value, "isoformat"):
        return value.isoformat()
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
