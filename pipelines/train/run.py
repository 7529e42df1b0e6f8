"""A training from its plan to its version: the driver, which alone talks to MLflow and to the registry."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict, TypeAdapter

from core.errors import Interrupted, VortexError
from core.files import locked, staged_directory, write_atomic
from pipelines.hub import hub
from pipelines.train.events import Emit, TrainEvent
from pipelines.train.fit import fit
from pipelines.train.plan import PLAN, TrainPlan
from pipelines.train.registering import environment, inputs, register
from pipelines.train.stopping import Stop, stop_on_signals
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from registry.records import Version
    from registry.store import MlflowStore

STATE = "state.json"


@dataclass(frozen=True)
class TrainResult:
    """A finished training: the version that it became, and the validation metrics of its best epoch."""

    version: Version
    run: str
    best: dict[str, float]
    best_epoch: int
    seconds: float


@dataclass
class RunState:
    """What a run has done outside its checkpoints: MLflow run of each stage, stages that are finished, seconds spent training."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    folder: Path
    mlflow: dict[str, str] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> RunState:
        """The state of a run; a fresh one before anything was done."""
        path = folder / STATE
        if not path.exists():
            return cls(folder)
        try:
            return _STATE.validate_python({**json.loads(path.read_text()), "folder": folder})
        except (ValueError, TypeError) as error:
            raise VortexError(f"{path}: not readable as a run's state", "start the training anew") from error

    def write(self) -> None:
        """Keep it, atomically."""
        kept = {name: value for name, value in asdict(self).items() if name != "folder"}
        write_atomic(self.folder / STATE, json.dumps(kept, indent=1))


_STATE = TypeAdapter(RunState)


def train(ws: Workspace, plan: TrainPlan, on_event: Emit) -> TrainResult:
    """Carry a plan out and register what comes of it.

    A failure marks the MLflow run as failed and registers nothing. Raises Interrupted, with the command that resumes, on SIGINT or SIGTERM.
    """
    folder = plan.folder(ws)
    try:
        with stop_on_signals() as stop:
            if not plan.resumed:
                _lay_out(plan, folder)
            with locked(folder / ".lock", timeout=1.0):
                state = RunState.read(folder)
                for number in range(len(plan.stages)):
                    _train_stage(ws, plan, number, state, on_event, stop)
                return _finish(ws, plan, state)
    except KeyboardInterrupt as error:  # a second Ctrl-C, which does not wait for the loop
        begun = (folder / PLAN).is_file()
        again = f"vortex train --resume {plan.run}" if begun else "run the same command again"
        raise Interrupted(f"{plan.run} was stopped {'at once' if begun else 'before it began'}", again) from error


def stage_folder(folder: Path, plan: TrainPlan, number: int) -> Path:
    """Where a stage keeps its starting weights and checkpoints."""
    return folder / f"{number + 1}-{plan.stages[number].stage.name}"


def _lay_out(plan: TrainPlan, folder: Path) -> None:
    """Make the run's folder with its plan and the first weights: whole, or not at all."""
    from models import checkpoint
    from pipelines.train.building import starting_student
    from pipelines.train.loop import START

    with staged_directory(folder) as staging:
        student = starting_student(plan.recipe, plan.start, plan.seed)
        checkpoint.save(stage_folder(staging, plan, 0) / START, student, {"run": plan.run, "start": str(plan.start)})
        (staging / PLAN).write_text(plan.model_dump_json(indent=1, exclude={"resumed"}))


