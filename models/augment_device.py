"""The augmentation of `models.augment` as torch operations on whole batches, for a device that has time to spare.

The same steps with the same distributions, and again a function of each frame's seed alone: not of its batch or its place in it. The
random numbers themselves are others, and colours are rounded nowhere, so a run must not change from one kind to the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.augment import MAPS, check

Tensors = dict[str, Tensor]
JITTER: Final = ("brightness", "contrast", "saturation", "hue")
_ATTEMPTS: Final = 10
_LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of a grey image (ITU-R BT.601)."""


@dataclass(frozen=True)
class Draw:
    """What happens to one frame: the box that is kept (top, left, height, width in pixels), mirroring, and its jitter in order."""

    box: tuple[int, int, int, int]
    mirrored: bool
    jitter: tuple[tuple[str, float], ...]


class DeviceAugmentation:
    """What `build` returns: call it with a batch as `Batch.to` makes it, and a seed for each frame."""

    def __init__(self, augmentation: Mapping[str, Any]) -> None:
        self._flip = float(augmentation.get("hflip") or 0.0)
        self._jitter = augmentation.get("color_jitter")
        self._crop = augmentation.get("random_crop_resize")

    def __call__(self, batch: Tensors, seeds: Sequence[int]) -> Tensors:
        """Return the batch with `rgb` [B,3,H,W] in [0,1] and its maps augmented, sizes and dtypes kept; metric depth keeps its values."""
        rgb = batch["rgb"]
        height, width = rgb.shape[-2:]
        draws = [self.draw(seed, height, width) for seed in seeds]
        augmented = dict(batch)
        if any(draw.mirrored or draw.box != (0, 0, height, width) for draw in draws):
            rgb = _sampled(rgb, draws)
            augmented |= _moved({name: batch[name] for name in MAPS if name in batch}, draws)
        return augmented | {"rgb": _jittered(rgb, draws)}

    def draw(self, seed: int, height: int, width: int) -> Draw:
        """What a seed does to a frame of this size."""
        random = np.random.default_rng(seed)
        box = (0, 0, height, width)
        if self._crop and random.random() < self._crop["probability"]:
            box = _box(random, self._crop["scale"], height, width)
        mirrored = bool(random.random() < self._flip)
        jitter: tuple[tuple[str, float], ...] = ()
        if self._jitter:
            factors = {name: _factor(random, name, self._jitter[name]) for name in JITTER}
            jitter = tuple((JITTER[index], factors[JITTER[index]]) for index in random.permutation(len(JITTER)))
        return Draw(box, mirrored, jitter)


def build(augmentation: Mapping[str, Any]) -> DeviceAugmentation:
    """Make the augmentation that a recipe states, with the keys of `models.augment.build`. Raises VortexError as it does."""
    check(augmentation)
    return DeviceAugmentation(augmentation)


def _factor(random: np.random.Generator, name: str, strength: float) -> float:
    if name == "hue":
        return random.uniform(-strength, strength)
    return random.uniform(max(0.0, 1 - strength), 1 + strength)


def _box(random: np.random.Generator, scale: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """A box of a share of the frame's area within `scale`, at its own aspect ± 10 %; the whole frame when ten draws do not fit in it."""
    aspect = width / height
    for _ in range(_ATTEMPTS):
        area = random.uniform(scale[0], scale[1]) * height * width
        ratio = math.exp(random.uniform(math.log(0.9 * aspect), math.log(1.1 * aspect)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1)), h, w
    return 0, 0, height, width


def _centres(draws: Sequence[Draw], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Where in the source the centre of each row [B,H] and column [B,W] of the result lies, in pixels; on the CPU."""
    top, left, h, w = torch.tensor([draw.box for draw in draws], dtype=torch.float64).unbind(1)
    rows = top[:, None] + (torch.arange(height, dtype=torch.float64) + 0.5) * (h / height)[:, None]
    columns = left[:, None] + (torch.arange(width, dtype=torch.float64) + 0.5) * (w / width)[:, None]
    mirrored = torch.tensor([draw.mirrored for draw in draws])
    return rows, torch.where(mirrored[:, None], columns.flip(1), columns)


def _sampled(rgb: Tensor, draws: Sequence[Draw]) -> Tensor:
    """`rgb` by bilinear interpolation, without a look beyond the frame."""
    height, width = rgb.shape[-2:]
    rows, columns = (side.to(rgb) for side in _centres(draws, height, width))
    y, x = 2 * rows / height - 1, 2 * columns / width - 1
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
    return F.grid_sample(rgb, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _moved(maps: Tensors, draws: Sequence[Draw]) -> Tensors:
    """Maps [B,H,W] or [B,1,H,W] by nearest neighbour: pixels move, and nothing is computed from them."""
    height, width = next(iter(maps.values())).shape[-2:] if maps else (0, 0)
    moved: Tensors = {}
    for name, each in maps.items():
        rows, columns = (side.long().to(each.device) for side in _centres(draws, height, width))
        numbers = torch.arange(len(draws), device=each.device)[:, None, None]
        plain = each.view(len(draws), height, width)
        moved[name] = plain[numbers, rows[:, :, None], columns[:, None, :]].view(each.shape)
    return moved


def _jittered(rgb: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Each frame with its four changes of colour in its own order; frames that have the same one next change together."""
    if not any(draw.jitter for draw in draws):
        return rgb
    rgb = rgb.clone()
    for turn in range(len(JITTER)):
        for name in JITTER:
            frames = [index for index, draw in enumerate(draws) if draw.jitter[turn][0] == name]
            if frames:
                factors = torch.tensor([draws[index].jitter[turn][1] for index in frames]).to(rgb).view(-1, 1, 1, 1)
                where = torch.tensor(frames).to(rgb.device)
                rgb[where] = _CHANGES[name](rgb[where], factors).clamp_(0, 1)
    return rgb


def _grey(rgb: Tensor) -> Tensor:
    return (rgb * torch.tensor(_LUMA).to(rgb).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _hue(rgb: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of RGB by a share of the circle; value and saturation (Smith 1978) stay."""
    value, least = rgb.amax(1, keepdim=True), rgb.amin(1, keepdim=True)
    chroma = value - least
    r, g, b = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
    safe = torch.where(chroma > 0, chroma, 1.0)
    sixth = torch.where(value == r, (g - b) / safe, torch.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    # A channel is highest within a sixth of its own place on the circle and lowest two sixths further.
    place = torch.tensor([5.0, 3.0, 1.0]).to(rgb).view(1, 3, 1, 1)
    k = torch.remainder(place + sixth + 6 * turn, 6)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


_CHANGES: Final[dict[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "brightness": lambda rgb, factor: rgb * factor,
    "contrast": lambda rgb, factor: torch.lerp(_grey(rgb).mean((1, 2, 3), keepdim=True), rgb, factor),
    "saturation": lambda rgb, factor: torch.lerp(_grey(rgb), rgb, factor),
    "hue": _hue,
}
