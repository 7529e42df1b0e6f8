"""A training that an experiment asks for: begun once, gone on with after a stop, measured, and kept in a record that says what came of it.

An ablation, a replay and a benchmark differ in what they train and what they measure of it; that a run is found again by its name, that one
which diverged is a result, and that a record is written only when the measuring is done is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from core.errors import VortexError
from core.files import write_atomic
from pipelines.runs.events import Diverged, Emit
from pipelines.runs.folder import PLAN, runs_folder
from pipelines.train.driver.run import TrainResult, train
from pipelines.train.plan.resume import resume
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace

Record = TypeVar("Record", bound=BaseModel)


@dataclass(frozen=True)
class SeededRun(Generic[Record]):
    """One run of an experiment.

    `plan` gives what is trained, a run that was begun or a new one; `measure` what its best student scores, written at `path`; `diverge` what
    is written of a training that led nowhere. With `register` the student becomes a version.
    """

    path: Path
    record: type[Record]
    plan: Callable[[], TrainPlan]
    measure: Callable[[TrainPlan, TrainResult], Record]
    diverge: Callable[[TrainPlan, Diverged], Record]
    register: bool = False

    def carry_out(self, ws: Workspace, on_event: Emit) -> Record:
        """Train and measure, or go on where it was stopped. Done already, the record is only read.

        A training that diverges is kept as that, and not tried again. Raises VortexError for a damaged record, and what training raises.
        """
        record = read_record(self.path, self.record)
        if record is not None:
            return record
        plan = self.plan()
        try:
            record = self.measure(plan, train(ws, plan, on_event, register=self.register))
        except Diverged as error:
            record = self.diverge(plan, error)
        write_record(self.path, record)
        return record


def begun(ws: Workspace, run: str) -> TrainPlan | None:
    """The plan of a run of that name that was begun; None when there is none."""
    return resume(ws, run) if run and (runs_folder(ws) / run / PLAN).is_file() else None


def read_record(path: Path, record: type[Record]) -> Record | None:
    """What a run measured; None before it has. Raises VortexError for a damaged record."""
    if not path.exists():
        return None
    try:
        return record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise VortexError(f"{path}: not readable as a run's record", "remove it; its run is then measured again") from error


def write_record(path: Path, record: BaseModel) -> None:
    """Keep a record, atomically."""
    write_atomic(path, record.model_dump_json(indent=1) + "\n")
