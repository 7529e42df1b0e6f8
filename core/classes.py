"""The six classes that every label, network output and metric speaks of, in Vortex's one order."""

from __future__ import annotations

from typing import Final

CLASSES: Final = ("floor", "wall", "glass", "person", "furniture", "other")
IGNORE: Final = 255
"""Label of a pixel without segmentation supervision."""

PALETTE: Final[tuple[tuple[int, int, int], ...]] = (
    (128, 96, 64),
    (174, 199, 232),
    (44, 160, 160),
    (214, 39, 40),
    (255, 187, 120),
    (127, 127, 127),
)
"""RGB colour of each class in pictures; `IGNORE` is drawn black."""
