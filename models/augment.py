"""Joint augmentation of an image and its maps: the recipe's flips, colour jitter and crops, the same for the same seed.

The seed of an item comes from the caller (run seed, epoch, index), so the stream does not depend on the number of workers.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError

Array = NDArray[Any]
MAPS: Final = ("teacher_depth", "tof_depth", "tof_confidence", "reference", "segmentation")
"""Maps that go through the geometry of the image, by nearest neighbour: a blend of two depths or labels is a measurement of nothing."""

KEYS: Final[dict[str, tuple[str, ...]]] = {
    "hflip": (),
    "color_jitter": ("brightness", "contrast", "saturation", "hue"),
    "random_crop_resize": ("probability", "scale"),
}
_CARRIERS: Final[dict[int, np.dtype[Any]]] = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.float32)}


class Augmentation:
    """What `build` returns: call it with an RGB image [H,W,3] uint8, its maps [H,W] and a seed."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def __call__(self, rgb: Array, maps: Mapping[str, Array], seed: int) -> tuple[Array, dict[str, Array]]:
        """Return the image and maps at the size asked for, dtypes kept. Metric depth keeps its values: a crop moves no wall."""
        _check_maps(maps)
        if not self.changes:
            return rgb, dict(maps)
        out = self._run(rgb, maps, seed)
        return np.ascontiguousarray(out["image"]), {name: np.ascontiguousarray(out[name]).view(maps[name].dtype) for name in maps}

    @property
    def changes(self) -> bool:
        """Whether it does anything at all."""
        return self.pipeline is not None

    def into(self, rgb: Array, maps: Mapping[str, Array], seed: int, rgb_out: Array, maps_out: Mapping[str, Array]) -> None:
        """As a call, but written into `rgb_out` and `maps_out`, arrays of the size asked for and of the maps' own types."""
        _check_maps(maps)
        if not self.changes:
            np.copyto(rgb_out, rgb)
            for name, array in maps.items():
                np.copyto(maps_out[name], array)
            return
        out = self._run(rgb, maps, seed)
        np.copyto(rgb_out, out["image"])
        for name, array in maps.items():
            np.copyto(maps_out[name].view(_carrier(name, array)), out[name])

    def _run(self, rgb: Array, maps: Mapping[str, Array], seed: int) -> dict[str, Any]:
        # Nearest neighbour and flips move bits and compute nothing, so any map travels as the OpenCV type of its width (float16 too).
        carried = {name: np.ascontiguousarray(array).view(_carrier(name, array)) for name, array in maps.items()}
        # One pair of generators for all steps. `set_random_seed` would give every step the same numbers, so that a frame is flipped
        # just when it is cropped, and cost 90 µs instead of 25.
        self.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        out: dict[str, Any] = self.pipeline(image=rgb, **carried)
        return out


def build(augmentation: Mapping[str, Any], size: tuple[int, int]) -> Augmentation:
    """Make the augmentation that a recipe states; `size` is (H, W) of what comes out.

    Keys: `hflip` probability; `color_jitter` null or brightness, contrast, saturation (factors in 1 ± value) and hue (± value of a
    turn); `random_crop_resize` null or probability and scale (least and greatest share of the area, at the frame's own aspect ± 10 %).
    Raises VortexError for unknown or missing keys and values out of range.
    """
    check(augmentation)
    # The library asks a package index for its newest version when it is imported; nothing here phones home.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A
    import cv2

    height, width = size
    steps: list[Any] = []
    crop, flip, jitter = augmentation.get("random_crop_resize"), augmentation.get("hflip"), augmentation.get("color_jitter")
    if crop and crop["probability"]:
        aspect = width / height
        steps.append(
            A.RandomResizedCrop(
                size=(height, width),
                scale=tuple(crop["scale"]),
                ratio=(0.9 * aspect, 1.1 * aspect),
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
                p=crop["probability"],
            )
        )
    if flip:
        steps.append(A.HorizontalFlip(p=flip))
    if jitter:
        factors = {name: (max(0.0, 1 - jitter[name]), 1 + jitter[name]) for name in ("brightness", "contrast", "saturation")}
        steps.append(A.ColorJitter(**factors, hue=(-jitter["hue"], jitter["hue"]), p=1.0))
    if not steps:
        return Augmentation(None)
    return Augmentation(A.Compose(steps, additional_targets=dict.fromkeys(MAPS, "mask")))


def _check_maps(maps: Mapping[str, Array]) -> None:
    unknown = sorted(set(maps) - set(MAPS))
    if unknown:
        raise VortexError(f"unknown map {unknown[0]!r} to augment", f"use: {', '.join(MAPS)}")


def check(augmentation: Mapping[str, Any]) -> None:
    """Raise VortexError for unknown or missing keys and values out of range."""
    faults = [f"unknown key {key!r}" for key in sorted(set(augmentation) - set(KEYS))]
    for key, parts in KEYS.items():
        value = augmentation.get(key)
        if not parts:
            if value is not None and not _within(value, 0, 1):
                faults.append(f"{key} is {value!r}, allowed is a probability from 0 to 1")
        elif value is not None:
            if not isinstance(value, Mapping) or set(value) != set(parts):
                faults.append(f"{key} is {value!r}, allowed is null or a mapping of {', '.join(parts)}")
            elif key == "color_jitter":
                faults += [f"{key}.{p} is {value[p]!r}, allowed is 0 to {top}" for p in parts if not _within(value[p], 0, top := _top(p))]
            else:
                faults += _crop_faults(value)
    if faults:
        raise VortexError(f"augmentation: {faults[0]}", f"known keys: {', '.join(KEYS)}", faults if len(faults) > 1 else ())


def _crop_faults(value: Mapping[str, Any]) -> list[str]:
    scale = value["scale"]
    faults = []
    if not _within(value["probability"], 0, 1):
        faults.append(f"random_crop_resize.probability is {value['probability']!r}, allowed is 0 to 1")
    if not (isinstance(scale, (tuple, list)) and len(scale) == 2 and all(_within(s, 0, 1) for s in scale) and 0 < scale[0] <= scale[1]):
        faults.append(f"random_crop_resize.scale is {scale!r}, allowed is (least, greatest) with 0 < least ≤ greatest ≤ 1")
    return faults


def _top(part: str) -> float:
    return 0.5 if part == "hue" else 1.0


def _within(value: Any, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _carrier(name: str, array: Array) -> np.dtype[Any]:
    if array.dtype.itemsize not in _CARRIERS:
        raise VortexError(f"map {name!r} has dtype {array.dtype}, allowed are types of 1, 2 or 4 bytes", "use uint8 labels, float32 depth")
    return _CARRIERS[array.dtype.itemsize]
