"""What a depth teacher would say about a synthetic frame: the truth, mildly bent; or inverse depth in no unit at all."""

from __future__ import annotations

from typing import Final

import numpy as np

from core.errors import VortexError
from pipelines.synthetic.parts import Floats
from pipelines.synthetic.textures import noise
from validation.rows import Unit

TEACHERS: Final[dict[str, tuple[str, Unit]]] = {"metric": ("synthetic-metric", "m"), "relative": ("synthetic-relative", "relative")}
"""Name and unit of what each teacher writes."""


def check(teacher: str | None) -> None:
    """Raise VortexError when there is no such teacher."""
    if teacher is not None and teacher not in TEACHERS:
        raise VortexError(f"unknown synthetic teacher {teacher!r}; allowed: {', '.join(TEACHERS)}", "or leave it out for none")


def predict(teacher: str, depth: Floats, rng: np.random.Generator) -> Floats:
    """A teacher's output for exact `depth` (H, W) in metres, float32.

    `metric`: a scale error per frame (2 %, one sigma) and a smooth one across it (±4 %), edges softened over three pixels.
    `relative`: unbounded inverse depth as Depth Anything 2 emits, with a gain and a shift of each frame's own: read as metres it
    misses by tens of metres, which is the fault of V1.
    """
    import cv2

    soft = cv2.GaussianBlur(depth, (3, 3), 0.8)
    field = cv2.resize(noise(rng, 4, side=64), depth.shape[::-1], interpolation=cv2.INTER_CUBIC)
    metres = soft * (1 + np.float32(rng.normal(0, 0.02)) + np.float32(0.08) * (field - np.float32(0.5)))
    if teacher == "metric":
        return np.asarray(metres, np.float32)
    gain, shift = np.float32(rng.uniform(140, 220)), np.float32(rng.uniform(0, 12))
    return np.asarray(gain / np.maximum(metres, np.float32(0.1)) + shift, np.float32)
