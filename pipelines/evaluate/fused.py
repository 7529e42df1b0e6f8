"""What the robot would make of a prediction and its ToF camera together, judged as a prediction is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from vortex_jetson.perception.fusion import fuse

from core.depth import RANGES_M
from models.metrics import DepthMetrics

if TYPE_CHECKING:
    from pipelines.pack.decoding import Arrays

PREFIX: Final = "fused_"
SUMS: Final = (
    "count",
    "squared",
    "absolute",
    "abs_rel",
    "delta1",
    *(f"{part}_{name}" for name in RANGES_M for part in ("count", "squared")),
)
FIGURES: Final = ("rmse", "mae", "abs_rel", "delta1", *(f"rmse_{name}" for name in RANGES_M))


class FusedMetrics:
    """Accumulates frames: `fused_rmse`, … of the fusion on the robot (`vortex_jetson.perception.fusion`) where a frame has ToF and truth."""

    def __init__(self) -> None:
        self._depth = DepthMetrics()

    def update(self, depth: NDArray[Any], truth: NDArray[Any] | None, row: Arrays) -> None:
        """Add a frame: its prediction and truth [H,W] in metres, and its arrays. None as truth says that ToF itself is the judge."""
        if truth is None or "tof_depth" not in row:
            self._depth.update(np.zeros((1, 1)), np.zeros((1, 1)))
            return
        self._depth.update(fuse(depth, row["tof_depth"], row["tof_confidence"]).depth, truth)

    def frames(self) -> dict[str, NDArray[np.float64]]:
        """One row a frame for each sum, 0 where nothing was fused; no sum at all where no frame had ToF."""
        frames = self._depth.frames()
        return {f"{PREFIX}{name}": frames[name] for name in SUMS} if frames["count"].any() else {}

    def compute(self) -> dict[str, float]:
        """The figures that have a pixel behind them."""
        frames = self._depth.frames()
        if not frames["count"].any():
            return {}
        empty = {f"rmse_{name}" for name in RANGES_M if not frames[f"count_{name}"].any()}
        figures = self._depth.compute()
        return {f"{PREFIX}{name}": figures[name] for name in FIGURES if name not in empty}
