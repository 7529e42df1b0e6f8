"""ROS 2 messages as arrays and back: layouts alone, so that they can be tested without ROS."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.perception.pinhole import cloud

_COLOURS: Final = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
}
"""Bytes a pixel and where red, green and blue stand, by encoding."""
_DEPTHS: Final = {"16UC1": ("u2", 1000.0), "mono16": ("u2", 1000.0), "32FC1": ("f4", 1.0)}
"""Type and steps a metre, by encoding (REP 118)."""
_CONFIDENCES: Final = {
    "mono8": ("u1", 255.0),
    "8UC1": ("u1", 255.0),
    "mono16": ("u2", 65535.0),
    "16UC1": ("u2", 65535.0),
    "32FC1": ("f4", 1.0),
}
"""Type and steps from 0 to 1, by encoding."""
POINT_FIELDS: Final = (("x", 0), ("y", 4), ("z", 8))
"""Name and offset of each float32 of a point."""
POINT_STEP: Final = 12


def colour(encoding: str, size: tuple[int, int], step: int, data: bytes) -> NDArray[np.uint8]:
    """[H,W,3] RGB of an Image. Raises ValueError for another encoding, or data that is not `step` bytes a row."""
    if encoding not in _COLOURS:
        raise ValueError(f"colour is {encoding!r}, allowed: {', '.join(_COLOURS)}")
    bytes_a_pixel, order = _COLOURS[encoding]
    picture = _rows(size, step, data, bytes_a_pixel)[:, : size[1] * bytes_a_pixel].reshape(*size, bytes_a_pixel)
    return np.ascontiguousarray(picture[..., order])


def depth(encoding: str, size: tuple[int, int], step: int, data: bytes, big_endian: bool) -> NDArray[np.float32]:
    """[H,W] metres of a depth Image, 0 where it says nothing (0, NaN, infinity). Raises ValueError as `colour`."""
    metres = _map(_DEPTHS, "depth", encoding, size, step, data, big_endian)
    metres /= np.float32(_DEPTHS[encoding][1])
    metres[~((metres > 0) & (metres < np.inf))] = 0
    return metres


def confidence(encoding: str, size: tuple[int, int], step: int, data: bytes, big_endian: bool) -> NDArray[np.float32]:
    """[H,W] in [0,1]: bytes and words are shares of their largest value. Raises ValueError as `colour`."""
    shares = _map(_CONFIDENCES, "confidence", encoding, size, step, data, big_endian)
    shares /= np.float32(_CONFIDENCES[encoding][1])
    return shares


def unknown_is_nan(metres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth as 32FC1 has it (REP 118): NaN where nothing is known."""
    return np.where(metres > 0, metres, np.float32(np.nan))


def points(metres: NDArray[np.float32], rays: NDArray[np.float32]) -> bytes:
    """Data of an organised PointCloud2 with `POINT_FIELDS`: little-endian float32, a row of points a row of the picture, NaN for unknown."""
    return cloud(metres, rays).astype("<f4", copy=False).tobytes()


def _map(
    kinds: dict[str, tuple[str, float]], what: str, encoding: str, size: tuple[int, int], step: int, data: bytes, big_endian: bool
) -> NDArray[np.float32]:
    if encoding not in kinds:
        raise ValueError(f"{what} is {encoding!r}, allowed: {', '.join(kinds)}")
    kind = np.dtype(kinds[encoding][0]).newbyteorder(">" if big_endian else "<")
    row_bytes = size[1] * kind.itemsize
    rows = np.ascontiguousarray(_rows(size, step, data, kind.itemsize)[:, :row_bytes])
    return rows.view(kind).astype(np.float32)


def _rows(size: tuple[int, int], step: int, data: bytes, bytes_a_pixel: int) -> NDArray[np.uint8]:
    """[H,step] bytes."""
    height, width = size
    if height < 1 or width < 1 or step < width * bytes_a_pixel or len(data) != step * height:
        raise ValueError(f"{height}x{width} pixels of {bytes_a_pixel} bytes do not fit {len(data)} bytes in rows of {step}")
    return np.frombuffer(data, np.uint8).reshape(height, step)
