"""From a scene and a moment to the frame that the world's cameras deliver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.pinhole import Pinhole
from pipelines.synthetic import tof
from pipelines.synthetic.film import develop
from pipelines.synthetic.parts import Floats
from pipelines.synthetic.render import Camera
from pipelines.synthetic.scene import Pose, Scene
from pipelines.synthetic.shade import render
from pipelines.synthetic.worlds import World


@dataclass(frozen=True)
class Shot:
    """One frame: `rgb` uint8 (H, W, 3); `depth` and `tof` in metres, 0 invalid; `confidence` in [0, 1]; `label` uint8."""

    rgb: NDArray[np.uint8]
    depth: Floats
    label: NDArray[np.uint8]
    tof: Floats
    confidence: Floats


def camera_at(world: World, size: tuple[int, int], pose: Pose | None = None) -> Camera:
    """The world's camera at a pose; square pixels, the principal point a little off the middle, as in real ones."""
    height, width = size
    focal = world.focal * width
    where = pose or Pose((0.0, 0.0, 1.0), 0.0)
    middle = 0.505 * width - 0.5, 0.496 * height - 0.5
    return Camera(np.array(where.position), where.rotation(), Pinhole(focal, focal, *middle, size))


def shoot(world: World, scene: Scene, phase: float, size: tuple[int, int], rng: np.random.Generator) -> Shot:
    """Take the frame at `phase` in [0, 1) of the scene's sequence."""
    picture = render(scene, camera_at(world, size, scene.walk(phase)), scene.populated(phase), rng)
    measured, confidence = tof.measure(picture, world.sensor, rng)
    return Shot(develop(picture.rgb, scene.exposure, world.film, rng), picture.depth, picture.label, measured, confidence)
