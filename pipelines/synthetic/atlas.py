"""The textures of a scene in one flat array of mip pyramids: one gather a pixel, and far surfaces do not shimmer."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.synthetic.textures import PAINTERS, SIDE, Floats

LEVELS: Final = SIDE.bit_length()
PYRAMID: Final = sum((SIDE >> level) ** 2 for level in range(LEVELS))
"""Texels of one pyramid."""
OFFSETS: Final = np.cumsum([0] + [(SIDE >> level) ** 2 for level in range(LEVELS - 1)]).astype(np.int32)
"""Where each level of a pyramid starts in its flat array of texels."""


class Atlas:
    """The textures that one scene uses. `index("poster:2")` is the third of several posters; each is painted on first use.

    All scenes of a dataset share `seed`, and with it what is painted; their tints, and which variants they use, differ.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.names: list[str] = []
        self._pyramids: list[NDArray[np.uint32]] = []

    def index(self, name: str) -> int:
        """Number of a texture in `texels`."""
        if name not in self.names:
            kind, _, variant = name.partition(":")
            self.names.append(name)
            self._pyramids.append(_painted(kind, int(variant or 0), self.seed))
        return self.names.index(name)

    def texels(self) -> NDArray[np.uint32]:
        """All pyramids end to end: texture i starts at i·PYRAMID, level l at OFFSETS[l] within it; each texel is packed RGBA."""
        return np.concatenate(self._pyramids)


@lru_cache(maxsize=64)
def _painted(kind: str, variant: int, seed: int) -> NDArray[np.uint32]:
    return pyramid(PAINTERS[kind](np.random.default_rng([seed, list(PAINTERS).index(kind), variant])))


def pyramid(picture: Floats) -> NDArray[np.uint32]:
    """Flat mip pyramid of a picture (SIDE, SIDE) or (SIDE, SIDE, 3) with values in [0, 1]."""
    import cv2

    rgba = np.empty((SIDE, SIDE, 4), np.uint8)
    rgba[..., :3] = np.clip(picture if picture.ndim == 3 else picture[..., None], 0, 1) * 255 + 0.5
    rgba[..., 3] = 255
    levels = []
    for level in range(LEVELS):
        smaller = cv2.resize(rgba, (SIDE >> level, SIDE >> level), interpolation=cv2.INTER_AREA)
        levels.append(np.ascontiguousarray(smaller).view(np.uint32).ravel())
    return np.concatenate(levels)
