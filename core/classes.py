"""The six classes that every label, network output and metric speaks of, in Vortex's one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CLASSES: Final = ("floor", "wall", "glass", "person", "furniture", "other")
IGNORE: Final = 255
"""Label of a pixel without segmentation supervision."""

INFLATION_M: Final[Mapping[str, float]] = {"floor": 0.0, "wall": 0.25, "glass": 0.45, "person": 0.60, "furniture": 0.30, "other": 0.30}
"""Metres that a planner keeps from an obstacle of each class. Glass gets a wider berth than a wall: its near edge is where depth is worst,
and a person the widest, for a person moves. It travels in every exported file and bundle."""

PALETTE: Final[tuple[tuple[int, int, int], ...]] = (
    (128, 96, 64),
    (174, 199, 232),
    (44, 160, 160),
    (214, 39, 40),
    (255, 187, 120),
    (127, 127, 127),
)
"""RGB colour of each class in pictures; `IGNORE` is drawn black."""
