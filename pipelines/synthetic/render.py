"""Which surface each pixel sees, and how far away it is: exact ray casting with one vectorised test a primitive.

Rays are scaled so that their component along the optical axis is 1: the ray parameter of a hit *is* its metric z-depth.
A primitive is tested only inside the rectangle of the picture that its corners project to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.pinhole import Pinhole
from pipelines.synthetic.parts import BOX, CAPSULE, CYLINDER, Floats, Ints, Primitives

NEAR: Final = 0.03
"""Metres: what is nearer to the camera is behind its glass."""
EDGES: Final = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6], [3, 7]])
"""The twelve edges of a box, as pairs of the corners of `Primitives.corners`."""


@dataclass(frozen=True)
class Camera:
    """A pinhole at a place. The columns of `rotation` are its right, down and forward axes in the world."""

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]
    pinhole: Pinhole

    def cropped(self, top: int, left: int, size: tuple[int, int], step: int = 1) -> Camera:
        """The same camera seeing only a rectangle of `size` (in its own pixels), at every `step`-th pixel."""
        return replace(self, pinhole=self.pinhole.cropped(top, left, size, step))

    def mirrored(self, normal: NDArray[np.float64], distance: float) -> Camera:
        """The camera on the other side of the mirror normal·p = distance: it sees at each pixel what the mirror shows there."""
        flip = np.eye(3) - 2 * np.outer(normal, normal)
        return Camera(flip @ self.position + 2 * distance * normal, flip @ self.rotation, self.pinhole)


@dataclass(frozen=True)
class Rays:
    """A ray a pixel: `direction` (3, H, W) from `origin`, its inverse, that inverse's size, and |direction|²."""

    origin: Floats
    direction: Floats
    inverse: Floats
    spread: Floats
    square: Floats


def rays(camera: Camera) -> Rays:
    """The rays of every pixel of a camera."""
    pinhole = camera.pinhole
    height, width = pinhole.size
    x = ((np.arange(width) - pinhole.cx) / pinhole.fx).astype(np.float32)[None, :]
    y = ((np.arange(height) - pinhole.cy) / pinhole.fy).astype(np.float32)[:, None]
    r = camera.rotation.astype(np.float32)
    direction = np.empty((3, height, width), np.float32)
    for axis in range(3):
        np.add(r[axis, 0] * x, r[axis, 1] * y + r[axis, 2], out=direction[axis])
    # A ray exactly along a slab would divide by zero.
    direction[np.abs(direction) < 1e-8] = 1e-8
    inverse = 1.0 / direction
    return Rays(camera.position.astype(np.float32), direction, inverse, np.abs(inverse), 1.0 + x * x + y * y)


@dataclass(frozen=True)
class Hits:
    """Z-depth (H, W), inf where nothing was hit, and the number of the primitive."""

    depth: Floats
    primitive: Ints


def rectangles(camera: Camera, primitives: Primitives) -> tuple[Ints, NDArray[np.float64]]:
    """(P, 4) rows and columns (top, bottom, left, right) that each primitive can cover, empty outside the picture; and its nearest z."""
    corners = (primitives.corners() - camera.position) @ camera.rotation
    first, second = corners[:, EDGES[:, 0]], corners[:, EDGES[:, 1]]
    crosses = (first[..., 2] < NEAR) != (second[..., 2] < NEAR)
    span = np.where(crosses, second[..., 2] - first[..., 2], 1.0)
    cut = first + ((NEAR - first[..., 2]) / span)[..., None] * (second - first)
    points = np.concatenate([corners, cut], 1)
    visible = np.concatenate([corners[..., 2] >= NEAR, crosses], 1)
    z = np.where(visible, np.maximum(points[..., 2], NEAR), 1.0)
    pinhole = camera.pinhole
    x = pinhole.fx * points[..., 0] / z + pinhole.cx
    y = pinhole.fy * points[..., 1] / z + pinhole.cy
    height, width = pinhole.size
    low = [np.clip(np.where(visible, value, np.inf).min(1), 0, limit) for value, limit in ((y, height), (x, width))]
    high = [np.clip(np.where(visible, value, -np.inf).max(1) + 1, 0, limit) for value, limit in ((y, height), (x, width))]
    return np.stack([low[0], high[0], low[1], high[1]], 1).astype(np.int32), np.where(visible, z, np.inf).min(1)


