"""A time-of-flight camera as robots have it: what it loses on glass, polish, dark and grazing surfaces, at edges and beyond its reach.

The returned light falls with the square of the distance, with the cosine of incidence and with how dark or mirror-like a surface is.
Confidence compares it with the sensor's noise floor: 0.5 is where a driver would drop the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.classes import CLASSES
from pipelines.synthetic.parts import Floats
from pipelines.synthetic.shade import Picture
from pipelines.synthetic.textures import static

GLASS: Final = CLASSES.index("glass")
NEAREST: Final = 0.2
"""Metres: nearer things saturate the sensor."""


@dataclass(frozen=True)
class Sensor:
    """`lost` is the share of pixels that ends below confidence 0.5 in its place; `reach` in metres is where its modulation ends.

    `floor` is the returned light that the sensor's fixed exposure would need for confidence 0.5, measured over 24 layouts of the
    world as the quantile `lost` of its light; `adapts` is how far exposure control moves from there towards each frame's own quantile.
    """

    lost: float
    reach: float
    floor: float
    adapts: float = 0.75


def returned(picture: Picture, sensor: Sensor) -> Floats:
    """Light that comes back from each pixel, in arbitrary units."""
    depth = np.maximum(picture.depth, np.float32(NEAREST))
    grazing = picture.cosine ** np.float32(1.6)
    polish = 1 - np.minimum(picture.gloss, np.float32(0.97)) * (0.55 + 0.45 * (1 - picture.cosine))
    light = picture.infrared * grazing * polish / (depth * depth)
    # A pane met head-on flashes back; at any other angle its light goes elsewhere.
    light += (picture.label == GLASS) * flash(picture) * np.float32(0.5) / (depth * depth)
    light *= np.clip((np.float32(sensor.reach * 1.1) - depth) / np.float32(sensor.reach * 0.2), 0, 1)
    light[(picture.depth < NEAREST) | edges(picture.depth)] *= np.float32(0.12)
    return np.asarray(light, np.float32)


def edges(depth: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Pixels whose neighbourhood holds two surfaces: their light is a mixture."""
    import cv2

    inverse = 1 / np.maximum(depth, np.float32(0.05))
    # A plane's inverse depth is linear in the picture, so its Laplacian is zero however steeply the plane is seen.
    bend = cv2.Laplacian(inverse, cv2.CV_32F, ksize=1, borderType=cv2.BORDER_REPLICATE)
    bend[[0, -1]] = 0
    bend[:, [0, -1]] = 0
    return np.asarray(np.abs(bend) > 0.06 * inverse)


def flash(picture: Picture) -> Floats:
    """How directly a surface faces the sensor: 1 head-on, nothing beyond about 12 degrees."""
    return np.asarray(np.exp((picture.cosine - 1) * np.float32(120)), np.float32)


def measure(picture: Picture, sensor: Sensor, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Depth in metres (0 where nothing came back) and confidence in [0, 1]."""
    import cv2

    shape = picture.depth.shape
    white = static(rng, 2, *shape)
    # Drop-out comes in patches as well as in single pixels.
    coarse = static(rng, -(-shape[0] // 4), -(-shape[1] // 4))
    patch = cv2.resize(cv2.GaussianBlur(coarse, (3, 3), 0.8), shape[::-1], interpolation=cv2.INTER_LINEAR) * np.float32(2)
    light = returned(picture, sensor)
    own = float(np.quantile(light[::3, ::3], sensor.lost)) + 1e-6
    floor = own**sensor.adapts * sensor.floor ** (1 - sensor.adapts)
    light *= np.exp(np.float32(0.18) * white[0] + np.float32(0.22) * patch)
    ratio = light / np.float32(floor)
    confidence = ratio / (1 + ratio)
    spread = np.float32(0.002) + np.float32(0.0025) * picture.depth * picture.depth / np.sqrt(np.maximum(ratio, np.float32(0.05)))
    depth = picture.depth
    mixed = edges(depth)
    depth = np.where(mixed, cv2.blur(depth, (3, 3)), depth)
    # Light that reached a polished floor went on to the wall and came back late.
    depth = depth * (1 + np.float32(0.03) * picture.gloss * (picture.label != GLASS) * (1 - picture.cosine))
    # Some of what passes a pane returns from behind it, which is the robot's trouble with glass.
    passes = (picture.label == GLASS) & (flash(picture) < 0.3 + np.float32(0.15) * patch)
    depth = np.where(passes, picture.behind, depth)
    depth = depth + spread * white[1]
    silent = (ratio < 0.45) | (passes & (ratio < 0.8)) | (picture.depth < NEAREST) | (depth > sensor.reach * 1.15)
    confidence = np.where(silent, np.minimum(confidence, np.float32(0.3)), confidence)
    return np.where(silent, 0, np.maximum(depth, 0)).astype(np.float32), confidence.astype(np.float32)
