"""From linear light to the eight bits that a colour camera delivers: exposure, white balance, vignette, blur, noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pipelines.synthetic.parts import Floats
from pipelines.synthetic.textures import static


@dataclass(frozen=True)
class Film:
    """What tells one colour camera's pictures from another's.

    `metering` and `balance` are the spread (one sigma, natural logarithm) of exposure and of each colour's gain from frame to frame,
    `cast` the camera's own gain of red, green and blue, `vignette` the share of light that is lost in the corners' direction, and
    `grain` the least and greatest noise of a frame as a share of full scale.
    """

    metering: float = 0.06
    balance: float = 0.02
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignette: float = 0.14
    grain: tuple[float, float] = (0.006, 0.014)


def develop(rgb: Floats, exposure: float, film: Film, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Linear light (3, H, W) to an 8-bit picture (H, W, 3) in RGB order."""
    import cv2

    shape = (rgb.shape[1], rgb.shape[2])
    thin = rgb[:, ::4, ::4]
    # Meters average logarithmically: a bright window should not turn the room black.
    key = float(np.exp(np.log(np.maximum(thin.mean(0), 1e-3)).mean()))
    gain = exposure / key * float(np.exp(rng.normal(0, film.metering)))
    balance = np.exp(rng.normal(0, film.balance, 3)).astype(np.float32) * np.array(film.cast, np.float32)
    light = rgb * (balance * np.float32(gain))[:, None, None] * _vignette(shape, film.vignette)
    curve = np.sqrt(1 - np.exp(np.float32(-0.95) * np.maximum(light, 0)))
    # A shoulder and a toe, as camera makers' curves have them.
    curve += np.float32(0.4) * curve * (curve - np.float32(0.42)) * (1 - curve) * np.float32(2)
    picture = cv2.GaussianBlur(np.ascontiguousarray(curve.transpose(1, 2, 0)), (3, 3), 0.6 * shape[1] / 320 if shape[1] > 320 else 0.6)
    grain = static(rng, *picture.shape) * np.float32(255 * rng.uniform(*film.grain))
    return np.asarray(np.clip(picture * np.float32(255) + grain + np.float32(0.5), 0, 255).astype(np.uint8))


@lru_cache(maxsize=4)
def _vignette(shape: tuple[int, int], strength: float) -> Floats:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(1 - strength * (x * x + y * y), np.float32)
