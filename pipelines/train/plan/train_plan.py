"""What a planned training is: everything that will be done and recorded, decided before anything starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from pipelines.device import LOCAL, Device
from pipelines.recipes.schema import TOLD, Recipe
from pipelines.runs.folder import runs_folder
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.sources import DataPlan, StagePlan, Start
from pipelines.train.plan.switches import Switches
from pipelines.workspace import Workspace

STALL = 0.01
"""Share of the training time that checkpoints at epochs' ends may take: short epochs share one."""


class OfTheRun:
    """Marks a field that says when, where or under which name a training is carried out: two plans that differ in it alone are one."""


class Upkeep:
    """Marks a field that costs time, and changes nothing of what is learnt."""


class TrainPlan(BaseModel):
    """A training, complete. `recipe` is what is really done: its data, rates, epochs and size are those after every option."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Annotated[str, OfTheRun]
    recipe: Recipe
    claim: Annotated[str | None, OfTheRun]
    derived: Annotated[bool, OfTheRun]
    target: str
    stages: tuple[StagePlan, ...]
    start: Start
    device: Device
    workers: int
    seed: int
    number: Annotated[str, OfTheRun]
    packs: Annotated[Path, OfTheRun]
    step: Switches = Switches()
    address: Annotated[str, OfTheRun] = LOCAL
    """Of the Ray cluster that the workers run on; LOCAL starts one on this machine."""
    sync_batch_norm: bool = False
    anchor_data: tuple[DataPlan, ...] = ()
    """What the starting weights were trained on, for an anchor that must know which of them mattered there."""
    checkpoint_minutes: Annotated[float, Upkeep] = TrainOptions.checkpoint_minutes
    """How much of a training a kill can cost: a checkpoint is written that often, besides epochs' ends and every stop."""
    max_bad_batches: Annotated[int, Upkeep] = TrainOptions.max_bad_batches
    source: Annotated[str | None, OfTheRun] = None
    """The recipe that was asked for, a shipped name or a file; `read` is what it said then."""
    read: Annotated[Recipe | None, OfTheRun] = None
    remarks: Annotated[tuple[str, ...], OfTheRun] = ()
    """What was noticed while it was planned, and does not follow from it."""
    inferred: Annotated[tuple[str, ...], OfTheRun] = ()
    resumed: Annotated[bool, OfTheRun] = False

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W) that frames are trained at."""
        return self.recipe.student.size

    @property
    def truncated(self) -> str | None:
        """What the version must say of stages that end before their schedule does."""
        return self.recipe.truncated

    def digest(self, without: Collection[str] = ()) -> str:
        """SHA-256 over recipe, data, start, size, device, workers, seed and switches, except the fields `without`.

        Whether data has passed the gate by now is not in it: that changes what a plan may do, not what it does.
        """
        raw = json.loads(self.model_dump_json(exclude={*fields_marked(OfTheRun), *without}))
        for block in TOLD:
            del raw["recipe"][block]
        for data in (*(data for stage in raw["stages"] for data in stage["data"]), *raw.get("anchor_data", ())):
            del data["validated"], data["state"]
        return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()

    def folder(self, ws: Workspace) -> Path:
        """Where the run keeps its plan, state and checkpoints."""
        return runs_folder(ws) / self.run

    def stage_folder(self, folder: Path, number: int) -> Path:
        """Where stage `number` (from 0) keeps its starting weights and checkpoints, in the run's `folder`."""
        return folder / f"{number + 1}-{self.stages[number].stage.name}"


def fields_marked(mark: type) -> tuple[str, ...]:
    """The fields of a plan that bear a mark."""
    return tuple(name for name, field in TrainPlan.model_fields.items() if mark in field.metadata)
