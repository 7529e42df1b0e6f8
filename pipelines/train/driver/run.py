"""A training from its plan to its version: the driver, which alone talks to MLflow and to the registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Interrupted, VortexError
from core.files import locked, staged_directory, write_atomic
from pipelines.hub.open import hub
from pipelines.runs.events import Emit, TrainEvent, failure
from pipelines.runs.folder import LOCK, PLAN, STAGING, START, sweep
from pipelines.runs.state import Recorder, RunState, learnt
from pipelines.runs.stop import Requeue, Stop, Stopped, requeued, stop_on_signals
from pipelines.runs.wall import Wall
from pipelines.train.driver.ray_fit import fit
from pipelines.train.driver.registration import Outcome, environment, inputs
from pipelines.train.driver.registration import register as register_version
from pipelines.train.plan.resume import state_of
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from pipelines.train.worker.checkpoints import Checkpoints
    from registry.records import Version
    from registry.versions import Hub

STUDENT = "student.safetensors"


@dataclass(frozen=True)
class TrainResult:
    """A finished training, or one that the wall cut short (`truncated` then says where).

    `version` is what it became, None when it was not to be registered; `student` is the best student's file, `best` its validation
    metrics on the target domain (empty without a version).
    """

    version: Version | None
    run: str
    best: dict[str, float]
    best_epoch: int
    seconds: float
    student: Path
    truncated: str | None = None


def lay_out(plan: TrainPlan, folder: Path) -> None:
    """Make the run's folder with its plan and the first weights: whole, or not at all. `train` resumes it from there.

    Raises VortexError when the starting weights cannot be had.
    """
    from models import checkpoint
    from pipelines.train.worker.optimizer import starting_student

    student = starting_student(plan.recipe, plan.start, plan.seed)
    # Under the lock nobody else is laying out: what lies there half made was left by a process that was killed.
    with locked(folder.parent / ".lock"):
        sweep(folder.parent.glob(STAGING))
        with staged_directory(folder) as staging:
            checkpoint.save(plan.stage_folder(staging, 0) / START, student, {"run": plan.run, "start": str(plan.start)})
            (staging / PLAN).write_text(plan.model_dump_json(indent=1, exclude={"resumed"}))
            RunState(staging).write()


def train(ws: Workspace, plan: TrainPlan, on_event: Emit, *, wall: Wall | None = None, register: bool = True) -> TrainResult:
    """Carry a plan out and register what comes of it; with `register=False` it stays a run.

    A failure marks the MLflow run as failed and registers nothing. When the wall is near, the best student so far becomes a version
    that says it is truncated, or nothing when the job is to be requeued. Raises Interrupted (Requeue for the latter) with the command
    that resumes, on a signal and at a wall that leaves nothing to register.
    """
    folder = plan.folder(ws)
    try:
        with stop_on_signals(wall) as stop:
            if not plan.resumed:
                lay_out(plan, folder)
            with locked(folder / LOCK, timeout=1.0):
                sweep(folder.rglob(STAGING))
                return _Driver(ws, plan, state_of(plan, folder, lambda: hub(ws)), on_event, stop, register).run()
    except KeyboardInterrupt as error:  # a second Ctrl-C, which does not wait for the loop
        begun = (folder / PLAN).is_file()
        again = f"vortex train --resume {plan.run}" if begun else "run the same command again"
        raise Interrupted(f"{plan.run} was stopped {'at once' if begun else 'before it began'}", again) from error


class _Driver:
    """Carries one plan out, from wherever it was left."""

    def __init__(self, ws: Workspace, plan: TrainPlan, state: RunState, on_event: Emit, stop: Stop, register: bool) -> None:
        self.ws, self.plan, self.state, self.stop, self.registers = ws, plan, state, stop, register
        self.on_event, self.recorder = on_event, Recorder(state)
        self.logged = (state.stage, state.epoch)

    @cached_property
    def hub(self) -> Hub:
        return hub(self.ws)

    def run(self) -> TrainResult:
        """Train every stage that is left, and register."""
        try:
            if self.state.status == "truncated":
                self._go_on_from_truncated()
            self.state.begin()
            for number in range(len(self.plan.stages)):
                try:
                    self._train_stage(number)
                except Stopped as stopped:
                    return self._stopped(number, stopped)
            result = self._register(None)
            self.state.end("finished")
            return result
        except BaseException as error:
            if isinstance(error, VortexError) and not isinstance(error, Interrupted):
                self.recorder.hear(failure(error))
            # A truncated version may be half registered: it must stay known as that.
            if self.state.status == "training":
                self.state.end("stopped" if isinstance(error, (Interrupted, KeyboardInterrupt)) else "failed")
            raise

    def _go_on_from_truncated(self) -> None:
        """The truncated version keeps its MLflow run; what follows is told in a new one, and knows where it comes from.

        What its registration still lacks is added first: the checkpoint is the one that it was begun with.
        """
        if self.state.pending:
            self._register(self.state.pending)
        progress = self._checkpoints.progress()
        self.state.truncated_at = progress.epoch if progress else 0
        run_id = self.state.mlflow.pop(self.plan.stages[-1].stage.name, None)
        self.state.continues = next((version.name for version in self.hub.versions() if version.run_id == run_id), None)

    def _train_stage(self, number: int) -> None:
        """Train one stage under its own MLflow run, from where it was left."""
        from pipelines.train.worker.anchor import lay_anchor
        from pipelines.train.worker.checkpoints import Checkpoints

        name = self.plan.stages[number].stage.name
        if name in self.state.finished:
            return
        place = self.plan.stage_folder(self.state.folder, number)
        if number and not (place / START).exists():
            _copy(Checkpoints(self.plan.stage_folder(self.state.folder, number - 1)).best, place / START)
        lay_anchor(self.plan, number, place, place / START, lambda message: self._note(name, message))
        run_id = self._open(number)

        def follow(event: TrainEvent) -> None:
            if self.stop.wall:
                self.stop.wall.see(event)
            for said in (event, *self._log(run_id, event)):
                self.recorder.hear(said)
                self.on_event(said)

        with self._accounted(run_id):
            fit(self.plan, number, place, follow, self.stop)
            if number + 1 < len(self.plan.stages):
                self.hub.store.end_run(run_id)  # before the stage counts as done: nobody would come back for it
            self.state.finished.append(name)

    def _note(self, stage: str, message: str) -> None:
        said = TrainEvent("note", stage=stage, message=message)
        self.recorder.hear(said)
        self.on_event(said)

    def _log(self, run_id: str, event: TrainEvent) -> Iterator[TrainEvent]:
        """Give an epoch's metrics to MLflow, once: what a kill has cost is trained again.

        Where they cannot be kept a note says so: they are in the run's events, and training goes on.
        """
        stage, epoch = self.logged
        if event.kind != "epoch" or (event.stage == stage and event.epoch <= epoch):
            return
        try:
            self.hub.store.log_metrics(run_id, {**event.values, "train/frames_per_second": event.frames_per_second}, event.epoch)
            self.logged = (event.stage, event.epoch)
        except VortexError as error:
            yield TrainEvent("note", stage=event.stage, message=f"MLflow did not take the metrics of epoch {event.epoch}: {error.message}")

    def _open(self, number: int) -> str:
        """The stage's MLflow run: a new one with everything that is known beforehand, or the one that was interrupted."""
        plan, stage, store = self.plan, self.plan.stages[number], self.hub.store
        run_id = self.state.mlflow.get(stage.stage.name)
        if run_id:
            store.resume_run(run_id)
            return run_id
        tags = {"vortex.run": plan.run, "vortex.stage": stage.stage.name, "vortex.domain": plan.target}
        if self.state.continues:
            tags["vortex.continues"] = self.state.continues
        run_id = store.start_run(plan.run if len(plan.stages) == 1 else f"{plan.run}/{stage.stage.name}", tags)
        shown = {"name", "student", "teacher", "loss", "optimizer", "schedule", "augmentation"}
        own = {"epochs": stage.last_epoch, "mixing": stage.stage.mixing, "start": str(plan.start), "seed": plan.seed, "run": plan.run}
        store.log_params(run_id, {"recipe": plan.recipe.model_dump(mode="json", include=shown), **own, "environment": environment(plan)})
        store.log_inputs(run_id, inputs(stage.data))
        self.state.mlflow[stage.stage.name] = run_id
        self.state.write()
        return run_id

    @contextmanager
    def _accounted(self, run_id: str) -> Iterator[None]:
        """Time the block, and tell MLflow how it ended. Raises Stopped for a stop."""
        started = time.perf_counter()

        def account() -> None:
            self.state.seconds += time.perf_counter() - started
            self.state.write()

        try:
            if self.stop.asked():  # while the libraries were loaded, which takes seconds
                raise Stopped
            yield
        except (Stopped, KeyboardInterrupt):
            with suppress(VortexError):  # the checkpoint is safe, and a job that is to be requeued must get there
                account()
                self.hub.store.end_run(run_id, "KILLED")
            raise
        except BaseException:
            with suppress(VortexError):  # on a full disk neither can be written, and why the training failed is to be heard
                account()
                self.hub.store.end_run(run_id, "FAILED")
            raise
        account()

    def _stopped(self, number: int, stopped: BaseException) -> TrainResult:
        """What a stop comes to. Raises Interrupted unless it leaves a truncated version."""
        run, again = self.plan.run, f"vortex train --resume {self.plan.run}"
        if self.stop.reason() != "wall":
            raise Interrupted(f"{run} was stopped; nothing of it is lost", again) from stopped
        if requeued():
            raise Requeue(f"{run} was stopped at the wall; the requeued job goes on", again) from stopped
        progress = self._checkpoints.progress()
        last = number + 1 == len(self.plan.stages)
        if not (self.registers and last and progress and progress.epoch > self.state.truncated_at and learnt(progress.best)):
            raise Interrupted(f"{run} was stopped at the wall; nothing of it is lost", again) from stopped
        stage = self.plan.stages[-1].stage
        said = self.stop.wall.said if self.stop.wall else "wall time"
        earlier = [f"{one.name} stopped at {one.stopped_at}/{one.epochs} epochs" for one in self.plan.recipe.stages[:-1] if one.stopped_at]
        # Said before it is registered: a crash in between must not make a resumed run finish the truncated version.
        self.state.pending = ", ".join([*earlier, f"{stage.name} stopped at {progress.epoch}/{stage.epochs} epochs, {said}"])
        self.state.end("truncated")
        return self._register(self.state.pending)

    def _register(self, truncated: str | None) -> TrainResult:
        """Register the best student of the last stage. Repeating it after a crash finishes the job and registers nothing twice."""
        plan, state, progress = self.plan, self.state, self._checkpoints.progress()
        student, best_epoch = state.folder / STUDENT, progress.best_epoch if progress else 0
        _copy(self._checkpoints.best, student)
        run_id = state.mlflow[plan.stages[-1].stage.name]
        if not self.registers:
            self.hub.store.end_run(run_id)
            best = {"rmse": progress.best} if progress and progress.best is not None else {}
            return TrainResult(None, plan.run, best, best_epoch, state.seconds, student, truncated)
        outcome = Outcome(run_id, student, state.seconds, self._skipped(), truncated or plan.truncated, state.continues)
        try:
            version = register_version(self.ws, self.hub, plan, outcome)
        except BaseException as error:
            with suppress(VortexError):
                self.hub.store.end_run(run_id, "FAILED")
            if isinstance(error, VortexError):
                done = (
                    "what was trained until the wall is safe, and is registered first by"
                    if truncated
                    else "the training itself is done, and needs only"
                )
                error.hint += f"; {done}: vortex train --resume {plan.run}"
            raise
        self.hub.store.end_run(run_id)
        state.version, state.pending = version.name, None
        state.write()
        found = version.metrics_for(plan.target)
        return TrainResult(version, plan.run, dict(found.values) if found else {}, best_epoch, state.seconds, student, truncated)

    def _skipped(self) -> int:
        """Batches of all stages that were skipped because they were not finite."""
        from pipelines.train.worker.checkpoints import Checkpoints

        done = [Checkpoints(self.plan.stage_folder(self.state.folder, number)).progress() for number in range(len(self.plan.stages))]
        return sum(progress.skipped for progress in done if progress)

    @property
    def _checkpoints(self) -> Checkpoints:
        """Those of the last stage."""
        from pipelines.train.worker.checkpoints import Checkpoints

        return Checkpoints(self.plan.stage_folder(self.state.folder, len(self.plan.stages) - 1))


def _copy(source: Path, target: Path) -> None:
    write_atomic(target, source.read_bytes())
