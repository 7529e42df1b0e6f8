"""One stage under Ray Train: by worker processes that average their gradients, or in this process (`num_workers=0`)."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist

from core import environment
from core.errors import VortexError
from pipelines.device import RAY_SWITCHES
from pipelines.runs.events import Emit, Journal, TrainEvent, failure, raised
from pipelines.runs.folder import sweep
from pipelines.runs.orders import Orders, Superseded
from pipelines.runs.stop import Stop, Stopped
from pipelines.train.driver import ray_cluster
from pipelines.train.plan.cluster import require_room
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.loop import StageLoop

STORAGE = "ray-"
"""How the folder begins in which Ray keeps its own notes of a stage; the driver's token follows."""
PATIENCE_S = 12 * 3600
"""Seconds that workers wait for one another: the leader validates alone, and that may take long. Ray notices a lost worker by itself."""
SILENCE_S = 30.0
"""Seconds without a word from the workers after which it is asked whether the cluster has room for them."""


def fit(plan: TrainPlan, stage: int, folder: Path, emit: Emit, stop: Stop) -> None:
    """Train a stage by workers to its end. Raises Stopped when asked to stop, VortexError when it could not go on."""
    _import_ray()
    orders = Orders.give(folder)
    with ray_cluster.joined(plan, orders):
        WorkerTraining(plan, stage, orders, emit, stop).run()


def fit_here(train: Callable[[], None]) -> None:
    """Have Ray Train call `train` in this process. Raises what it raises."""
    _import_ray()
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(train, scaling_config=ScalingConfig(num_workers=0)).fit()


def _import_ray() -> None:
    # Ray reads its switches while it is imported.
    os.environ.update(RAY_SWITCHES)
    import ray.train  # noqa: F401 – configures its loggers, which are then quietened

    for name in ("ray", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)


class WorkerTraining:
    """Has a stage trained by workers: starts them, passes on what they say, tells them to stop, and hears of those that are lost."""

    def __init__(self, plan: TrainPlan, stage: int, orders: Orders, emit: Emit, stop: Stop) -> None:
        self.plan, self.stage, self.orders, self.emit, self.stop = plan, stage, orders, emit, stop
        # What a driver that was killed has left: its journal, and Ray's notes of its run.
        sweep([*orders.folder.glob("events-*.jsonl"), *orders.folder.glob(f"{STORAGE}*")])
        self.journal = Journal(journal_path(orders))
        self.end: TrainEvent | None = None
        self.failures: list[BaseException] = []
        self.last_event, self.waiting, self.stopping = time.monotonic(), False, False

    def run(self) -> None:
        """Train to the end. Raises Stopped, or VortexError with what a worker said or how it ended."""
        # ray.init has taken the signals; and in the main thread Ray would take SIGINT for itself and end the run without a checkpoint.
        self.stop.listen()
        thread = threading.Thread(target=self._fit, args=(self._trainer(),), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
            self._relay()
            if self.stop.requested():
                if self.waiting:
                    break
                if not self.stopping:
                    self.stopping = True
                    self.orders.stop()
        self._relay()
        shutil.rmtree(self._storage(), ignore_errors=True)
        if self.end and self.end.kind == "failed":
            raise raised(self.end)
        if self.stop.requested() and (self.failures or self.waiting or (self.end and self.end.kind == "stopped")):
            raise Stopped
        if self.failures:
            lines = str(self.failures[0]).strip().splitlines()
            raise VortexError(
                f"the training of {self.plan.run} ended unexpectedly: {lines[-1] if lines else type(self.failures[0]).__name__}",
                f"its latest checkpoint is whole: vortex train --resume {self.plan.run}",
            )

    def _trainer(self) -> Any:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig

        # It imports Ray, which must have its switches by then.
        from pipelines.train.driver.ray_recovery import Recovery, Trainer

        gpu, folder = self.plan.device == "cuda", self.orders.folder
        return Trainer(
            _work,
            train_loop_config={"plan": self.plan.model_dump_json(), "stage": self.stage, "orders": self.orders},
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo", timeout_s=PATIENCE_S),
            # GPUs of one machine are near each other; CPU workers on one machine share its cores.
            scaling_config=ScalingConfig(num_workers=self.plan.workers, use_gpu=gpu, placement_strategy="PACK" if gpu else "SPREAD"),
            run_config=RunConfig(
                # Ray does nothing, and says nothing, for a name that has been run to its end.
                name=self._storage().name,
                storage_path=str(folder),
                # Ray counts losses, and does not see progress: Recovery ends the run.
                failure_config=FailureConfig(max_failures=-1),
                callbacks=[Recovery(self.journal.path, folder, self.plan.run)],
            ),
        )

    def _storage(self) -> Path:
        return self.orders.folder / f"{STORAGE}{self.orders.token}"

    def _fit(self, trainer: Any) -> None:
        try:
            trainer.fit()
        except Exception as error:  # kept for the main thread, which raises it as an error that a person can read
            self.failures.append(error)

    def _relay(self) -> None:
        """Pass on what the workers said, and remember how they ended; after a failure there is nothing more to hear."""
        for event in self.journal.read():
            self.last_event, self.waiting = time.monotonic(), False
            if event.kind in ("failed", "stopped"):
                self.end = event
            else:
                self.emit(event)
            if event.kind == "failed":
                return
        if not self.waiting and time.monotonic() > self.last_event + SILENCE_S:
            self.last_event = time.monotonic()
            self._look_for_room()

    def _look_for_room(self) -> None:
        """Say so when the workers wait for a machine that is gone: Ray would wait for ever, and in silence."""
        import ray

        try:
            require_room(ray.cluster_resources(), self.plan.workers, self.plan.device, "the cluster")
        except VortexError as error:
            self.waiting = True
            message = f"training waits: {error.message} now; it goes on when a machine joins, or elsewhere after Ctrl-C"
            self.emit(TrainEvent("note", message=message))


def journal_path(orders: Orders) -> Path:
    """Where the workers of a driver say what they do: workers of an earlier driver do not speak in it."""
    return orders.folder / f"events-{orders.token}.jsonl"


def _work(config: dict[str, Any]) -> None:
    """The whole life of a worker process."""
    environment.prepare()  # a machine of a cluster may be a container too
    plan, orders = TrainPlan.model_validate_json(config["plan"]), config["orders"]
    journal = Journal(journal_path(orders))
    try:
        StageLoop(plan, config["stage"], orders.folder, journal.write, orders.stop_requested, orders.turn).run()
    except Superseded:
        return
    except Stopped:
        if dist.get_rank() == 0:
            journal.write(TrainEvent("stopped"))
    except VortexError as error:
        journal.write(failure(error))
        # Recovery then ends the training: the other workers would wait for this one for ever.
        raise
