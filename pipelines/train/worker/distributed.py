"""The processes that train together: one, or several that average their gradients. The loop is the same for both."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from core.machine import cores
from pipelines.train.worker import threads

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among `size` processes, the device it computes on, and its place among the `local` of them on its machine.

    With `sync_batch_norm` batch normalisation sees the group's whole batch, not this process's part of it. Only GPUs can.
    """

    rank: int
    size: int
    device: torch.device
    local: int = 1
    sync_batch_norm: bool = False
    local_rank: int = 0

    @classmethod
    def current(cls, device: Literal["cpu", "cuda"], sync_batch_norm: bool = False) -> ProcessGroup:
        """The group as Ray Train has set it up; alone when it has not."""
        if not dist.is_initialized():
            return cls(0, 1, torch.device(device))
        from ray.train import get_context

        rank, size, context = dist.get_rank(), dist.get_world_size(), get_context()
        local, local_rank = context.get_local_world_size(), context.get_local_rank()
        if device == "cpu":
            # Ray gives a worker one thread; the machine's cores are ours to share out among those of the group that are on it.
            torch.set_num_threads(max(1, cores() // local))
            return cls(rank, size, torch.device("cpu"), local, local_rank=local_rank)
        from ray.train.torch import get_device

        return cls(rank, size, get_device(), local, sync_batch_norm, local_rank)

    def apart(self) -> AbstractContextManager[None]:
        """Within it each thread that computes a step on a CPU has cores of its own (see `threads.apart`)."""
        return threads.apart(self.local_rank, self.local) if self.device.type == "cpu" else nullcontext()

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes checkpoints and speaks."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Each value added up over the group."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def pixels(self, valid: int, labelled: int) -> tuple[int, int, int]:
        """Counts of this process → those of the group, and its size: the `Totals` of the loss."""
        all_valid, all_labelled = self.sum(valid, labelled)
        return int(all_valid), int(all_labelled), self.size

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return self.sum(float(flag))[0] > 0

    def broadcast(self, value: T) -> T:
        """The leader's value, in every process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, device=self.device)
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Everybody's value, in order of rank."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return [item for item in values if item is not None]

    def wrap(self, task: nn.Module) -> nn.Module:
        """`task` with its gradients averaged over the group. It reads what is frozen now: wrap again after freezing or thawing."""
        if self.size == 1:
            return task
        from timm.layers import convert_sync_batchnorm
        from torch.nn.parallel import DistributedDataParallel

        if self.sync_batch_norm:
            # timm's, because torch's would drop the activation that timm's normalisation layers hold.
            task = convert_sync_batchnorm(task)
        return DistributedDataParallel(task, device_ids=[self.device] if self.device.type == "cuda" else None)
