"""With how many workers a training runs, and in which cluster: refused where there is no room for them."""

from __future__ import annotations

from core.errors import UsageError
from pipelines.device import LOCAL, Device
from pipelines.train.plan.cluster import require_cluster, require_room


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

        count, where = (torch.cuda.device_count(), "this machine") if gpus is None else (gpus, "the job")
        require_room({"GPU": count}, workers, device, where)
