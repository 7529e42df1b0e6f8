"""How a terminal shows what was published of a version: always apart from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from registry.declarations import figures
from vortex_cli import console, wording

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from registry.declarations import Declaration, DeclaredMetric, DeclaredVersion
    from registry.edges import Edge
    from registry.quarantine import Bar

TITLE: Final = "Published (declared, not measured here, judges nothing)"
WITHOUT_WEIGHTS: Final = "declared: no weights here"


@dataclass(frozen=True)
class Line:
    """A version in a listing of what was published; `last` is the cell of the last column."""

    name: str
    codename: str
    parents: tuple[Edge, ...]
    metrics: tuple[DeclaredMetric, ...]
    truncated: str | None = None
    last: str | None = None


def table_of_figures(metrics: Iterable[DeclaredMetric]) -> Table:
    """Published figures, a line for each place."""
    return wording.snug(console.table(["published on", "figures"], figures(metrics)))


def facts(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """What was published of a version beside its figures: (key, text), the text empty where nothing was."""
    yield "what changed", declaration.summary
    yield "lesson", declaration.lesson
    yield "status", declaration.status
    yield "encoder", declaration.encoder
    yield "data", "\n".join(declaration.data)
    yield "checkpoint", declaration.checkpoint or ""
    yield "Hugging Face", declaration.hub_id or ""
    yield "jobs", "\n".join(f"{job.job} ({job.stage}): {job.outcome}" for job in declaration.jobs)


def heading(declared: DeclaredVersion, bars: Sequence[Bar]) -> RenderableType:
    """A declared version that has no weights."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(
        "state",
        Text(f"{WITHOUT_WEIGHTS}; bring them in with: {declared.adopt_command}", "yellow"),
    )
    for bar in bars:
        grid.add_row("quarantine", Text(f"{bar}: nothing with its weights enters a stage", "bold red"))
    if declared.declaration.truncated:
        grid.add_row("cut short", Text(declared.declaration.truncated, "red"))
    for key, text in facts(declared.declaration):
        if text:
            grid.add_row(key, Text(text))
    grid.add_row("declared", Text(f"{wording.when(declared.created_at)} by {declared.actor}"))
    if declared.reason:
        grid.add_row("because", Text(declared.reason))
    title = Text.assemble((declared.name, "bold"), f"  {declared.declaration.codename}")
    return Panel(grid, title=title, title_align="left", border_style="dim", expand=False)


def listing(versions: Sequence[Line], last: str, caption: str = "") -> Table:
    """What was published of versions, a line each, with `last` as the heading of the last column."""
    rows = []
    for version in versions:
        errors = [f"{metric.value:g} {metric.domain} · {metric.camera}" for metric in version.metrics if metric.metric == "rmse"]
        mark = "†" if version.truncated else ""
        made_from = wording.descent(version.parents) or "–"
        rows.append((version.name + mark, version.codename, made_from, "\n".join(errors) or None, version.last))
    if any(version.truncated for version in versions):
        caption += ("; " if caption else "") + "† its training was cut short: see vortex show"
    return wording.snug(console.table(["version", "codename", "made from", "published RMSE m", last], rows, caption=caption))


def line(name: str, declaration: Declaration, last: str | None) -> Line:
    """The line of a version as its publisher describes it."""
    return Line(name, declaration.codename, declaration.parents, declaration.metrics, declaration.truncated, last)
