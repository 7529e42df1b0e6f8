"""What a planned training is: everything that will be done and recorded, decided before anything starts."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.errors import VortexError
from pipelines.recipe import Recipe
from pipelines.train.options import BAD_BATCHES, CHECKPOINT_MINUTES, LOCAL, Device
from pipelines.train.sources import DataPlan, StagePlan, Start
from pipelines.train.switches import Switches
from pipelines.workspace import Workspace

PLAN, LOCK = "plan.json", ".lock"
"""Files of a run's folder. Whoever trains it holds the lock."""
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


def runs_folder(ws: Workspace) -> Path:
    """The folder of all runs of a workspace."""
    return ws.build / "runs"


def run_folder(ws: Workspace, name: str) -> Path:
    """The folder of a run that was begun. Raises VortexError naming those there are."""
    begun = [path.parent for path in runs_folder(ws).glob(f"*/{PLAN}")]
    found = next((folder for folder in begun if folder.name == name), None)
    if found is None:
        newest = sorted(begun, key=lambda folder: folder.stat().st_mtime, reverse=True)[:10]
        known = ", ".join(folder.name for folder in newest) or "none"
        raise VortexError(f"unknown run {name[:100]!r}; runs of this workspace: {known}", "see them with: vortex runs")
    return found
