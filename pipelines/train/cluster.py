"""The Ray cluster that a team trains on: one of this machine, started for the stage, or one that runs already."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import UsageError, VortexError
from core.machine import cores
from pipelines.train.options import LOCAL
from pipelines.train.orders import Orders, Superseded

if TYPE_CHECKING:
    from pipelines.train.plan import TrainPlan

AUTO: Final = "auto"
CONNECT_S, ANSWER_S = 2.0, 14.0
"""How long a port may take to open, and the cluster behind it to answer. Ray itself waits 20 to 40 s, and for a dead address 120 s (measured)."""
SWITCHES: Final = {
    # Nothing phones home, nothing is printed between our lines, and `uv run` does not make Ray pack the repository for its workers.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # gRPC's handlers for fork() can crash a child that only execs, as all of ours do; its own documentation says to turn them off then.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    # A toy fit took 17.8 s with Ray's defaults and 10.9 s with these (docs/log.md).
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
_FORM = re.compile(r"(ray://)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_ASK = """
import json, signal, sys, ray
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))  # only now: a busy machine takes long to import Ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
print(json.dumps(ray.cluster_resources()))
"""
_START = "start one with: ray start --head"
_LOOK_S, _IMPORT_S = 60.0, 60.0


def require_cluster(address: str, workers: int, device: str) -> None:
    """Raise an error within about 15 s, and the time that importing Ray takes, unless a Ray cluster answers at `address` and has room for the workers.

    `address` is `auto`, `HOST:PORT` or `ray://HOST:PORT`. Ray is asked in a process of its own: a connection that fails can neither
    be given up nor tried again in the process that made it.
    """
    if address != AUTO:
        _require_open(address)
    environment = os.environ | SWITCHES
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK, address, str(ANSWER_S)],
            capture_output=True,
            text=True,
            timeout=_IMPORT_S + ANSWER_S,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unanswered(address) from error
    if asked.returncode == -signal.SIGALRM:
        raise _unanswered(address)
    if asked.returncode:
        found = (asked.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise VortexError(f"no Ray cluster can be joined at {address}: {found[:300]}", _START)
    require_room(json.loads(asked.stdout.splitlines()[-1]), workers, device, f"the Ray cluster at {address}")


def _unanswered(address: str) -> VortexError:
    if address == AUTO:
        return VortexError(f"no Ray cluster that this machine is a node of answered within {ANSWER_S:.0f} s", _START)
    return VortexError(
        f"no Ray cluster answers at {address}: something listens there, but did not answer within {ANSWER_S:.0f} s",
        "a cluster with a token answers nobody else: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH as on its machines; "
        "ray:// takes the port of the client server (10001), without it the port of the head (6379)",
    )


def require_room(resources: dict[str, float], workers: int, device: str, where: str) -> None:
    """Raise VortexError unless there is a GPU (a CPU where they train on CPUs) for each worker: Ray would wait for ever."""
    kind = "GPU" if device == "cuda" else "CPU"
    have = int(resources.get(kind, 0))
    if have < workers:
        raise VortexError(f"{workers} workers need a {kind} each, and {where} has {have}", f"lower --workers, or add {kind}s")


@contextmanager
def joined(plan: TrainPlan, orders: Orders) -> Iterator[None]:
    """Be connected to the cluster while the block runs. Raises VortexError when it is gone, or does not see what is trained on."""
    import ray

    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    # Recovery tells of workers that are lost; Ray itself would print a paragraph to stdout, where `--json` has its answer.
    ray._private.worker._worker_logs_enabled = False
    try:
        if plan.address != LOCAL:
            ray.init(address=plan.address, **quiet)
        else:
            # Without an address a forgotten cluster file of this machine would be joined instead.
            ray.init(address=LOCAL, include_dashboard=False, num_cpus=max(plan.workers, cores()), **quiet)
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
        orders.asked()
        missing = []
    except (OSError, ValueError, Superseded):
        missing = [str(orders.folder)]
    return missing + [place for place in places if not Path(place).exists()]


def code_digest() -> str:
    """SHA-256 of the code that trains, as it is installed here."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for package in ("core", "models", "pipelines", "validation"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _require_open(address: str) -> None:
    """Raise an error unless the address is one, and something listens there."""
    form = _FORM.fullmatch(address)
    port = int(form["port"]) if form else 0
    if not form or not 0 < port < 65536:
        raise UsageError(
            f"--address {address!r} is no address, allowed: local, auto, HOST:PORT, ray://HOST:PORT", "--address ray://head:10001"
        )
    try:
        socket.create_connection((form["host"].strip("[]"), port), timeout=CONNECT_S).close()
    except OSError as error:
        found = error.strerror or str(error)
        hint = f"{_START}, or correct the address; is a firewall between?"
        raise VortexError(f"no Ray cluster answers at {address}: {found}", hint) from error


def _require_shared(plan: TrainPlan, orders: Orders) -> None:
    """Raise VortexError unless every machine that can take a worker sees the run, its data, and the same code."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    plan.packs.mkdir(parents=True, exist_ok=True)
    places = sorted({str(plan.packs), *(str(data.manifest) for stage in plan.stages for data in stage.data)})
    kind = "GPU" if plan.device == "cuda" else "CPU"
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(kind)]
    asked = {
        ray.remote(_report).options(
            num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(places, orders): node["NodeManagerAddress"]
        for node in nodes
    }  # fmt: skip
    ours = code_digest()
    for task, machine in asked.items():
        missing, code = _answer(task, machine)
        if missing:
            raise VortexError(
                f"machine {machine} of the cluster does not see {', '.join(missing)}",
                "runs, packs and data must lie on storage that all machines share under one path: set build and data in vortex.toml",
            )
        if code != ours:
            raise VortexError(
                f"machine {machine} of the cluster has another version of the code than this one",
                "install the same commit there, or share one checkout, and start its Ray again",
            )


def _report(places: Sequence[str], orders: Orders) -> tuple[list[str], str]:
    return look(places, orders), code_digest()


def _answer(task: Any, machine: str) -> tuple[list[str], str]:
    import ray

    try:
        found: tuple[list[str], str] = ray.get(task, timeout=_LOOK_S)
    except ray.exceptions.GetTimeoutError as error:
        raise VortexError(f"machine {machine} of the cluster did not answer within {_LOOK_S:.0f} s", "look at it: ray status") from error
    except ray.exceptions.RayError as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise VortexError(
            f"machine {machine} of the cluster cannot run the code ({said[:200]})",
            "start its Ray from the environment that `make setup` builds, in the same checkout",
        ) from error
    return found
