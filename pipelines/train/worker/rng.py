"""Every random generator of a training process: seeded at its start, and kept in a checkpoint as plain numbers."""

from __future__ import annotations

import random
from typing import Final

import numpy as np
import torch
from torch import Tensor

PREFIX: Final = "random."


def seed(number: int) -> None:
    """Start every generator from a number."""
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number % 2**32)


def state() -> dict[str, Tensor]:
    """What every generator gives next, as tensors for a file. Words of 32 bits are exact in float64."""
    version, words, gauss = random.getstate()
    _, keys, position, has_cached, cached = np.random.get_state(legacy=True)
    kept = {
        f"{PREFIX}cpu": torch.get_rng_state(),
        f"{PREFIX}python": torch.tensor([version, gauss is not None, gauss or 0.0, *words], dtype=torch.float64),
        f"{PREFIX}numpy": torch.tensor([position, has_cached, cached, *keys], dtype=torch.float64),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # a training on the CPU leaves somebody's GPU alone
        kept[f"{PREFIX}cuda"] = torch.cuda.get_rng_state()
    return kept


def restore(kept: dict[str, Tensor]) -> None:
    """Put the generators where `state` was taken. That of a GPU is left alone where there is none.

    In a team every process gets the leader's, as all were seeded alike. That is no loss while nothing draws from them: order and
    augmentation of a frame follow from (seed, epoch, position), and no encoder has dropout or stochastic depth. One that had would
    drop the same in every process: seed by rank then, and keep the state of each.
    """
    torch.set_rng_state(kept[f"{PREFIX}cpu"])
    version, has_gauss, gauss, *words = kept[f"{PREFIX}python"].tolist()
    random.setstate((int(version), tuple(map(int, words)), gauss if has_gauss else None))
    position, has_cached, cached, *keys = kept[f"{PREFIX}numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), int(position), int(has_cached), cached))
    if torch.cuda.is_available() and f"{PREFIX}cuda" in kept:
        torch.cuda.set_rng_state(kept[f"{PREFIX}cuda"])