def _train_stage(ws: Workspace, plan: TrainPlan, number: int, state: RunState, on_event: Emit, stop: Stop) -> None:
    """Train one stage under its own MLflow run, from where it was left."""
    from pipelines.train.checkpointing import Checkpoints
    from pipelines.train.loop import START

    name = plan.stages[number].stage.name
    if name in state.finished:
        return
    place = stage_folder(state.folder, plan, number)
    if number and not (place / START).exists():
        _copy(Checkpoints(stage_folder(state.folder, plan, number - 1)).best, place / START)
    store = hub(ws).store
    run_id = _open(store, plan, number, state)

    def follow(event: TrainEvent) -> None:
        if event.kind == "epoch":
            store.log_metrics(run_id, {**event.values, "train/frames_per_second": event.frames_per_second}, event.epoch)
        on_event(event)

    with _accounted(store, run_id, plan, state, stop):
        fit(plan, number, place, follow, stop)
        state.finished.append(name)
    if number + 1 < len(plan.stages):
        store.end_run(run_id)


def _open(store: MlflowStore, plan: TrainPlan, number: int, state: RunState) -> str:
    """The stage's MLflow run: a new one with everything that is known beforehand, or the one that was interrupted."""
    stage = plan.stages[number]
    run_id = state.mlflow.get(stage.stage.name)
    if run_id:
        store.resume_run(run_id)
        return run_id
    tags = {"vortex.run": plan.run, "vortex.stage": stage.stage.name, "vortex.domain": plan.target}
    run_id = store.start_run(plan.run if len(plan.stages) == 1 else f"{plan.run}/{stage.stage.name}", tags)
    shown = {"name", "student", "teacher", "loss", "optimizer", "schedule", "augmentation"}
    own = {"epochs": stage.last_epoch, "mixing": stage.stage.mixing, "start": str(plan.start), "seed": plan.seed, "run": plan.run}
    store.log_params(run_id, {"recipe": plan.recipe.model_dump(mode="json", include=shown), **own, "environment": environment(plan)})
    store.log_inputs(run_id, inputs(stage.data))
    state.mlflow[stage.stage.name] = run_id
    state.write()
    return run_id


@contextmanager
def _accounted(store: MlflowStore, run_id: str, plan: TrainPlan, state: RunState, stop: Stop) -> Iterator[None]:
    """Time the block, and tell MLflow how it ended; a stop becomes Interrupted with the command that resumes."""
    from pipelines.train.loop import Stopped

    started = time.perf_counter()

    def account() -> None:
        state.seconds += time.perf_counter() - started
        state.write()

    try:
        if stop.asked():  # while the libraries were loaded, which takes seconds
            raise Stopped
        yield
    except (Stopped, KeyboardInterrupt) as error:
        account()
        store.end_run(run_id, "KILLED")
        raise Interrupted(f"{plan.run} was stopped; nothing of it is lost", f"vortex train --resume {plan.run}") from error
    except BaseException:
        with suppress(VortexError):  # on a full disk neither can be written, and why the training failed is to be heard
            account()
            store.end_run(run_id, "FAILED")
        raise
    account()


def _finish(ws: Workspace, plan: TrainPlan, state: RunState) -> TrainResult:
    """Register the best student of the last stage. Repeating it after a crash finishes the job and registers nothing twice."""
    from pipelines.train.checkpointing import Checkpoints

    checkpoints = Checkpoints(stage_folder(state.folder, plan, len(plan.stages) - 1))
    student, progress = state.folder / "student.safetensors", checkpoints.progress()
    _copy(checkpoints.best, student)
    run_id = state.mlflow[plan.stages[-1].stage.name]
    registry = hub(ws)
    try:
        version = register(ws, registry, plan, run_id, student, state.seconds)
    except BaseException as error:
        with suppress(VortexError):
            registry.store.end_run(run_id, "FAILED")
        if isinstance(error, VortexError):
            error.hint += f"; the training itself is done, and needs only: vortex train --resume {plan.run}"
        raise
    registry.store.end_run(run_id)
    best_epoch = progress.best_epoch if progress else 0
    found = version.metrics_for(plan.target)
    return TrainResult(version, plan.run, dict(found.values) if found else {}, best_epoch, state.seconds)


def _copy(source: Path, target: Path) -> None:
    write_atomic(target, source.read_bytes())
