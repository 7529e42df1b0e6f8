"""What a command computes on: the device of this machine or of a job, and how Ray is started wherever it is used."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Final, Literal

from core import environment
from core.errors import UsageError, VortexError

Device = Literal["cpu", "cuda"]
LOCAL: Final = "local"
"""The address of a Ray cluster that is started for the caller and ends with it; Ray's own word."""
RAY_SWITCHES: Final = {
    # Nothing phones home, nothing is printed between our lines, and `uv run` does not make Ray pack the repository for its workers.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # gRPC's handlers for fork() can crash a child that only execs, as all of ours do; its own documentation says to turn them off then.
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    # A toy fit took 17.8 s with Ray's defaults and 10.9 s with these (docs/decisions/ray.md).
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


def start_ray(address: str, **options: Any) -> None:
    """`ray.init`, with workers that import the Vortex that this process imports. `options` are Ray's own.

    Ray puts the folder it is called in first on the path of its workers, before everything else: a user's `models/` there would be
    taken for ours. So it is called in ours, which is also where the workers then stand: paths that they are given are absolute.
    """
    import ray

    if address == LOCAL:
        os.environ["RAY_TMPDIR"] = str(environment.socket_folder())
    with contextlib.chdir(environment.ROOT):
        ray.init(address=address, **options)


def choose_device(device: str, gpus: int | None = None) -> Device:
    """`auto` is the GPU where there is one; `gpus` is how many there are on another machine that will train.

    Raises UsageError for another word, VortexError for a GPU that is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}; allowed: auto, cpu, cuda", "leave --device out to choose automatically")
    if device == "cpu":
        return "cpu"
    if gpus is None:
        import torch

        has_gpu = torch.cuda.is_available()
        missing = VortexError("no CUDA device is visible to torch", "use --device cpu, or see: vortex doctor")
    else:
        has_gpu, missing = gpus > 0, UsageError("--device cuda, but no GPU is asked for", "--gres gpu:1, or --device cpu")
    if device == "cuda" and not has_gpu:
        raise missing
    return "cuda" if has_gpu else "cpu"


def require_gpu(run: str, gpus: int | None) -> None:
    """Raise VortexError where a run that was planned for a GPU finds none."""
    import torch

    if not (torch.cuda.is_available() if gpus is None else gpus):
        where = "no CUDA device is visible to torch" if gpus is None else "no GPU is asked for"
        hint = f"resume it on a machine with one, or: vortex submit --resume {run} --gres gpu:1"
        raise VortexError(f"{run} was planned for a GPU, and {where}", hint)
