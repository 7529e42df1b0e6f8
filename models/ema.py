"""A running average of a student's weights: smoother than any single step, and often the better student."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from models.student import Student


class Ema(nn.Module):
    """`student` averaged over its steps: average ← d·average + (1 − d)·weights.

    d rises from 0.1 to `decay` as (1 + n)/(10 + n) over the n updates, so that a short run is not held back by where it started.
    Batch normalisation's statistics are averaged alike, so that they fit the averaged weights. The state dict is all that resuming needs.
    """

    updates: Tensor

    def __init__(self, student: Student, decay: float) -> None:
        """Start the average at the weights of `student`, on its device and in its memory layout."""
        super().__init__()
        self.decay = decay
        self.student = copy.deepcopy(student).requires_grad_(False)
        self.student.eval()
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, student: Student) -> None:
        """Take the weights of `student` in; call after the optimiser's step."""
        self.updates += 1
        updates = int(self.updates)
        weight = 1 - min(self.decay, (1 + updates) / (10 + updates))
        averages, values = _tensors(self.student), _tensors(student)
        floating = [name for name, value in values.items() if value.is_floating_point()]
        torch._foreach_lerp_([averages[name] for name in floating], [values[name] for name in floating], weight)
        for name in values.keys() - set(floating):  # counters of batches: an average of them would mean nothing
            averages[name].copy_(values[name])


def _tensors(student: Student) -> dict[str, Tensor]:
    return dict(student.state_dict())
