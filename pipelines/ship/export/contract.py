"""What a program that has nothing but the ONNX file must know to use it: written into the file, and told in docs/onnx.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vortex_jetson.perception.fusion import CONFIDENT, TOF_FARTHEST_M, TOF_NEAREST_M

from core.classes import CLASSES, INFLATION_M
from models.metrics import CAP_M
from pipelines.hub.classes import untaught
from pipelines.hub.exports import Form, Precision
from registry.records import Version

FP32_PARTS: Final[dict[Precision, str]] = {"fp32": "all", "fp16": "none", "int8": "all but dense convolutions"}
"""What stays in fp32 in a file of each precision where no part is named."""


def contract(
    version: Version, pixels: dict[str, int] | None, form: Form, *, calibration: str = "none", fp32_parts: Iterable[str] = ()
) -> dict[str, str]:
    """The file's metadata. `pixels` are the labelled ones of each class that the version was trained on, None where they were not counted.

    `calibration` says which frames 8-bit ranges were measured on, `fp32_parts` which parts of a half-precision network stay in fp32.
    """
    height, width = version.size
    counted = "not counted" if pixels is None else ",".join(f"{name}={count}" for name, count in pixels.items())
    trained_on = {use.name for use in version.data}
    cameras = sorted({metrics.camera for metrics in version.metrics if metrics.dataset in trained_on})
    return {
        "vortex.version": version.name,
        "vortex.checkpoint_sha256": version.checkpoint.sha256,
        "vortex.size": f"{height}x{width}",
        "vortex.input": "rgb, 1x3xHxW, float32 in [0, 1]",
        "vortex.colour_order": "RGB",
        "vortex.range": "bytes / 255",
        "vortex.normalisation": "inside: feed [0, 1] as it is, without mean and deviation",
        "vortex.resize": "the whole picture, by area where it shrinks and bilinear where it grows; no crop, no padding",
        "vortex.outputs": "depth 1x1xHxW float32; logits 1x6xHxW float32, the class is the argmax of axis 1",
        "vortex.depth_unit": "m",
        "vortex.depth_range": f"0 and more; held against truth up to {CAP_M:g} m",
        "vortex.classes": ",".join(CLASSES),
        "vortex.classes_trained": "none" if untaught(pixels) else counted,
        "vortex.domain": version.domain or "none",
        "vortex.camera": ",".join(cameras) or "not recorded",
        "vortex.precision": form.precision,
        "vortex.target": form.target,
        "vortex.calibration": calibration,
        "vortex.fp32_parts": ",".join(fp32_parts) or FP32_PARTS[form.precision],
        "vortex.fusion": f"confident={CONFIDENT:g},nearest_m={TOF_NEAREST_M:g},farthest_m={TOF_FARTHEST_M:g}",
        "vortex.inflation_m": ",".join(f"{name}={metres:g}" for name, metres in INFLATION_M.items()),
    }
