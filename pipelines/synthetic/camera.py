"""From a scene and a moment to the frame that a camera delivers: exposure, white balance, blur, noise, eight bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.synthetic import tof
from pipelines.synthetic.render import Camera
from pipelines.synthetic.scene import Floats
from pipelines.synthetic.shade import render
from pipelines.synthetic.stage import Pose, Scene
from pipelines.synthetic.textures import static
from pipelines.synthetic.worlds import World


@dataclass(frozen=True)
class Shot:
    """One frame: `rgb` uint8 (H, W, 3); `depth` and `tof` in metres, 0 invalid; `confidence` in [0, 1]; `label` uint8."""

    rgb: NDArray[np.uint8]
    depth: Floats
    label: NDArray[np.uint8]
    tof: Floats
    confidence: Floats


def pinhole(world: World, size: tuple[int, int], pose: Pose | None = None) -> Camera:
    """The world's camera at a pose; square pixels, the principal point a little off the middle, as in real ones."""
    height, width = size
    focal = world.focal * width
    where = pose or Pose((0.0, 0.0, 1.0), 0.0)
    middle = 0.505 * width - 0.5, 0.496 * height - 0.5
    return Camera(np.array(where.position), where.rotation(), focal, focal, *middle, size)


def shoot(world: World, scene: Scene, phase: float, size: tuple[int, int], rng: np.random.Generator) -> Shot:
    """Take the frame at `phase` in [0, 1) of the scene's sequence."""
    picture = render(scene, pinhole(world, size, scene.walk(phase)), scene.populated(phase), rng)
    measured, confidence = tof.measure(picture, world.sensor, rng)
    return Shot(develop(picture.rgb, scene.exposure, rng), picture.depth, picture.label, measured, confidence)


def develop(rgb: Floats, exposure: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear light (3, H, W) to an 8-bit picture (H, W, 3) in RGB order."""
    import cv2

    shape = (rgb.shape[1], rgb.shape[2])
    thin = rgb[:, ::4, ::4]
    # Meters average logarithmically: a bright window should not turn the room black.
    key = float(np.exp(np.log(np.maximum(thin.mean(0), 1e-3)).mean()))
    gain = exposure / key * float(np.exp(rng.normal(0, 0.06)))
    balance = np.exp(rng.normal(0, 0.02, 3)).astype(np.float32)
    light = rgb * (balance * np.float32(gain))[:, None, None] * _vignette(shape)
    film = np.sqrt(1 - np.exp(np.float32(-0.95) * np.maximum(light, 0)))
    # A shoulder and a toe, as camera makers' curves have them.
    film += np.float32(0.4) * film * (film - np.float32(0.42)) * (1 - film) * np.float32(2)
    picture = cv2.GaussianBlur(np.ascontiguousarray(film.transpose(1, 2, 0)), (3, 3), 0.6 * shape[1] / 320 if shape[1] > 320 else 0.6)
    grain = static(rng, *picture.shape) * np.float32(255 * rng.uniform(0.006, 0.014))
    return np.asarray(np.clip(picture * np.float32(255) + grain + np.float32(0.5), 0, 255).astype(np.uint8))


@lru_cache(maxsize=4)
def _vignette(shape: tuple[int, int]) -> Floats:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(1 - 0.14 * (x * x + y * y), np.float32)
