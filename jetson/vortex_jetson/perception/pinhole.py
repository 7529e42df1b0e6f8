"""The colour camera as the robot knows it: its matrix at the student's size, its rays, and depth as points.

Axes of the camera are x right, y down, z forward; pixel centres have whole coordinates, so a picture's corners lie at -0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Pinhole:
    """Focal lengths and principal point in pixels of a picture of `size` (H, W)."""

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int]

    def scaled(self, size: tuple[int, int]) -> Pinhole:
        """The same camera on the picture resized to `size`: the principal point scales about the picture's corner, not its first pixel."""
        rows, columns = size[0] / self.size[0], size[1] / self.size[1]
        centre_x, centre_y = (self.cx + 0.5) * columns - 0.5, (self.cy + 0.5) * rows - 0.5
        return replace(self, fx=self.fx * columns, fy=self.fy * rows, cx=centre_x, cy=centre_y, size=size)

    def rays(self) -> NDArray[np.float32]:
        """[H,W,3]: where one metre of depth lies on the ray of each pixel, (x right, y down, 1)."""
        rows, columns = np.mgrid[: self.size[0], : self.size[1]]
        return np.stack([(columns - self.cx) / self.fx, (rows - self.cy) / self.fy, np.ones(self.size)], axis=-1).astype(np.float32)


def of_matrix(k: Sequence[float], size: tuple[int, int]) -> Pinhole:
    """The camera of a row-major 3×3 matrix for pictures of `size`.

    Raises ValueError for a matrix that is no pinhole's, or whose principal point lies outside of the picture: one of another resolution.
    """
    numbers = [float(number) for number in k]
    if len(numbers) != 9 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"a camera matrix has nine finite numbers, found {numbers}")
    fx, skew, cx, zero, fy, cy = numbers[:6]
    if fx <= 0 or fy <= 0 or skew or zero or numbers[6:] != [0.0, 0.0, 1.0]:
        raise ValueError(f"a pinhole's matrix is [fx 0 cx, 0 fy cy, 0 0 1] with fx and fy above 0, found {numbers}")
    height, width = size
    if not (-0.5 < cx < width - 0.5 and -0.5 < cy < height - 0.5):
        raise ValueError(f"the principal point ({cx:g}, {cy:g}) lies outside of {height}x{width}: intrinsics of another resolution?")
    return Pinhole(fx, fy, cx, cy, size)


def cloud(depth: NDArray[np.float32], rays: NDArray[np.float32]) -> NDArray[np.float32]:
    """[H,W,3] points in metres in the camera's frame, one a pixel in the picture's order; NaN where the depth [H,W] is not above 0.

    Raises ValueError when the sizes differ.
    """
    if depth.shape != rays.shape[:2]:
        raise ValueError(f"depth is {depth.shape}, the camera's picture {rays.shape[:2]}")
    measured = np.where((depth > 0) & (depth < np.inf), depth, np.float32(np.nan))
    points: NDArray[np.float32] = measured[..., None] * rays
    return points


def scaled_matrix(matrix: Sequence[float], size: tuple[int, int], new: tuple[int, int]) -> list[float]:
    """A row-major camera matrix, 3×3 (K) or 3×4 (P), of pictures of `size` for the same pictures resized to `new`, as `Pinhole.scaled`."""
    columns = len(matrix) // 3
    across, down = new[1] / size[1], new[0] / size[0]
    rows = [list(matrix[start : start + columns]) for start in range(0, 3 * columns, columns)]
    rows[0] = [number * across for number in rows[0]]
    rows[1] = [number * down for number in rows[1]]
    rows[0][2] += 0.5 * across - 0.5
    rows[1][2] += 0.5 * down - 0.5
    return [number for row in rows for number in row]
