"""People of capsules: trousers, a coat or shirt, arms, a head with hair; standing, or walking with swinging legs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.synthetic.parts import Colour, Spot, Surface

SKIN: Final[tuple[Colour, ...]] = ((0.62, 0.38, 0.27), (0.5, 0.28, 0.18), (0.3, 0.15, 0.09), (0.12, 0.06, 0.04), (0.7, 0.47, 0.36))
HAIR: Final[tuple[Colour, ...]] = ((0.02, 0.015, 0.012), (0.09, 0.045, 0.02), (0.32, 0.2, 0.08), (0.35, 0.34, 0.33))
CLOTH: Final[tuple[Colour, ...]] = (
    (0.03, 0.04, 0.09), (0.02, 0.02, 0.022), (0.5, 0.06, 0.05), (0.07, 0.2, 0.42), (0.1, 0.28, 0.12), (0.7, 0.7, 0.68), (0.5, 0.36, 0.18),
    (0.22, 0.22, 0.24), (0.62, 0.45, 0.06), (0.3, 0.12, 0.3),
)  # fmt: skip
TEXTURES: Final = ("fabric", "plain")


@dataclass(frozen=True)
class Person:
    """Somebody's height and colours."""

    height: float
    width: float
    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour

    @staticmethod
    def random(rng: np.random.Generator) -> Person:
        """A person at random."""
        colours = [palette[int(rng.integers(len(palette)))] for palette in (SKIN, HAIR, CLOTH, CLOTH)]
        return Person(float(rng.uniform(1.55, 1.92)), float(rng.uniform(0.9, 1.15)), *colours)

    def stand(self, spot: Spot, stride: float = 0.0) -> None:
        """Build the person at a spot, facing local +x; `stride` in [-1, 1] swings the legs and, against them, the arms."""
        unit, wide = self.height / 1.75, self.width
        skin, hair = (Surface("plain", colour, "person", 1.0) for colour in (self.skin, self.hair))
        shirt, trousers = (Surface("fabric", colour, "person", 0.35, infrared=1.3) for colour in (self.shirt, self.trousers))
        shoe = Surface("plain", (0.03, 0.03, 0.03), "person", 1.0)
        for side in (-1.0, 1.0):
            swing = 0.55 * stride * side
            hip, out = (0.0, side * 0.095 * wide), 0.85 * unit
            knee = (0.42 * unit * math.sin(swing), hip[1], out - 0.42 * unit * math.cos(swing))
            bend = swing - 0.35 * abs(stride) if swing < 0 else swing
            ankle = (knee[0] + 0.40 * unit * math.sin(bend), hip[1], max(knee[2] - 0.40 * unit * math.cos(bend), 0.06))
            spot.capsule((hip[0], hip[1], out), knee, 0.082 * wide, trousers)
            spot.capsule(knee, ankle, 0.06 * wide, trousers)
            spot.capsule((ankle[0] - 0.03, hip[1], ankle[2] - 0.02), (ankle[0] + 0.14, hip[1], ankle[2] - 0.03), 0.042, shoe)
            shoulder = (0.0, side * 0.185 * wide, 1.42 * unit)
            elbow = (-0.27 * unit * math.sin(swing), side * 0.235 * wide, 1.16 * unit)
            hand = (elbow[0] + 0.16 * unit * abs(stride) + 0.03, side * 0.225 * wide, 0.92 * unit + 0.1 * abs(stride))
            spot.capsule(shoulder, elbow, 0.052 * wide, shirt)
            spot.capsule(elbow, hand, 0.042 * wide, shirt)
            spot.capsule(hand, (hand[0] + 0.02, hand[1], hand[2] - 0.09), 0.038, skin)
            spot.capsule((0, side * 0.075 * wide, 0.93 * unit), (0, side * 0.11 * wide, 1.40 * unit), 0.105 * wide, shirt)
        spot.capsule((0, 0, 0.9 * unit), (0, 0, 1.42 * unit), 0.115 * wide, shirt)
        spot.capsule((0, 0, 1.45 * unit), (0.01, 0, 1.53 * unit), 0.052, skin)
        spot.capsule((0.02, 0, 1.60 * unit), (0.01, 0, 1.66 * unit), 0.088, skin)
        spot.capsule((-0.018, 0, 1.63 * unit), (-0.012, 0, 1.675 * unit), 0.093, hair)
