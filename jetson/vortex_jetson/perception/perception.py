"""One frame from camera to what a planner takes: the student's answer, fused with the ToF camera's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.engines.engine import Engine
from vortex_jetson.perception.fusion import USUAL, Thresholds, fuse
from vortex_jetson.perception.resize import Size, pick, shrink

UNTAUGHT: Final = 255
"""In place of a class where the student was taught none: no class of the label info, so that Nav2's layer passes it over."""


@dataclass(frozen=True)
class Seen:
    """What one version made of one frame, all at the student's size."""

    version: str
    depth: NDArray[np.float32]
    """[H,W] in metres, 0 where nothing is known."""
    classes: NDArray[np.uint8]
    """[H,W], places in the bundle's classes; UNTAUGHT where the version was taught none."""
    confidence: NDArray[np.uint8]
    """[H,W]: from 128 where the ToF camera measured, up to 127 where the student guessed, 0 where nothing is known."""
    scale: float
    reason: str
    """Why the scale is an assumption; empty where the ToF camera gave it."""


class Perception:
    """A version at work: its engine, its classes and its fusion."""

    def __init__(
        self,
        version: str,
        engine: Engine,
        size: Size,
        classes: Sequence[str],
        trained: Sequence[str],
        thresholds: Thresholds = USUAL,
        scale: float = 1.0,
    ) -> None:
        """`trained` are the classes whose logits mean something, `scale` what `calibrate` found."""
        self.version, self.size, self.classes = version, size, tuple(classes)
        self._engine, self._thresholds, self._scale = engine, thresholds, scale
        self._trained = np.array([place for place, name in enumerate(classes) if name in trained], np.intp)

    def see(
        self, rgb: NDArray[np.uint8], tof: NDArray[np.float32] | None = None, tof_confidence: NDArray[np.float32] | None = None
    ) -> Seen:
        """A frame of any size of the student's or more: RGB [H,W,3], ToF depth [H,W] in metres that lies on it, its confidence in [0,1].

        Without a confidence the ToF camera is believed where it says a depth. Raises ValueError for maps smaller than the student's.
        """
        depth, logits = self._engine.run(np.ascontiguousarray(shrink(rgb, self.size)))
        if depth.shape != self.size or logits.shape[1:] != self.size:
            raise ValueError(f"the engine answers {depth.shape} and {logits.shape}, {self.version} has the size {self.size}")
        metres = np.zeros(self.size, np.float32) if tof is None else np.asarray(pick(tof, self.size), np.float32)
        sure = (metres > 0).astype(np.float32) if tof_confidence is None else np.asarray(pick(tof_confidence, self.size), np.float32)
        classes, student_confidence = self._classes(logits)
        fused = fuse(depth, metres, sure, student_confidence, assumed_scale=self._scale, thresholds=self._thresholds)
        assert fused.confidence is not None  # the student's was given
        confidence = np.rint(fused.confidence * 255).astype(np.uint8)
        return Seen(self.version, fused.depth, classes, confidence, fused.scale, fused.reason)

    def _classes(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The likeliest taught class of each pixel, and its probability among those taught; 1 where none was: only depth is spoken of."""
        if not self._trained.size:
            return np.full(self.size, UNTAUGHT, np.uint8), np.ones(self.size, np.float32)
        taught = logits if self._trained.size == len(logits) else logits[self._trained]
        best, likeliest = np.zeros(self.size, np.uint8), taught[0].copy()
        for place in range(1, len(taught)):  # argmax over a leading axis takes eight times as long
            better = taught[place] > likeliest
            np.maximum(best, better.view(np.uint8) * np.uint8(place), out=best)
            np.maximum(likeliest, taught[place], out=likeliest)
        with np.errstate(all="ignore"):
            probability = 1 / np.exp(taught - likeliest).sum(axis=0, dtype=np.float32)
        return self._trained[best].astype(np.uint8), np.nan_to_num(probability, nan=0.0)
