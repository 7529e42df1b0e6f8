"""Batches whose loss or gradient is not finite: their step leaves no trace in the student, and their frames are written down."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.losses import LossTerms

TERMS = ("loss", "depth", "segmentation", "smoothness")


class Guard:
    """Undoes what a forward pass has done to a module, should its batch turn out not to be finite.

    Batch normalisation takes a batch into its running statistics before anyone has seen the loss: one infinite feature, and every
    later validation is lost, however many steps are skipped.
    """

    def __init__(self, module: nn.Module) -> None:
        self._buffers = list(module.buffers())
        self._copies = [buffer.clone() for buffer in self._buffers]

    def save(self) -> None:
        """Remember the buffers; call before the forward pass."""
        _copy(self._copies, self._buffers)

    def norm(self) -> Tensor:
        """2-norm over the statistics, a scalar: a variance can be infinite where the loss, which sees normalised features, is not."""
        return torch.nn.utils.get_total_norm([buffer for buffer in self._buffers if buffer.is_floating_point()])

    def undo(self) -> None:
        """Put them back."""
        _copy(self._buffers, self._copies)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """2-norm over all gradients, a scalar; infinite also where a square would be, since AdamW squares them too."""
    return torch.nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])


def scalars(terms: LossTerms, *norms: Tensor) -> list[float]:
    """The values that `TERMS` names and `norms`, brought from the device in one go: each wait for it costs a GPU's time."""
    values: list[float] = torch.stack([terms.total.detach(), terms.depth, terms.segmentation, terms.smoothness, *norms]).tolist()
    return values


def describe(losses: Mapping[str, float], gradient: float, statistics: float) -> str:
    """What of a batch is not finite, in words. What follows from an infinite loss, an infinite gradient first of all, is not news."""
    names = [name for name, value in losses.items() if not math.isfinite(value)]
    names = names or [name for name, value in (("gradient", gradient), ("statistics", statistics)) if not math.isfinite(value)]
    return ", ".join(names) or "batch of another worker"


def record(path: Path, frames: Sequence[str], **fields: Any) -> None:
    """Append a skipped batch to a file of JSON lines."""
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps({"at": time.time(), **fields, "frames": list(frames)}) + "\n")


def _copy(to: list[Tensor], source: list[Tensor]) -> None:
    if to:
        with torch.no_grad():
            torch._foreach_copy_(to, source)
