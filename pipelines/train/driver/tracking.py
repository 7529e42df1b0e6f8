"""What MLflow is told of a run: a run of its own for each stage, the metrics of its epochs, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from core.errors import VortexError
from pipelines.hub.open import hub
from pipelines.runs.events import Journal, TrainEvent
from pipelines.runs.state import EVENTS, RunState
from pipelines.runs.stop import Stopped
from pipelines.train.driver.registration import environment, inputs
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace

PARAMETERS = {"name", "student", "teacher", "loss", "optimizer", "schedule", "augmentation"}
"""Of the recipe, what MLflow shows beside a run."""
RATE = "train/frames_per_second"
"""The metric that every epoch has, whatever is trained."""


class Tracking:
    """The MLflow runs of a training, as the run's state names them."""

    def __init__(self, ws: Workspace, plan: TrainPlan, state: RunState) -> None:
        self.hub, self._plan, self._state = hub(ws), plan, state
        self._newest = (state.stage, state.epoch)

    def open(self, number: int) -> str:
        """The MLflow run of a stage, at work: a new one, or the one that was interrupted."""
        begun = self._plan.stages[number].stage.name in self._state.mlflow
        run_id = self.run_of(number)
        if begun:
            self.hub.store.resume_run(run_id)
        return run_id

    def run_of(self, number: int) -> str:
        """The MLflow run of a stage; a new one, with everything that is known beforehand, where the store has none.

        It has none of a stage that was begun in another store while the registry moved from there.
        """
        plan, stage, store = self._plan, self._plan.stages[number], self.hub.store
        run_id = self._state.mlflow.get(stage.stage.name)
        if run_id and store.has_run(run_id):
            return run_id
        tags = {"vortex.run": plan.run, "vortex.stage": stage.stage.name, "vortex.domain": plan.target}
        if self._state.continues:
            tags["vortex.continues"] = self._state.continues
        run_id = store.start_run(plan.run if len(plan.stages) == 1 else f"{plan.run}/{stage.stage.name}", tags)
        own = {"epochs": stage.last_epoch, "mixing": stage.stage.mixing, "start": str(plan.start), "seed": plan.seed, "run": plan.run}
        recipe = plan.recipe.model_dump(mode="json", include=PARAMETERS)
        store.log_params(run_id, {"recipe": recipe, **own, "environment": environment(plan)})
        store.log_inputs(run_id, inputs(stage.data))
        self._state.mlflow[stage.stage.name] = run_id
        self._state.write()
        return run_id

    def log_epoch(self, run_id: str, event: TrainEvent) -> TrainEvent | None:
        """Give an epoch's metrics to MLflow, once: what a kill has cost is trained again.

        A note where they cannot be kept: they are in the run's events, and training goes on.
        """
        stage, epoch = self._newest
        if event.kind != "epoch" or (event.stage == stage and event.epoch <= epoch):
            return None
        try:
            self._log(run_id, event)
        except VortexError as error:
            message = f"MLflow did not take the metrics of epoch {event.epoch}: {error.message}"
            return TrainEvent("note", stage=event.stage, message=message)
        self._newest = (event.stage, event.epoch)
        return None

    @contextmanager
    def account(self, run_id: str) -> Iterator[None]:
        """Add the block's time to the run's, and tell MLflow when it was stopped or failed."""
        started = time.perf_counter()

        def add_seconds() -> None:
            self._state.seconds += time.perf_counter() - started
            self._state.write()

        try:
            yield
        except BaseException as error:
            # A stop's checkpoint is safe, and a job that is to be requeued must get there; on a full disk neither can be written, and
            # why the training failed is to be heard.
            with suppress(VortexError):
                add_seconds()
                self.hub.store.end_run(run_id, "KILLED" if isinstance(error, (Stopped, KeyboardInterrupt)) else "FAILED")
            raise
        add_seconds()

    def _log(self, run_id: str, event: TrainEvent) -> None:
        self.hub.store.log_metrics(run_id, {**event.values, RATE: event.frames_per_second}, event.epoch)

    def end(self, number: int) -> TrainEvent | None:
        """Close the MLflow run of a stage that is finished.

        Epochs that another store was told of, or none because it could not be reached, are added from the run's own events. A note
        where they still cannot be kept.
        """
        run_id, name = self.run_of(number), self._plan.stages[number].stage.name
        logged = self.hub.store.steps(run_id, RATE)
        events = Journal(self._state.folder / EVENTS).read()
        epochs = {event.epoch: event for event in events if event.kind == "epoch" and event.stage == name}
        missing, note = sorted(epochs.keys() - logged), None
        try:
            while missing:
                self._log(run_id, epochs[missing[0]])
                missing.pop(0)
        except VortexError as error:
            without = f"{len(missing)} of {len(epochs)} epochs"
            note = TrainEvent("note", stage=name, message=f"MLflow stays without the metrics of {without}: {error.message}")
        self.hub.store.end_run(run_id)
        return note

    def fail(self, run_id: str) -> None:
        """Mark the MLflow run as failed; nothing more can be done where that cannot be said."""
        with suppress(VortexError):
            self.hub.store.end_run(run_id, "FAILED")

    def version_of(self, run_id: str | None) -> str | None:
        """The name of the version that an MLflow run has become, if any."""
        return next((version.name for version in self.hub.versions() if version.run_id == run_id), None)
