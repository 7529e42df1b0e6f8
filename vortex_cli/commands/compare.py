"""`vortex compare`: two versions or recipes, what differs in how they were made and in what they measured."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console
from vortex_cli.completion import complete_recipes, complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.compare.side_by_side import Comparison


def _complete(incomplete: str) -> list[str]:
    return sorted({*complete_versions(incomplete), *complete_recipes(incomplete)})


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A version, a shipped recipe or a recipe file.", autocompletion=_complete)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.", autocompletion=_complete)],
) -> None:
    """Show what differs between the recipes of two versions, and their metrics side by side.

    A registered version stands for what it was really trained with, a name that is not registered for the shipped recipe. Metrics
    appear in one row only where domain, camera, protocol and dataset are the same.

    Example: vortex compare v5 v6
    """
    from pipelines.compare.side_by_side import compare as put_side_by_side

    result = put_side_by_side(console.workspace(), a, b)
    console.emit(result, *_tables(result))


def _tables(result: Comparison) -> list[RenderableType]:
    a, b = (f"{side.name} ({side.source})" for side in (result.a, result.b))
    recipe = [(line.key, _text(line.a), _text(line.b)) for line in result.recipe]
    lacking = [side.name for side in (result.a, result.b) if side.source == "version without recipe"]
    same = f"no recipe is known of {', '.join(lacking)}" if lacking else f"the recipes of {result.a.name} and {result.b.name} do not differ"
    title = f"what differs between {result.a.name} and {result.b.name}"
    tables: list[RenderableType] = [console.table(["recipe", a, b], recipe, title) if recipe else same]
    numbers: Any = [(name, "right") for name in (result.a.name, result.b.name, "change")]
    # A table for each thing that was measured on: four columns of numbers stay readable where eight would fold them.
    for (domain, camera, protocol, dataset), group in groupby(
        result.metrics, lambda row: (row.domain, row.camera, row.protocol, row.dataset)
    ):
        rows = [(row.metric, row.a, row.b, row.change) for row in group]
        title = f"measured on {domain} · {camera} ({dataset}, {protocol})"
        table = console.table(["metric", *numbers], rows, title)
        for column in table.columns:
            column.no_wrap = True
        tables.append(table)
    return tables


def _text(value: Any) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
