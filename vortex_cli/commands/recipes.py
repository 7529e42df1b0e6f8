"""`vortex recipes`: the shipped lineage, or one recipe of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.shipped import SHIPPED
from vortex_cli import console, wording
from vortex_cli.completion import complete_recipes

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.recipes.schema import Recipe


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="[vN]", help="Show this recipe (or recipe file) whole.", autocompletion=complete_recipes)
    ] = None,
) -> None:
    """List the shipped recipes with what each changed, measured and taught; or show one.

    Published numbers name their dataset and camera; those of different cameras cannot be compared.

    Example: vortex recipes v6
    """
    from pipelines.recipes import recipe as library

    if name is not None:
        found = library.load(name)
        console.emit(found, *_whole(found))
        return
    every = [library.load(shipped) for shipped in SHIPPED]
    console.emit(every, _table(every))


def _table(every: list[Recipe]) -> RenderableType:
    places = list(dict.fromkeys((metric.dataset, metric.camera, metric.metric) for one in every for metric in one.published))
    numbers: Any = [(f"{dataset}\n{camera}\n{'RMSE m' if metric == 'rmse' else 'mIoU %'}", "right") for dataset, camera, metric in places]
    rows = [
        (one.name, one.codename, _from(one), one.student.encoder, _stages(one), *(_published(one, place) for place in places))
        for one in every
    ]
    shown = console.table(
        ["recipe", "codename", "from", "encoder", "data, epochs", *numbers], rows, caption="published numbers, not measured here"
    )
    return wording.snug(shown)


def _whole(one: Recipe) -> list[RenderableType]:
    from pipelines.recipes.recipe import leaves

    title = f"{one.name} {one.codename}: {one.summary}"
    return [console.table(["key", "value"], [(key, _text(value)) for key, value in leaves(one)], title, f"taught: {one.lesson}")]


def _from(one: Recipe) -> str:
    return ", ".join(f"{parent.kind} {parent.version}" for parent in one.parents) or "–"


def _stages(one: Recipe) -> str:
    return "\n".join(
        f"{' + '.join(data.dataset for data in stage.data)}, {f'{stage.stopped_at} of ' if stage.stopped_at else ''}{stage.epochs}"
        for stage in one.stages
    )


def _published(one: Recipe, place: tuple[str, str, str]) -> str | None:
    found = [metric for metric in one.published if (metric.dataset, metric.camera, metric.metric) == place]
    return next((f"{metric.value:.3f}" if metric.metric == "rmse" else f"{100 * metric.value:.1f}" for metric in found), None)


def _text(value: Any) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
