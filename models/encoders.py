"""The encoders that a student can have. Free of torch, so that a recipe can be checked without it."""

from __future__ import annotations

from typing import Final

ENCODERS: Final[dict[str, tuple[int, ...]]] = {
    "efficientvit_b1": (0, 1, 2, 3),
    "mobilenetv3_small_100": (1, 2, 3, 4),
}
"""timm names of the encoders the lineage uses, and the `out_indices` that give strides 4, 8, 16 and 32."""
DEEPEST_STRIDE: Final = 32
"""Pixels of the image, in each direction, behind one value of the deepest map."""
