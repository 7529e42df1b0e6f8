"""How a terminal shows what was published of a version: always apart from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from registry.declarations import SHARES
from vortex_cli import console, wording

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from registry.declarations import Declaration, DeclaredMetric, DeclaredVersion

TITLE: Final = "Published (declared, not measured here, judges nothing)"
WITHOUT_WEIGHTS: Final = "declared: no weights here"


def figures(metrics: Iterable[DeclaredMetric]) -> Table:
    """Published figures, a line for each place."""
    places: dict[str, list[str]] = {}
    for metric in metrics:
        places.setdefault(metric.place, []).append(figure(metric))
    return wording.snug(console.table(["published on", "figures"], [(place, ", ".join(texts)) for place, texts in places.items()]))


def figure(metric: DeclaredMetric) -> str:
    """One figure with its unit."""
    return (
        f"{metric.metric} {100 * metric.value:.1f} %"
        if metric.metric in SHARES
        else f"{metric.metric} {metric.value:g}" + (" m" if metric.metric in ("rmse", "mae") else "")
    )


def story(declaration: Declaration) -> Iterator[tuple[str, str]]:
    """What was told of a version, key by key."""
    yield "what changed", declaration.summary
    yield "lesson", declaration.lesson
    yield "status", declaration.status
    yield "encoder", declaration.encoder
    yield "data", "\n".join(declaration.data)
    yield "checkpoint", declaration.checkpoint or ""
    yield "Hugging Face", declaration.hub_id or ""
    yield "jobs", "\n".join(f"{job.job} ({job.stage}): {job.outcome}" for job in declaration.jobs)


def heading(declared: DeclaredVersion) -> RenderableType:
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
    if declared.declaration.truncated:
        grid.add_row("cut short", Text(declared.declaration.truncated, "red"))
    for key, text in story(declared.declaration):
        if text:
            grid.add_row(key, Text(text))
    grid.add_row("declared", Text(f"{wording.when(declared.created_at)} by {declared.actor}"))
    if declared.reason:
        grid.add_row("because", Text(declared.reason))
    title = Text.assemble((declared.name, "bold"), f"  {declared.declaration.codename}")
    return Panel(grid, title=title, title_align="left", border_style="dim", expand=False)


def listing(versions: Mapping[str, Declaration], last: str = "checkpoint", cells: Sequence[str | None] = (), caption: str = "") -> Table:
    """Declared versions, a line each; the last column holds `cells`, by itself the names of the files that hold the weights."""
    rows = []
    for (name, declaration), cell in zip(
        versions.items(), cells or [declaration.checkpoint for declaration in versions.values()], strict=True
    ):
        errors = [f"{metric.value:g} {metric.domain} · {metric.camera}" for metric in declaration.metrics if metric.metric == "rmse"]
        mark = "†" if declaration.truncated else ""
        made_from = wording.descent(declaration.parents) or "–"
        rows.append((name + mark, declaration.codename, made_from, "\n".join(errors) or None, cell))
    if any(declaration.truncated for declaration in versions.values()):
        caption += ("; " if caption else "") + "† its training was cut short: see vortex show"
    return wording.snug(console.table(["version", "codename", "made from", "published RMSE m", last], rows, caption=caption))