def cast(
    camera: Camera, view: Rays, primitives: Primitives, start: Floats | None = None, limit: Floats | None = None, least: int = 1
) -> Hits:
    """The nearest hit of every ray beyond `start` (and before `limit`).

    What can cover fewer than `least` pixels is left out. Primitives are tried from near to far: where nearer ones already fill its
    rectangle, a primitive costs one look at the depths.
    """
    depth = np.full(camera.pinhole.size, np.inf, np.float32) if limit is None else limit.copy()
    primitive = np.full(camera.pinhole.size, -1, np.int32)
    bounds, nearest = rectangles(camera, primitives)
    tests = {BOX: _box, CYLINDER: _cylinder, CAPSULE: _capsule}
    height, width = np.maximum(bounds[:, 1] - bounds[:, 0], 0), np.maximum(bounds[:, 3] - bounds[:, 2], 0)
    visible = np.flatnonzero(height * width >= least)
    for number in visible[np.argsort(nearest[visible], kind="stable")].tolist():
        top, bottom, left, right = bounds[number].tolist()
        area = (slice(top, bottom), slice(left, right))
        before = depth[area]
        if before.max() < nearest[number]:
            continue
        entry, exit_ = tests[int(primitives.kind[number])](view, primitives, number, area)
        hit = entry < exit_
        hit &= entry < before
        hit &= entry > (NEAR if start is None else start[area])
        np.copyto(before, entry, where=hit)
        np.copyto(primitive[area], np.int32(number), where=hit)
    return Hits(depth, primitive)


Area = tuple[slice, slice]


def _box(view: Rays, p: Primitives, number: int, area: Area) -> tuple[Floats, Floats]:
    offset = view.origin - p.centre[number]
    half = p.half[number]
    cosine, sine = p.turn[number]
    if abs(sine) > 1e-6 and abs(cosine) > 1e-6:
        x, y, z = (view.direction[axis][area] for axis in range(3))
        local = np.stack([cosine * x + sine * y, cosine * y - sine * x, z]).astype(np.float32, copy=False)
        local[np.abs(local) < 1e-8] = 1e-8
        inverse: Floats = np.float32(1) / local
        spread: Floats = np.abs(inverse)
        offset = np.array([cosine * offset[0] + sine * offset[1], cosine * offset[1] - sine * offset[0], offset[2]], np.float32)
    else:
        inverse, spread = view.inverse[:, *area], view.spread[:, *area]
        half = half[[1, 0, 2]] if abs(cosine) < 0.5 else half
    middle = inverse * -offset[:, None, None]
    reach = spread * half[:, None, None]
    return (middle - reach).max(0), (middle + reach).min(0)


def _cylinder(view: Rays, p: Primitives, number: int, area: Area) -> tuple[Floats, Floats]:
    ox, oy, oz = view.origin - p.centre[number]
    dx, dy = view.direction[:2, *area]
    a = dx * dx + dy * dy
    b = ox * dx + oy * dy
    root = b * b - a * (ox * ox + oy * oy - p.radius[number] ** 2)
    missed = root < 0
    root = np.sqrt(np.maximum(root, 0))
    middle, reach = view.inverse[2][area] * -oz, view.spread[2][area] * p.half[number, 2]
    entry, exit_ = np.maximum((-b - root) / a, middle - reach), np.minimum((root - b) / a, middle + reach)
    entry[missed] = np.inf
    return entry, exit_


def _capsule(view: Rays, p: Primitives, number: int, area: Area) -> tuple[Floats, Floats]:
    axis = 2 * p.half[number]
    radius = p.radius[number]
    offset = view.origin - (p.centre[number] - p.half[number])
    dx, dy, dz = view.direction[:, *area]
    square = view.square[area]
    length = float(axis @ axis)
    along = axis[0] * dx + axis[1] * dy + axis[2] * dz
    toward = offset[0] * dx + offset[1] * dy + offset[2] * dz
    start = float(axis @ offset)
    a = length * square - along * along
    b = length * toward - start * along
    root = b * b - a * (length * float(offset @ offset) - start * start - radius * radius * length)
    body = (-b - np.sqrt(np.maximum(root, 0))) / np.maximum(a, 1e-12)
    place = start + body * along
    # Beyond its ends the rod is closed by balls: the nearer end's ball, wherever the endless cylinder was missed at the side.
    top = place >= length
    toward = np.where(top, toward - along, toward)
    far = float(offset @ offset) - 2 * start + length - radius * radius
    ball = toward * toward - square * np.where(top, far, float(offset @ offset) - radius * radius)
    cap = (-toward - np.sqrt(np.maximum(ball, 0))) / square
    inside = (place > 0) & (place < length)
    entry = np.where(inside & (root >= 0), body, np.where(~inside & (ball >= 0), cap, np.inf))
    return entry, np.full_like(entry, np.inf)
