"""Whether a run can be gone on with: its recipe must be the one it was planned with; whether it is a version already; how far it is."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import VortexError
from pipelines.recipes import recipe as recipes
from pipelines.runs.state import RunState

if TYPE_CHECKING:
    from pipelines.train.plan.train_plan import TrainPlan
    from registry.records import Version
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
            f"undo the change to go on, or train anew with it: vortex train {shlex.quote(recipe or asked)}",
            [f"{key}: {before} in the run, {now} in the recipe" for key, before, now in changed],
        )


def finished_as(plan: TrainPlan, registry: Hub) -> str | None:
    """The version that a run has become in the end; None while there is more to train. A version that a wall cut short is not the end."""
    return next((version.name for version in _versions(plan, registry) if version.truncated == plan.truncated), None)


def lost_state(folder: Path) -> tuple[str, ...]:
    """A line for the plan of a run whose state cannot be read; none where it can."""
    try:
        RunState.read(folder)
    except VortexError as error:
        return (
            f"note     {error.message}: it is put together from the checkpoints and the registry; the time trained so far is not known",
        )
    return ()


def state_of(plan: TrainPlan, folder: Path, registry: Callable[[], Hub]) -> RunState:
    """The state of a run; where it is lost, what its versions say of it.

    Which epochs are done is in the checkpoints. The registry must say what became a version, or the same training would become another.
    """
    with suppress(VortexError):
        return RunState.read(folder)
    versions = _versions(plan, registry())
    if not versions:
        return RunState(folder)
    whole = next((version for version in versions if version.truncated == plan.truncated), None)
    newest, names = whole or versions[-1], [stage.stage.name for stage in plan.stages]
    return RunState(
        folder,
        status="finished" if whole else "truncated",
        version=newest.name,
        mlflow={names[-1]: newest.run_id},
        finished=names if whole else names[:-1],
    )


def _versions(plan: TrainPlan, registry: Hub) -> list[Version]:
    return [version for version in registry.versions() if version.run == plan.run]
