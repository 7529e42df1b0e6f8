"""The Ray cluster that a team trains on: one of this machine, started for the stage, or one that runs already."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.environment import ROOT
from core.errors import VortexError
from core.machine import cores
from pipelines.device import LOCAL, start_ray
from pipelines.runs.orders import Orders, Superseded
from pipelines.train.plan.train_plan import TrainPlan

_LOOK_S = 60.0


@contextmanager
def joined(plan: TrainPlan, orders: Orders) -> Iterator[None]:
    """Be connected to the cluster while the block runs. Raises VortexError when it is gone, or does not see what is trained on."""
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    # Recovery tells of workers that are lost; Ray itself would print a paragraph to stdout, where `--json` has its answer.
    ray._private.worker._worker_logs_enabled = False
    try:
        if plan.address != LOCAL:
            start_ray(plan.address, **quiet)
        else:
            # Without an address a forgotten cluster file of this machine would be joined instead.
            start_ray(LOCAL, include_dashboard=False, num_cpus=max(plan.workers, cores()), **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise VortexError(
            f"the Ray cluster at {plan.address} cannot be joined: {error}", f"look at it, then: vortex train --resume {plan.run}"
        ) from error
    try:
        if plan.address != LOCAL:
            _require_shared(plan, orders)
        yield
    finally:
        ray.shutdown()


def look(places: Sequence[str], orders: Orders) -> list[str]:
    """What the machine that this runs on lacks of a run: `run`, a place by its name, or `code`, whose digest then is another."""
    try:
        orders.stop_requested()
        missing = []
    except (OSError, ValueError, Superseded):
        missing = [str(orders.folder)]
    return missing + [place for place in places if not Path(place).exists()]


def code_digest(root: Path = ROOT) -> str:
    """SHA-256 of the code below `root` that trains: not of a teacher's own environment (`.venv`), which one machine may have alone."""
    digest = hashlib.sha256()
    for package in ("core", "models", "pipelines", "validation"):
        for path in sorted((root / package).rglob("*.py")):
            if any(part.startswith(".") for part in path.relative_to(root).parts):
                continue
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _require_shared(plan: TrainPlan, orders: Orders) -> None:
    """Raise VortexError unless every machine that can take a worker sees the run, its data, and the same code."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    plan.packs.mkdir(parents=True, exist_ok=True)
    places = sorted({str(plan.packs), *(str(data.manifest) for stage in plan.stages for data in stage.data)})
    kind = "GPU" if plan.device == "cuda" else "CPU"
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(kind)]
    tasks = {
        ray.remote(_report).options(
            num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(places, orders): node["NodeManagerAddress"]
        for node in nodes
    }  # fmt: skip
    own_code = code_digest()
    for task, machine in tasks.items():
        missing, code = _answer(task, machine)
        if missing:
            raise VortexError(
                f"machine {machine} of the cluster does not see {', '.join(missing)}",
                "runs, packs and data must lie on storage that all machines share under one path: set build and data in vortex.toml",
            )
        if code != own_code:
            raise VortexError(
                f"machine {machine} of the cluster has another version of the code than this one",
                "install the same commit there, or share one checkout, and start its Ray again",
            )


def _report(places: Sequence[str], orders: Orders) -> tuple[list[str], str]:
    return look(places, orders), code_digest()


def _answer(task: Any, machine: str) -> tuple[list[str], str]:
    import ray

    try:
        answer: tuple[list[str], str] = ray.get(task, timeout=_LOOK_S)
    except ray.exceptions.GetTimeoutError as error:
        raise VortexError(f"machine {machine} of the cluster did not answer within {_LOOK_S:.0f} s", "look at it: ray status") from error
    except ray.exceptions.RayError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise VortexError(
            f"machine {machine} of the cluster cannot run the code ({reason[:200]})",
            "start its Ray from the environment that `make setup` builds, in the same checkout",
        ) from error
    return answer
