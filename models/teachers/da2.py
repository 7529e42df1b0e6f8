"""Depth Anything 2 (Yang et al. 2024), through Transformers: relative inverse depth, or metres from a checkpoint tuned on metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from models.teachers.contract import DepthMap, TeacherError, Unit, View
from models.teachers.loading import Device, checked_depth, failed, find_weights, load_transformers, need, read_config

if TYPE_CHECKING:
    from torch import Tensor

UNITS: Final[dict[str, Unit]] = {"relative": "relative", "metric": "m"}


@dataclass(frozen=True)
class DepthAnything2Settings:
    """[teachers.da2] of vortex.toml. `weights` is a folder or a model id."""

    weights: str = "depth-anything/Depth-Anything-V2-Large-hf"
    download: bool = False
    device: Device = "auto"


@dataclass(frozen=True)
class DepthAnything2MetricSettings(DepthAnything2Settings):
    """[teachers.da2-metric] of vortex.toml."""

    weights: str = "depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf"


class DepthAnything2:
    """A depth teacher whose unit is the checkpoint's own and must be the one asked for.

    Relative and metric checkpoints are the same class, and `depth_estimation_type` is "relative" where a configuration does not say:
    taking one for the other is what made V1 miss by 75 m. So "da2" takes relative checkpoints alone, "da2-metric" metric ones alone.
    """

    def __init__(self, name: Literal["da2", "da2-metric"], settings: DepthAnything2Settings) -> None:
        self.name: str = name
        self.settings = settings
        self.library = need(name, "transformers", "teachers")
        self.weights = find_weights(name, settings.weights, settings.download)
        config = read_config(name, self.weights.folder, ("depth_anything",))
        self.unit: Unit = "m" if name == "da2-metric" else "relative"
        kind = str(config.get("depth_estimation_type", "relative"))
        if UNITS.get(kind) != self.unit:
            other = "da2" if self.unit == "m" else "da2-metric"
            raise TeacherError(
                f"teacher {name} gives depth in {self.unit!r}, but {self.weights.folder} is a checkpoint of type {kind!r}",
                f"use the teacher {other}, or weights whose config.json says depth_estimation_type = "
                f"{next(word for word, unit in UNITS.items() if unit == self.unit)!r}",
            )
        self._loaded: tuple[Any, Any] | None = None

    def describe(self) -> dict[str, object]:
        """What decides the output. The device is not part of it: devices agree up to rounding."""
        return {
            "teacher": self.name,
            "model": "DepthAnythingForDepthEstimation",
            "weights_sha256": self.weights.sha256,
            "library": self.library,
            "parameters": {"resize": "bilinear"},
            "unit": self.unit,
        }

    def depth(self, view: View) -> DepthMap:
        """Depth [H,W] at the picture's size: metres, or raw inverse depth, unbounded and larger where nearer."""
        import torch

        processor, model = self._load()
        try:
            with torch.inference_mode():
                inputs = processor(images=view.rgb, return_tensors="pt", input_data_format="channels_last").to(model.device)
                predicted: Tensor = model(**inputs).predicted_depth[:, None].float()
                resized = torch.nn.functional.interpolate(predicted, size=view.size, mode="bilinear", align_corners=False)
        except Exception as error:  # whatever the library raises, it is this frame that failed
            raise failed(self.name, view.id, error) from error
        depth = resized[0, 0].cpu().numpy().astype(np.float32)
        return DepthMap(checked_depth(self.name, view.id, depth), self.unit)

    def close(self) -> None:
        """Give the model's memory back."""
        self._loaded = None

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load_transformers(
                self.name, "AutoImageProcessor", "DepthAnythingForDepthEstimation", self.weights, self.settings.device
            )
        return self._loaded
