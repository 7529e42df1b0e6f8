"""One stage under Ray Train: in this process (`num_workers=0`), or in worker processes that average their gradients."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

from core.errors import VortexError
from pipelines.train.events import Emit, Journal, TrainEvent
from pipelines.train.plan import TrainPlan
from pipelines.train.stopping import Stop

STOP, JOURNAL = "stop", "events.jsonl"
RAY_SWITCHES = {
    # Nothing phones home, nothing is printed between our lines, and `uv run` does not make Ray pack the repository for its workers.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # A toy fit took 17.8 s with Ray's defaults and 10.9 s with these (docs/log.md).
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


def fit(plan: TrainPlan, stage: int, folder: Path, emit: Emit, stop: Stop) -> None:
    """Train a stage in its folder to the end. Raises Stopped when asked to stop, VortexError when it could not go on."""
    # Ray reads its switches while it is imported.
    os.environ.update(RAY_SWITCHES)
    import ray.train  # noqa: F401 – configures its loggers, which are then quietened

    for name in ("ray", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if plan.workers:
        _fit_with_workers(plan, stage, folder, emit, stop)
    else:
        _fit_here(plan, stage, folder, emit, stop)


def _fit_here(plan: TrainPlan, stage: int, folder: Path, emit: Emit, stop: Stop) -> None:
    from ray.train import ScalingConfig
    from ray.train.torch import TorchTrainer

    from pipelines.train.loop import StageLoop

    def train() -> None:
        StageLoop(plan, stage, folder, emit, stop.asked).run()

    TorchTrainer(train, scaling_config=ScalingConfig(num_workers=0)).fit()


def _fit_with_workers(plan: TrainPlan, stage: int, folder: Path, emit: Emit, stop: Stop) -> None:
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from pipelines.train.loop import Stopped

    journal = Journal(folder / JOURNAL)
    for left_over in (journal.path, folder / STOP):
        left_over.unlink(missing_ok=True)
    # Without an address a forgotten cluster file of this machine would be joined instead.
    cpus = max(plan.workers, os.cpu_count() or 1)
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, num_cpus=cpus)
    stop.listen()
    gpu = plan.device == "cuda"
    trainer = TorchTrainer(
        _work,
        train_loop_config={"plan": plan.model_dump_json(), "stage": stage, "folder": str(folder)},
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=plan.workers, use_gpu=gpu),
        run_config=RunConfig(name="ray", storage_path=str(folder)),
    )
    failures: list[BaseException] = []
    thread = threading.Thread(target=_keep_failure, args=(trainer, failures), daemon=True)
    last: TrainEvent | None = None
    try:
        # In a thread, because in the main one Ray takes SIGINT for itself and ends the run without a checkpoint.
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
            last = _relay(journal, emit) or last
            if stop.asked():
                (folder / STOP).touch()
    finally:
        ray.shutdown()
    last = _relay(journal, emit) or last
    if last and last.kind == "failed":
        raise VortexError(last.message, last.hint, last.details)
    if stop.asked() and (failures or (last and last.kind == "stopped")):
        raise Stopped
    if failures:
        found = str(failures[0]).strip().splitlines()[-1:]
        raise VortexError(
            f"a training worker of {plan.run} ended unexpectedly: {found[0] if found else type(failures[0]).__name__}",
            f"its latest checkpoint is whole: vortex train --resume {plan.run}",
        )


def _keep_failure(trainer: Any, failures: list[BaseException]) -> None:
    try:
        trainer.fit()
    except Exception as error:  # kept for the main thread, which raises it as an error that a person can read
        failures.append(error)


def _relay(journal: Journal, emit: Emit) -> TrainEvent | None:
    """Pass on what the workers said; return how they ended, once they have said so."""
    end = None
    for event in journal.read():
        if event.kind in ("failed", "stopped"):
            end = event
        else:
            emit(event)
    return end


def _work(config: dict[str, Any]) -> None:
    """The whole life of a worker process."""
    import torch.distributed as dist

    from pipelines.train.loop import StageLoop, Stopped

    plan, folder = TrainPlan.model_validate_json(config["plan"]), Path(config["folder"])
    journal = Journal(folder / JOURNAL)
    try:
        StageLoop(plan, config["stage"], folder, journal.write, (folder / STOP).exists).run()
    except Stopped:
        if dist.get_rank() == 0:
            journal.write(TrainEvent("stopped"))
    except VortexError as error:
        journal.write(TrainEvent("failed", message=error.message, hint=error.hint, details=error.details))
        # Ray then ends the other workers, which would wait for this one for ever.
        raise
