"""The processes that train together: one, or several that average their gradients. The loop is the same for both."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
import torch.distributed as dist
from torch import nn

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process's place among `size` processes, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def here(cls, device: Literal["cpu", "cuda"]) -> Team:
        """The team as Ray Train has set it up; alone when it has not."""
        if not dist.is_initialized():
            return cls(0, 1, torch.device(device))
        if device == "cpu":
            # Ray gives a worker one thread; the machine's cores are ours to share out.
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // dist.get_world_size()))
            return cls(dist.get_rank(), dist.get_world_size(), torch.device("cpu"))
        from ray.train.torch import get_device

        return cls(dist.get_rank(), dist.get_world_size(), get_device())

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes checkpoints and speaks."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Each value added up over the team."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return self.sum(float(flag))[0] > 0

    def share(self, value: T) -> T:
        """The leader's value, in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Everybody's value, in order of rank."""
        if self.size == 1:
            return [value]
        box: list[T | None] = [None] * self.size
        dist.all_gather_object(box, value)
        return [item for item in box if item is not None]

    def join(self, task: nn.Module) -> nn.Module:
        """`task` with its gradients averaged over the team. It reads what is frozen now: join again after freezing or thawing."""
        if self.size == 1:
            return task
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(task, device_ids=[self.device] if self.device.type == "cuda" else None)
