"""`vortex compare`: two versions or recipes, what differs in how they were made and in what they measured."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console, published
from vortex_cli.completion import complete_recipes, complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.compare.published import PublishedPair
    from pipelines.compare.side_by_side import Comparison, Judgement


def _complete(incomplete: str) -> list[str]:
    return sorted({*complete_versions(incomplete), *complete_recipes(incomplete)})


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A version, a shipped recipe or a recipe file.", autocompletion=_complete)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.", autocompletion=_complete)],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="What B is judged against A by, again for more; default: rmse.")
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", min=0.0, max=1.0, help="Share of A's value within which the two are equivalent.")
    ] = 0.01,
) -> None:
    """Show what differs between the recipes of two versions, their metrics side by side, and whether B is better than A.

    A registered version stands for what it was really trained with, a name that is not registered for the shipped recipe. Metrics
    appear in one row only where domain, camera, protocol and dataset are the same; published figures stand below, apart from them. Where both versions kept the errors of these frames,
    B is judged against A as by `vortex evaluate B --against A`.

    Example: vortex compare v5 v6
    """
    from pipelines.compare.published import published_pairs
    from pipelines.compare.side_by_side import compare as put_side_by_side

    ws = console.workspace()
    result = put_side_by_side(ws, a, b, metrics=tuple(dict.fromkeys(metric or ["rmse"])), margin=margin)
    pairs = published_pairs(ws, a, b)
    console.emit({**vars(result), "published": pairs}, *_tables(result), *([_published(result, pairs)] if pairs else []))


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
        rows = list(group)
        place = (domain, camera, protocol, dataset)
        judgements = {
            judgement.metric: judgement
            for judgement in result.judgements
            if (judgement.domain, judgement.camera, judgement.protocol, judgement.dataset) == place
        }
        verdicts = {metric: judgement.verdict for metric, judgement in judgements.items() if judgement.verdict}
        title = f"measured on {domain} · {camera} ({dataset}, {protocol})"
        words = [[verdicts[row.metric].words if row.metric in verdicts else None] if verdicts else [] for row in rows]
        cells = [(row.metric, row.a, row.b, row.change, *word) for row, word in zip(rows, words, strict=True)]
        heads = [f"{result.b.name} is"] if verdicts else []
        table = console.table(["metric", *numbers, *heads], cells, title, _caption(judgements.values()))
        for column in table.columns:
            column.no_wrap = True
        tables.append(table)
    return tables


def _published(result: Comparison, pairs: list[PublishedPair]) -> RenderableType:
    names: Any = [(name, "right") for name in (result.a.name, result.b.name)]
    rows = [(pair.metric, pair.a, pair.b, pair.place) for pair in pairs]
    return console.table(["metric", *names, "published on"], rows, published.TITLE)


def _caption(judgements: Iterable[Judgement]) -> str:
    """What the verdicts of a table rest on, and why there are none."""
    texts = []
    for judgement in judgements:
        verdict = judgement.verdict
        if verdict is None:
            texts.append(f"not judged: {judgement.unjudged}")
        else:
            difference = f"{verdict.metric}: {verdict.text(verdict.difference, '+')} ({verdict.range_text})"
            texts.append("; ".join(filter(None, (difference, verdict.reason, verdict.basis))))
    return "\n".join(dict.fromkeys(texts))


def _text(value: Any) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
