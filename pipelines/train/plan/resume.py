"""How a run that was begun goes on: with the plan it has, if its recipe and its data are what they were."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from core.errors import VortexError
from core.shipped import SHIPPED
from pipelines.device import require_gpu
from pipelines.hub.open import hub
from pipelines.pack.preparing import packs_folder
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import TOLD
from pipelines.runs.folder import PLAN, WEIGHTS, run_folder
from pipelines.runs.state import RunState
from pipelines.train.plan.explain import explain
from pipelines.train.plan.feasibility import require_unchanged
from pipelines.train.plan.placement import require_team
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from registry.records import Version
    from registry.versions import Hub


def resume(ws: Workspace, run: str, address: str | None = None, gpus: int | None = None, recipe: str | None = None) -> TrainPlan:
    """The plan of a run that was begun; its workers can go on elsewhere, at `address`, or on a machine with so many `gpus`.

    Raises VortexError naming the runs there are, or what has changed since: its data, its recipe, or `recipe` where that is given.
    """
    path = run_folder(ws, run) / PLAN
    try:
        # Packs are derived and can lie elsewhere by now.
        plan = TrainPlan.model_validate(json.loads(path.read_text()) | {"packs": packs_folder(ws)})
    except (ValueError, TypeError, ValidationError) as error:
        raise VortexError(f"{path}: not readable as a training plan", "start the training anew") from error
    require_same_recipe(plan, recipe)
    require_unchanged(ws, [*(data for stage in plan.stages for data in stage.data), *plan.anchor_data])
    if address:
        plan = plan.model_copy(update={"address": address})
    if plan.device == "cuda":  # also for workers elsewhere: the finished student is measured here
        require_gpu(run, gpus)
    require_team(plan.workers, plan.device, plan.address, plan.sync_batch_norm, gpus)
    registry = hub(ws)
    version = finished_as(plan, registry)
    if version and not any(path.parent.rglob(WEIGHTS)):
        raise VortexError(
            f"{run} is {version} already, and its checkpoints are gone", f"go on from its weights with: vortex train --from {version}"
        )
    plan = plan.model_copy(update={"resumed": True, "number": version or registry.next_name(plan.claim, plan.derived)})
    lines = explain(plan)
    if version:
        lines = (*lines[:-1], f"is       {version} already: what its registration lacks is added, nothing is registered twice")
    return plan.model_copy(update={"inferred": (f"resumes  {run}", *lost_state(path.parent), *lines)})


def require_same_recipe(plan: TrainPlan, recipe: str | None) -> None:
    """Raise VortexError with every difference when the recipe is no longer the one that the run was planned with.

    Compared is `recipe` (a name or a file), else the file that the run was begun with, where that still exists.
    """
    source = recipe or plan.source
    if source is None or (recipe is None and source not in SHIPPED and not Path(source).is_file()):
        return
    if plan.read is None:
        raise VortexError(f"{plan.run} was not begun with a recipe, so {recipe} is not its own", f"vortex train --resume {plan.run}")
    differences = recipes.differences(plan.read, recipes.load(source), TOLD)
    if differences:
        raise VortexError(
            f"{source} is not the recipe that {plan.run} was begun with: {len(differences)} setting(s) differ",
            f"undo the change to go on, or train anew with it: vortex train {shlex.quote(recipe or source)}",
            [f"{key}: {before} in the run, {now} in the recipe" for key, before, now in differences],
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
