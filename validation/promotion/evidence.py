"""What a promotion is judged by: one record a kind. Whoever promotes gathers them; a gate names the kinds that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

DataState = Literal["passed", "failed", "never validated", "allowed unvalidated"]
"""`allowed unvalidated`: the training was started with --allow-unvalidated, whether the data had failed or was never judged."""


@dataclass(frozen=True)
class TrainingData:
    """What `vortex validate` said of the data that the version was trained on."""

    state: DataState


@dataclass(frozen=True)
class Measurement:
    """What the version was measured to be at `place`, which names domain, camera and protocol; None where it was not measured there."""

    place: str
    values: Mapping[str, float] | None


@dataclass(frozen=True)
class Incumbent:
    """The version that holds the channel, and what it was measured to be on the frames of the version's `Measurement`, by the same protocol."""

    version: str
    values: Mapping[str, float] | None


@dataclass(frozen=True)
class ExportParity:
    """How far the exported network is from the trained one: largest depth difference in metres, share of pixels with the same class."""

    depth_m: float
    class_agreement: float


@dataclass(frozen=True)
class DeviceInput:
    """The input size (H, W) of the version, and the runtime of the channel's device that would take it."""

    size: tuple[int, int]
    runtime: str


Evidence: TypeAlias = Mapping[type, object]
"""Each kind that was gathered, and its record: None where there is none (nothing holds the channel, nothing was exported)."""
