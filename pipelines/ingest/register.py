"""Depth of one camera seen by another: back-projected, moved, projected, and where two points meet the nearer one wins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.pinhole import Pinhole

MARGIN: Final = 0.05
"""Share of a depth pixel by which its footprint is enlarged on each side: closes the cracks between neighbours of a slanted surface."""
NEARER: Final = 4.0
"""A point this many times nearer to the colour camera than to the depth camera touches its glass: it is left out."""
_STEPS: Final = 20
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lens(Pinhole):
    """A pinhole with `plumb_bob` distortion (k1, k2, p1, p2, k3) where it has any.

    Brown's model as ROS and OpenCV write it, on x = X/Z, y = Y/Z and r² = x² + y²:
    x' = x (1 + k1 r² + k2 r⁴ + k3 r⁶) + 2 p1 x y + p2 (r² + 2 x²), and y' with p1 and p2 changing places.
    """

    distortion: tuple[float, ...] = ()

    @property
    def distorted(self) -> bool:
        """Whether it differs from a pinhole."""
        return any(self.distortion)

    @cached_property
    def reach(self) -> float:
        """Largest r² that the model bends outwards: beyond it points fold back into the picture, so they are not projected."""
        if not self.distorted:
            return float("inf")
        k1, k2, _, _, k3 = self.distortion
        # d/dr of r (1 + k1 r² + k2 r⁴ + k3 r⁶), in s = r².
        roots = np.roots(np.array([7 * k3, 5 * k2, 3 * k1, 1.0]))
        turning = [float(root.real) for root in np.atleast_1d(roots) if abs(root.imag) < 1e-9 and root.real > 0]
        return min(turning, default=float("inf"))

    def bend(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Ideal to distorted coordinates on the plane Z = 1."""
        if not self.distorted:
            return x, y
        k1, k2, p1, p2, k3 = self.distortion
        square = x * x + y * y
        radial = 1 + square * (k1 + square * (k2 + square * k3))
        cross = 2 * x * y
        return x * radial + p1 * cross + p2 * (square + 2 * x * x), y * radial + p2 * cross + p1 * (square + 2 * y * y)

    def displacement(self) -> float:
        """Pixels by which the distortion moves the corner of the picture that it moves most."""
        height, width = self.size
        x = (np.array([0, width - 1, 0, width - 1]) - self.cx) / self.fx
        y = (np.array([0, 0, height - 1, height - 1]) - self.cy) / self.fy
        bent_x, bent_y = self.bend(x, y)
        return float(np.hypot((bent_x - x) * self.fx, (bent_y - y) * self.fy).max())


@dataclass(frozen=True)
class Rig:
    """Two cameras, and where a point of the depth camera lies for the colour camera: p_color = R p_depth + t, in metres."""

    depth: Lens
    color: Lens
    rotation: tuple[float, ...]
    translation: tuple[float, float, float]

    @classmethod
    def from_quaternion(cls, depth: Lens, color: Lens, xyz: tuple[float, float, float], xyzw: tuple[float, float, float, float]) -> Rig:
        """From a translation and a quaternion, x y z w, that is normalised here."""
        x, y, z, w = (value / sum(part * part for part in xyzw) ** 0.5 for value in xyzw)
        rotation = (
            *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        )
        return cls(depth, color, rotation, xyz)

    def inverse(self) -> Rig:
        """The same rig, had its pose been stated the other way round (the lenses stay where they are)."""
        matrix = np.array(self.rotation).reshape(3, 3).T
        moved = -(matrix @ np.array(self.translation))
        return Rig(self.depth, self.color, tuple(matrix.ravel().tolist()), (float(moved[0]), float(moved[1]), float(moved[2])))


def register(depth: NDArray[np.float32], rig: Rig) -> NDArray[np.float32]:
    """Depth (H, W) in metres, 0 invalid, as the colour camera of `rig` sees it: float32 of the colour picture's size, 0 where nothing is seen.

    Each depth pixel covers the colour pixels whose centres lie in its projected footprint (its own size, scaled by the focal
    lengths and the distances, plus `MARGIN`), so equal cameras give the depth back unchanged, a finer colour picture has no holes
    on a surface, and what the depth camera could not see behind an edge stays 0: nothing is filled in. Raises ValueError when
    `depth` is not of the depth camera's size.
    """
    if depth.shape != rig.depth.size:
        raise ValueError(
            f"depth is {depth.shape[0]}×{depth.shape[1]}, its intrinsics are for {rig.depth.size[0]}×{rig.depth.size[1]} (H×W)"
        )
    height, width = rig.color.size
    source = depth.ravel()
    valid = np.flatnonzero((source > 0) & np.isfinite(source))
    ray_x, ray_y = _rays(rig.depth)
    z = source[valid].astype(np.float64)
    points = np.stack([ray_x[valid] * z, ray_y[valid] * z, z])
    points = np.array(rig.rotation).reshape(3, 3) @ points + np.array(rig.translation)[:, None]
    front = points[2] > 1e-6
    x, y, far = points[0][front] / points[2][front], points[1][front] / points[2][front], points[2][front]
    scale = z[front] / far
    inside = (x * x + y * y < rig.color.reach) & (scale < NEARER)
    x, y, far, scale = x[inside], y[inside], far[inside].astype(np.float32), scale[inside]
    x, y = rig.color.bend(x, y)
    left, columns = _cover(x * rig.color.fx + rig.color.cx, scale * (rig.color.fx / rig.depth.fx), width)
    top, rows = _cover(y * rig.color.fy + rig.color.cy, scale * (rig.color.fy / rig.depth.fy), height)
    nearest = np.full(height * width, np.inf, np.float32)
    for down in range(int(rows.max(initial=0))):
        for right in range(int(columns.max(initial=0))):
            here = np.flatnonzero((down < rows) & (right < columns))
            # Of all the points that fall on a pixel the nearest stays, whatever their order.
            np.minimum.at(nearest, (top[here] + down) * width + left[here] + right, far[here])
    nearest[~np.isfinite(nearest)] = 0
    return nearest.reshape(height, width)


def _cover(centre: Floats, extent: Floats, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First whole coordinate in [centre - e/2, centre + e/2) and how many there are, cut at the picture's edges.

    A footprint without any whole coordinate takes the nearest one: a coarser colour picture still gets every point.
    """
    half = extent * (0.5 + MARGIN)
    first = np.ceil(centre - half)
    last = np.ceil(centre + half) - 1
    none = last < first
    first[none] = last[none] = np.floor(centre[none] + 0.5)
    np.clip(first, 0, None, out=first)
    np.clip(last, None, limit - 1, out=last)
    # A point far outside may not fit into an integer; it covers nothing.
    count = np.clip(last - first + 1, 0, limit)
    return np.where(count > 0, first, 0).astype(np.int64), count.astype(np.int64)


@lru_cache(maxsize=8)
def _rays(lens: Lens) -> tuple[Floats, Floats]:
    """X/Z and Y/Z of every pixel, flat; a distorted lens is straightened by fixed-point iteration, once a lens."""
    height, width = lens.size
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    x: Any = ((columns - lens.cx) / lens.fx).ravel()
    y: Any = ((rows - lens.cy) / lens.fy).ravel()
    if lens.distorted:
        bent_x, bent_y = x.copy(), y.copy()
        for _ in range(_STEPS):
            again_x, again_y = lens.bend(x, y)
            x, y = x + (bent_x - again_x), y + (bent_y - again_y)
    return x, y
