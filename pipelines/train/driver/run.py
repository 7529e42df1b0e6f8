"""A training from its plan to its version, stage by stage: the driver, which alone talks to MLflow and to the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.errors import Interrupted, VortexError
from core.files import locked, staged_directory, write_atomic
from models import checkpoint
from pipelines.hub.open import hub
from pipelines.runs.events import Emit, TrainEvent, failure
from pipelines.runs.folder import LOCK, PLAN, STAGING, START, sweep
from pipelines.runs.orders import Orders
from pipelines.runs.state import Recorder, RunState, learnt
from pipelines.runs.stop import Requeue, Stop, Stopped, requeued, stop_on_signals
from pipelines.runs.wall import Wall
from pipelines.train.driver import ray_fit
from pipelines.train.driver.registration import Outcome, register_version
from pipelines.train.driver.tracking import Tracking
from pipelines.train.plan.resume import state_of
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.anchor import lay_anchor
from pipelines.train.worker.checkpoints import Checkpoints
from pipelines.train.worker.loop import StageLoop
from pipelines.train.worker.optimizer import starting_student
from pipelines.workspace import Workspace
from registry.records import Version

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
    student = starting_student(plan.recipe, plan.start, plan.seed)
    # Under the lock nobody else is laying out: what lies there half made was left by a process that was killed.
    with locked(folder.parent / ".lock"):
        sweep(folder.parent.glob(STAGING))
        with staged_directory(folder) as staging:
            checkpoint.save(plan.stage_folder(staging, 0) / START, student, {"run": plan.run, "start": str(plan.start)})
            (staging / PLAN).write_text(plan.model_dump_json(indent=1, exclude={"resumed"}))
            RunState(staging).write()


def train(
    ws: Workspace,
    plan: TrainPlan,
    on_event: Emit,
    *,
    wall: Wall | None = None,
    register: bool = True,
    on_asked: Callable[[], None] | None = None,
) -> TrainResult:
    """Carry a plan out and register what comes of it; with `register=False` it stays a run. `on_asked` is called when a signal asks to stop.

    A failure marks the MLflow run as failed and registers nothing. When the wall is near, the best student so far becomes a version
    that says it is truncated, or nothing when the job is to be requeued. Raises Interrupted (Requeue for the latter) with the command
    that resumes, on a signal and at a wall that leaves nothing to register.
    """
    folder = plan.folder(ws)
    try:
        with stop_on_signals(wall, on_asked) as stop:
            if not plan.resumed:
                lay_out(plan, folder)
            with locked(folder / LOCK, timeout=1.0):
                sweep(folder.rglob(STAGING))
                return _Training(ws, plan, state_of(plan, folder, lambda: hub(ws)), on_event, stop, register).run()
    except KeyboardInterrupt as error:  # a second Ctrl-C, which does not wait for the loop
        begun = (folder / PLAN).is_file()
        again = f"vortex train --resume {plan.run}" if begun else "run the same command again"
        raise Interrupted(f"{plan.run} was stopped {'at once' if begun else 'before it began'}", again) from error


class _Training:
    """Carries one plan out, from wherever it was left."""

    def __init__(self, ws: Workspace, plan: TrainPlan, state: RunState, on_event: Emit, stop: Stop, register: bool) -> None:
        self.ws, self.plan, self.state, self.stop, self.registers = ws, plan, state, stop, register
        self.on_event, self.recorder = on_event, Recorder(state)
        self.tracking = Tracking(ws, plan, state)

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
            result = self._finish(None)
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
            self._finish(self.state.pending)
        progress = self._checkpoints(-1).progress()
        self.state.truncated_at = progress.epoch if progress else 0
        run_id = self.state.mlflow.pop(self.plan.stages[-1].stage.name, None)
        self.state.continues = self.tracking.version_of(run_id)

    def _train_stage(self, number: int) -> None:
        """Train one stage under its own MLflow run, from where it was left: here, or in worker processes. Raises Stopped."""
        name = self.plan.stages[number].stage.name
        if name in self.state.finished:
            return
        folder = self.plan.stage_folder(self.state.folder, number)
        if number and not (folder / START).exists():
            _copy(self._checkpoints(number - 1).best, folder / START)
        lay_anchor(self.plan, number, folder, folder / START, lambda message: self._hear(TrainEvent("note", stage=name, message=message)))
        run_id = self.tracking.open(number)

        def follow(event: TrainEvent) -> None:
            if self.stop.wall:
                self.stop.wall.see(event)
            note = self.tracking.log_epoch(run_id, event)
            self._hear(event)
            if note:
                self._hear(note)

        with self.tracking.account(run_id):
            if self.stop.requested():  # while the libraries were loaded, which takes seconds
                raise Stopped
            if self.plan.workers:
                ray_fit.fit(self.plan, number, folder, follow, self.stop)
            else:
                orders = Orders.give(folder)
                ray_fit.fit_here(lambda: StageLoop(self.plan, number, folder, follow, self.stop.requested, orders.turn).run())
            if number + 1 < len(self.plan.stages):
                self._close(number)  # before the stage counts as done: nobody would come back for it
            self.state.finished.append(name)

    def _close(self, number: int) -> None:
        note = self.tracking.end(number)
        if note:
            self._hear(note)

    def _hear(self, event: TrainEvent) -> None:
        self.recorder.hear(event)
        self.on_event(event)

    def _stopped(self, number: int, stopped: Stopped) -> TrainResult:
        """What a stop comes to. Raises Interrupted unless it leaves a truncated version."""
        run, again = self.plan.run, f"vortex train --resume {self.plan.run}"
        if self.stop.reason() != "wall":
            raise Interrupted(f"{run} was stopped; nothing of it is lost", again) from stopped
        if requeued():
            raise Requeue(f"{run} was stopped at the wall; the requeued job goes on", again) from stopped
        progress = self._checkpoints(-1).progress()
        last = number + 1 == len(self.plan.stages)
        if not (self.registers and last and progress and progress.epoch > self.state.truncated_at and learnt(progress.best)):
            raise Interrupted(f"{run} was stopped at the wall; nothing of it is lost", again) from stopped
        stages = self.plan.recipe.stages[:-1]
        earlier = [f"{stage.name} stopped at {stage.stopped_at}/{stage.epochs} epochs" for stage in stages if stage.stopped_at]
        final, wall = self.plan.stages[-1].stage, self.stop.wall.name if self.stop.wall else "wall time"
        # Said before it is registered: a crash in between must not make a resumed run finish the truncated version.
        self.state.pending = ", ".join([*earlier, f"{final.name} stopped at {progress.epoch}/{final.epochs} epochs, {wall}"])
        self.state.end("truncated")
        return self._finish(self.state.pending)

    def _finish(self, truncated: str | None) -> TrainResult:
        """Register the best student of the last stage. Repeating it after a crash finishes the job and registers nothing twice."""
        plan, state, checkpoints = self.plan, self.state, self._checkpoints(-1)
        progress = checkpoints.progress()
        student, best_epoch = state.folder / STUDENT, progress.best_epoch if progress else 0
        _copy(checkpoints.best, student)
        last = len(plan.stages) - 1
        run_id = self.tracking.run_of(last)
        if not self.registers:
            self._close(last)
            best = {"rmse": progress.best} if progress and progress.best is not None else {}
            return TrainResult(None, plan.run, best, best_epoch, state.seconds, student, truncated)
        outcome = Outcome(run_id, student, state.seconds, self._skipped(), truncated or plan.truncated, state.continues)
        try:
            version = register_version(self.ws, self.tracking.hub, plan, outcome)
        except BaseException as error:
            self.tracking.fail(run_id)
            if isinstance(error, VortexError):
                remains = (
                    "what was trained until the wall is safe, and is registered first by"
                    if truncated
                    else "the training itself is done, and needs only"
                )
                error.hint += f"; {remains}: vortex train --resume {plan.run}"
            raise
        self._close(last)
        state.version, state.pending = version.name, None
        state.write()
        metrics = version.metrics_for(plan.target)
        return TrainResult(version, plan.run, dict(metrics.values) if metrics else {}, best_epoch, state.seconds, student, truncated)

    def _skipped(self) -> int:
        """Batches of all stages that were skipped because they were not finite."""
        progresses = [self._checkpoints(number).progress() for number in range(len(self.plan.stages))]
        return sum(progress.skipped for progress in progresses if progress)

    def _checkpoints(self, number: int) -> Checkpoints:
        """Those of a stage; -1 is the last one."""
        return Checkpoints(self.plan.stage_folder(self.state.folder, range(len(self.plan.stages))[number]))


def _copy(source: Path, target: Path) -> None:
    write_atomic(target, source.read_bytes())
