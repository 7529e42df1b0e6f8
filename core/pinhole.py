"""The one pinhole camera: what a manifest states, a teacher is given, the renderer looks through and depth is moved between.

Camera axes are x right, y down, z forward. Pixel centres have whole coordinates, so a picture's corners lie at -0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

from pydantic import Field

_Focal = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]
_Centre = Annotated[float, Field(gt=-1e6, lt=1e6, allow_inf_nan=False)]
_Pixels = Annotated[int, Field(ge=1, le=65536)]


@dataclass(frozen=True)
class Pinhole:
    """Focal lengths and principal point, in pixels of a picture of `size` (H, W). The bounds are asked of what a file states."""

    fx: _Focal
    fy: _Focal
    cx: _Centre
    cy: _Centre
    size: tuple[_Pixels, _Pixels]

    def scaled(self, size: tuple[int, int]) -> Self:
        """The same camera on the picture resized to `size`: the principal point scales about the picture's corner, not its first pixel."""
        rows, columns = size[0] / self.size[0], size[1] / self.size[1]
        return replace(
            self,
            fx=self.fx * columns,
            fy=self.fy * rows,
            cx=(self.cx + 0.5) * columns - 0.5,
            cy=(self.cy + 0.5) * rows - 0.5,
            size=size,
        )

    def cropped(self, top: int, left: int, size: tuple[int, int], step: int = 1) -> Self:
        """The same camera seeing only a rectangle of `size` (in its own pixels), at every `step`-th pixel."""
        smaller = (-(-size[0] // step), -(-size[1] // step))
        return replace(self, fx=self.fx / step, fy=self.fy / step, cx=(self.cx - left) / step, cy=(self.cy - top) / step, size=smaller)
