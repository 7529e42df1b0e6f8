"""Rooms of planes, seen by a tilted camera: exact depth without a renderer."""

from __future__ import annotations

import numpy as np

from core.pinhole import Pinhole

CAMERA = Pinhole(110.0, 112.0, 79.0, 61.0, (120, 160))


def rotation(pitch: float, roll: float) -> np.ndarray:
    """Camera axes (columns) in a world whose y is down, for degrees of pitch (looking down) and roll."""
    p, r = np.radians(pitch), np.radians(roll)
    tilt = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    turn = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return tilt @ turn


def cast(planes: list[tuple[tuple[float, float, float], float]], pose: np.ndarray, camera: Pinhole = CAMERA) -> np.ndarray:
    """Depth of the nearest of the planes normal·P = distance, given in the world; 0 where none is hit."""
    x = (np.arange(camera.size[1]) - camera.cx)[None, :] / camera.fx + np.zeros(camera.size)
    y = (np.arange(camera.size[0]) - camera.cy)[:, None] / camera.fy + np.zeros(camera.size)
    rays = np.stack([x, y, np.ones(camera.size)], -1) @ pose.T
    depth = np.full(camera.size, np.inf)
    for normal, distance in planes:
        toward = rays @ np.array(normal)
        depth = np.minimum(depth, np.where(toward > 1e-6, distance / np.maximum(toward, 1e-6), np.inf))
    return np.where(depth < 15, depth, 0).astype(np.float32)


FLOOR = ((0.0, 1.0, 0.0), 1.3)
AHEAD = ((0.0, 0.0, 1.0), 3.0)
RIGHT = ((1.0, 0.0, 0.0), 1.4)
