"""The folder of a run: its plan, its state, and a folder for each stage. It appears whole, and what killed processes leave is swept."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from core.files import locked, staged_directory
from pipelines.train.plan import PLAN, TrainPlan
from pipelines.train.state import RunState

STAGING = ".*.staging"
"""What files and folders are called before they are whole (`core.files`)."""


def stage_folder(folder: Path, plan: TrainPlan, number: int) -> Path:
    """Where a stage keeps its starting weights and checkpoints."""
    return folder / f"{number + 1}-{plan.stages[number].stage.name}"


def lay_out(plan: TrainPlan, folder: Path) -> None:
    """Make the run's folder with its plan and the first weights: whole, or not at all. `train` resumes it from there.

    Raises VortexError when the starting weights cannot be had.
    """
    from models import checkpoint
    from pipelines.train.building import starting_student
    from pipelines.train.loop import START

    student = starting_student(plan.recipe, plan.start, plan.seed)
    # Under the lock nobody else is laying out: what lies there half made was left by a process that was killed.
    with locked(folder.parent / ".lock"):
        sweep(folder.parent.glob(STAGING))
        with staged_directory(folder) as staging:
            checkpoint.save(stage_folder(staging, plan, 0) / START, student, {"run": plan.run, "start": str(plan.start)})
            (staging / PLAN).write_text(plan.model_dump_json(indent=1, exclude={"resumed"}))
            RunState(staging).write()


def sweep(left_over: Iterable[Path]) -> None:
    """Remove what a killed process was still writing."""
    for path in list(left_over):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
