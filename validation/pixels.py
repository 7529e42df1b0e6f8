"""What one array of pixels says about itself in a few numbers; all from small, fixed grids, so that decoding stays the cost."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]

GRID: Final = (120, 160)
"""Places (rows, columns) at which a depth map is sampled."""
PICTURE: Final = (240, 320)
"""Size to which a larger picture is reduced before brightness and blur are measured: they then mean the same for every camera."""
NEAREST, FARTHEST, BINS = 0.1, 100.0, 48
"""Metres where the depth histogram begins and ends, and its bins, equally wide in the logarithm (a factor of 1.155 each)."""
JUMP: Final = np.float32(0.1)
"""Relative step between neighbours that counts as a jump. A wall seen at 80° grazing steps by under 4 % a pixel at 160 columns."""
LEVEL: Final = 1.0
"""Grey levels between two cells that set a bit of the perceptual hash: below it, noise and JPEG would decide."""


class Look(NamedTuple):
    """How a picture looks. `across` and `down` are difference hashes of 64 bits each (8×8 cells against their neighbours)."""

    brightness: float
    contrast: float
    blur: float
    across: int
    down: int


def look(rgb: NDArray[np.uint8]) -> Look:
    """Mean and deviation of grey (0–255), variance of the Laplacian (small = blurred), and the perceptual hash of RGB [H, W, 3].

    The hash is Krawetz's dHash (2013): it survives scaling, recompression and a change of exposure.
    """
    import cv2

    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] > PICTURE[0] or grey.shape[1] > PICTURE[1]:
        grey = cv2.resize(grey, PICTURE[::-1], interpolation=cv2.INTER_AREA)
    mean, deviation = cv2.meanStdDev(grey)
    _, edges = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))
    fine = grey.astype(np.float32)
    across = cv2.resize(fine, (9, 8), interpolation=cv2.INTER_AREA)
    down = cv2.resize(fine, (8, 9), interpolation=cv2.INTER_AREA)
    return Look(
        float(mean[0, 0]),
        float(deviation[0, 0]),
        float(edges[0, 0]) ** 2,
        _bits(across[:, 1:] - across[:, :-1]),
        _bits(down[1:] - down[:-1]),
    )


def sample(array: Map, size: tuple[int, int] = GRID) -> Map:
    """At most `size` pixels, spread evenly; maps of different resolution are sampled at the same places."""
    rows, columns = _places(array.shape[0], size[0]), _places(array.shape[1], size[1])
    return array[np.ix_(rows, columns)]


def roughness(depth: Map, here: Map) -> float:
    """Share of neighbouring valid pixels that differ by more than `JUMP`, in the worse of the two directions; NaN without neighbours.

    `here` is `sample(depth)`. A scene is smooth but for its edges. Swapped bytes and noise are rough in both directions, an array
    whose rows and columns were mixed up when it was written is smooth along its memory and rough across it.
    """
    rows, columns = _places(depth.shape[0], GRID[0]), _places(depth.shape[1], GRID[1])
    right = depth[np.ix_(rows, np.minimum(columns + 1, depth.shape[1] - 1))]
    below = depth[np.ix_(np.minimum(rows + 1, depth.shape[0] - 1), columns)]
    shares = []
    for other in (right, below):
        low = np.minimum(here, other)
        valid = int(np.count_nonzero(low > 0))
        if valid:
            shares.append(np.count_nonzero((np.abs(here - other) > JUMP * low) & (low > 0)) / valid)
    return float(max(shares, default=np.nan))


def depth_bins(values: Map) -> NDArray[np.uint16]:
    """Counts of positive depths in metres in `BINS` bins from `NEAREST` to `FARTHEST`; what lies beyond falls into the end bins."""
    scale = BINS / np.log(FARTHEST / NEAREST)
    places = (np.log(np.maximum(values, np.float32(1e-6)) / np.float32(NEAREST)) * np.float32(scale)).astype(np.int32)
    return np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS).astype(np.uint16)


def bin_edges() -> NDArray[np.float64]:
    """The `BINS` + 1 edges of the depth histogram, in metres."""
    return np.geomspace(NEAREST, FARTHEST, BINS + 1)


def _bits(differences: NDArray[Any]) -> int:
    return int.from_bytes(np.packbits(differences > LEVEL).tobytes(), "big")


def _places(length: int, count: int) -> NDArray[np.intp]:
    return ((np.arange(count) + 0.5) * length / count).astype(np.intp)
