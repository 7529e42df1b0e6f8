"""Rooms of boxes whose depth is computed, not drawn: what a camera sees of them is exact to the last bits of a float."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vortex_jetson.perception.costmap import Mount
from vortex_jetson.perception.pinhole import Pinhole

CLASSES = ("floor", "wall", "glass", "person", "furniture", "other")
CAMERA = Pinhole(260.0, 260.0, 159.5, 119.5, (240, 320))


@dataclass(frozen=True)
class Box:
    """From `low` to `high` in the robot's axes (forward, left, up), in metres."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    name: str


def look(
    boxes: list[Box], mount: Mount, camera: Pinhole = CAMERA, yaw: float = 0.0, x: float = 0.0, y: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Depth [H,W] in metres (0 where nothing is) and classes of a floor with `boxes` on it, the camera at (x, y), turned left by `yaw`."""
    rays = camera.rays().astype(np.float64)
    sine, cosine = math.sin(mount.pitch), math.cos(mount.pitch)
    ahead, left, up = cosine - sine * rays[..., 1], -rays[..., 0], -sine - cosine * rays[..., 1]
    turned = (math.cos(yaw) * ahead - math.sin(yaw) * left, math.sin(yaw) * ahead + math.cos(yaw) * left, up)
    start = (x, y, mount.height_m)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(up < 0, -mount.height_m / up, np.inf)
        classes = np.where(up < 0, CLASSES.index("floor"), CLASSES.index("other")).astype(np.uint8)
        for box in boxes:
            near, far = np.full(camera.size, 0.0), np.full(camera.size, np.inf)
            for axis in range(3):
                one, two = (box.low[axis] - start[axis]) / turned[axis], (box.high[axis] - start[axis]) / turned[axis]
                near, far = np.maximum(near, np.minimum(one, two)), np.minimum(far, np.maximum(one, two))
            hit = (near <= far) & (near > 0) & (near < depth)
            depth, classes = np.where(hit, near, depth), np.where(hit, np.uint8(CLASSES.index(box.name)), classes)
    return np.where(np.isfinite(depth), depth, 0).astype(np.float32), classes
