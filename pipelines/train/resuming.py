"""Whether a run can be gone on with: its recipe must be the one it was planned with; and whether it is a version already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import VortexError
from pipelines import recipe as recipes
from pipelines.train.state import RunState

if TYPE_CHECKING:
    from pipelines.train.plan import TrainPlan
    from registry.versions import Hub


def source_of(recipe: str | None) -> str | None:
    """Where to read a recipe again: its shipped name, or its file wherever the next command is run; None without a recipe."""
    return recipe if recipe is None or recipe in recipes.names() else str(Path(recipe).resolve())


def require_same_recipe(plan: TrainPlan, recipe: str | None) -> None:
    """Raise VortexError with every difference when the recipe is no longer the one that the run was planned with.

    Asked is `recipe` (a name or a file), else the file that the run was begun with, where that still exists.
    """
    asked = recipe or plan.source
    if asked is None or (recipe is None and asked not in recipes.names() and not Path(asked).is_file()):
        return
    if plan.read is None:
        raise VortexError(f"{plan.run} was not begun with a recipe, so {recipe} is not its own", f"vortex train --resume {plan.run}")
    changed = recipes.differences(plan.read, recipes.load(asked), recipes.TOLD)
    if changed:
        raise VortexError(
            f"{asked} is not the recipe that {plan.run} was begun with: {len(changed)} setting(s) differ",
            f"undo the change to go on, or train anew with it: vortex train {recipe or asked}",
            [f"{key}: {before} in the run, {now} in the recipe" for key, before, now in changed],
        )


def finished_as(plan: TrainPlan, folder: Path, registry: Hub) -> str | None:
    """The version that a run has become in the end; None while there is more to train. A truncated version is not the end."""
    state = RunState.read(folder)
    if state.status == "truncated":
        return None
    run_id = state.mlflow.get(plan.stages[-1].stage.name)
    return next((version.name for version in registry.versions() if version.run_id == run_id), None)
