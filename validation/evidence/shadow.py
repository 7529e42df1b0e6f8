"""A version that ran beside the one in production on a device, and drove nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, model_validator

from validation.evidence.device_bench import Latency
from validation.evidence.report import Count, Line, Report, Share


class Shadow(Report):
    """How often the two agreed. `depth_within_10_percent` and `same_class` are shares of the pixels that were compared.

    Of those up to 1.5 m away, `near_difference_m` is the mean difference of depth; `glass_iou` is that of the two versions' glass.
    `dropped_frames` had no time left; `crashes` says how often the version's process died or hung.
    """

    kind: Literal["shadow"]
    device: Line
    beside: Line
    started_at: AwareDatetime
    ended_at: AwareDatetime
    frames: Annotated[int, Field(ge=1, le=2**53)]
    dropped_frames: Count = 0
    crashes: Count = 0
    depth_within_10_percent: Share
    same_class: Share | None = None
    near_difference_m: Annotated[float, Field(ge=0, le=1e3)] | None = None
    glass_iou: Share | None = None
    latency_ms: Latency | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Shadow:
        if self.ended_at <= self.started_at:
            raise ValueError("ended_at must be after started_at")
        return self

    def summary(self) -> str:
        """Where, beside what, for how long, and how often they agreed."""
        hours = (self.ended_at - self.started_at).total_seconds() / 3600
        classes = "" if self.same_class is None else f", the same class on {100 * self.same_class:.1f} %"
        near = "" if self.near_difference_m is None else f", {1000 * self.near_difference_m:.0f} mm apart up to 1.5 m"
        glass = "" if self.glass_iou is None else f", glass IoU {self.glass_iou:.2f}"
        return (
            f"{self.device}, beside {self.beside} for {hours:.1f} h and {self.frames} frames: depth within 10 % on"
            f" {100 * self.depth_within_10_percent:.1f} % of the pixels{near}{classes}{glass}{'; it crashed' if self.crashes else ''}"
        )
