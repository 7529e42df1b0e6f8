"""What a planned training is: everything that will be done and recorded, decided before anything starts."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipelines.device import LOCAL, Device
from pipelines.recipes.recipe import Recipe
from pipelines.runs.folder import runs_folder
from pipelines.train.plan.options import BAD_BATCHES, CHECKPOINT_MINUTES
from pipelines.train.plan.sources import DataPlan, StagePlan, Start
from pipelines.train.plan.switches import Switches
from pipelines.workspace import Workspace

STALL = 0.01
"""Share of the training time that checkpoints at epochs' ends may take: short epochs share one."""


class TrainPlan(BaseModel):
    """A training, complete. `recipe` is what is really done: its data, rates, epochs and size are those after every option."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    recipe: Recipe
    claim: str | None
    derived: bool
    target: str
    stages: tuple[StagePlan, ...]
    start: Start
    device: Device
    workers: int
    seed: int
    number: str
    packs: Path
    step: Switches = Switches()
    address: str = LOCAL
    """Of the Ray cluster that the workers run on; LOCAL starts one on this machine."""
    sync_batch_norm: bool = False
    anchor_data: tuple[DataPlan, ...] = ()
    """What the starting weights were trained on, for an anchor that must know which of them mattered there."""
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    """How much of a training a kill can cost: a checkpoint is written that often, besides epochs' ends and every stop."""
    max_bad_batches: int = BAD_BATCHES
    source: str | None = None
    """The recipe that was asked for, a shipped name or a file; `read` is what it said then."""
    read: Recipe | None = None
    remarks: tuple[str, ...] = ()
    """What was noticed while it was planned, and does not follow from it."""
    inferred: tuple[str, ...] = ()
    resumed: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W) that frames are trained at."""
        return self.recipe.student.size

    @property
    def truncated(self) -> str | None:
        """What the version must say of stages that end before their schedule does."""
        return self.recipe.truncated

    def folder(self, ws: Workspace) -> Path:
        """Where the run keeps its plan, state and checkpoints."""
        return runs_folder(ws) / self.run

    def stage_folder(self, folder: Path, number: int) -> Path:
        """Where stage `number` (from 0) keeps its starting weights and checkpoints, in the run's `folder`."""
        return folder / f"{number + 1}-{self.stages[number].stage.name}"
