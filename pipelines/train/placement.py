"""Where a training runs: on which device, with how many workers, in which cluster; refused where there is no room for it."""

from __future__ import annotations

from core.errors import UsageError, VortexError
from pipelines.train.cluster import require_cluster, require_room
from pipelines.train.options import LOCAL, Device


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

        found = torch.cuda.is_available()
        missing = VortexError("no CUDA device is visible to torch", "use --device cpu, or see: vortex doctor")
    else:
        found, missing = gpus > 0, UsageError("--device cuda, but no GPU is asked for", "--gres gpu:1, or --device cpu")
    if device == "cuda" and not found:
        raise missing
    return "cuda" if found else "cpu"


def require_gpu(run: str, gpus: int | None) -> None:
    """Raise VortexError where a run that was planned for a GPU finds none."""
    import torch

    if not (torch.cuda.is_available() if gpus is None else gpus):
        where = "no CUDA device is visible to torch" if gpus is None else "no GPU is asked for"
        hint = f"resume it on a machine with one, or: vortex submit --resume {run} --gres gpu:1"
        raise VortexError(f"{run} was planned for a GPU, and {where}", hint)


def require_team(workers: int, device: Device, address: str, sync_batch_norm: bool, gpus: int | None = None) -> None:
    """Raise an error for workers that cannot be, or whose cluster does not answer."""
    if address != LOCAL and not workers:
        raise UsageError(f"--address {address} is where workers run, and there are none", "--workers 2, or leave --address out")
    if sync_batch_norm and workers < 2:
        raise UsageError("--sync-batch-norm joins the batches of several workers", "--workers 2, or leave --sync-batch-norm out")
    if sync_batch_norm and device == "cpu":
        raise UsageError("--sync-batch-norm needs GPUs: torch synchronises batch normalisation on CUDA alone", "leave it out on a CPU")
    if address != LOCAL:
        require_cluster(address, workers, device)
    elif workers and device == "cuda":
        import torch

        found, where = (torch.cuda.device_count(), "this machine") if gpus is None else (gpus, "the job")
        require_room({"GPU": found}, workers, device, where)
