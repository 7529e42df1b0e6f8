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
        str | None, typer.Argument(metavar="vN", help="Show this recipe (or recipe file) whole.", autocompletion=complete_recipes)
    ] = None,
) -> None:
    """List the shipped recipes with what each changed, measured and taught; or show one.

    Published numbers name their dataset and camera; those of different cameras cannot be compared.

    Example: vortex recipes v6
    """
    from pipelines.recipes import recipe as library

    if name is not None:
        recipe = library.load(name)
        console.emit(recipe, *_whole(recipe))
        return
    every = [library.load(shipped) for shipped in SHIPPED]
    console.emit(every, _table(every))


def _table(every: list[Recipe]) -> RenderableType:
    places = list(dict.fromkeys((metric.dataset, metric.camera, metric.metric) for recipe in every for metric in recipe.published))
    numbers: Any = [(f"{dataset}\n{camera}\n{'RMSE m' if metric == 'rmse' else 'mIoU %'}", "right") for dataset, camera, metric in places]
    rows = [
        (
            recipe.name,
            recipe.codename,
            _from(recipe),
            recipe.student.encoder,
            _stages(recipe),
            *(_published(recipe, place) for place in places),
        )
        for recipe in every
    ]
    table = console.table(
        ["recipe", "codename", "from", "encoder", "data, epochs", *numbers], rows, caption="published numbers, not measured here"
    )
    return wording.snug(table)


def _whole(recipe: Recipe) -> list[RenderableType]:
    from pipelines.recipes.recipe import leaves

    title = f"{recipe.name} {recipe.codename}: {recipe.summary}"
    return [console.table(["key", "value"], [(key, _text(value)) for key, value in leaves(recipe)], title, f"taught: {recipe.lesson}")]


def _from(recipe: Recipe) -> str:
    return ", ".join(f"{parent.kind} {parent.version}" for parent in recipe.parents) or "–"


def _stages(recipe: Recipe) -> str:
    return "\n".join(
        f"{' + '.join(data.dataset for data in stage.data)}, {f'{stage.stopped_at} of ' if stage.stopped_at else ''}{stage.epochs}"
        for stage in recipe.stages
    )


def _published(recipe: Recipe, place: tuple[str, str, str]) -> str | None:
    metrics = [metric for metric in recipe.published if (metric.dataset, metric.camera, metric.metric) == place]
    return next((f"{metric.value:.3f}" if metric.metric == "rmse" else f"{100 * metric.value:.1f}" for metric in metrics), None)


def _text(value: Any) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
