"""int8: convolutions in 8 bit, with the ranges of their inputs and outputs measured on frames of the version's own training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.hub.exports import Target
from pipelines.predict.runtimes import INPUT, scaled
from pipelines.ship.export.onnx import quiet

PERCENTILE: Final = 99.99
"""Share of a tensor's values within the range that 8 bits are spread over."""


class Frames:
    """What ONNX Runtime's calibration reads, a stretch at a time, so that the tensors of one frame alone are in memory."""

    def __init__(self, rgb: Sequence[NDArray[np.uint8]]) -> None:
        self.rgb = rgb
        self.place, self.end = 0, len(rgb)

    def __len__(self) -> int:
        return len(self.rgb)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin with frame `start_index`, and end before `end_index`."""
        self.place, self.end = start_index, end_index

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next frame as the network's input; None after the last."""
        if self.place >= self.end:
            return None
        self.place += 1
        return {INPUT: scaled(self.rgb[self.place - 1])}

    def __iter__(self) -> Frames:
        return self

    def __next__(self) -> dict[str, NDArray[np.float32]]:
        frame = self.get_next()
        if frame is None:
            raise StopIteration
        return frame


def write_int8(source: Path, path: Path, target: Target, rgb: Sequence[NDArray[np.uint8]]) -> None:
    """Write the fp32 file `source` to `path` with its convolutions between 8-bit tensors, calibrated on pictures `rgb` [H,W,3] each.

    For a Jetson: signed, symmetric, weights by channel, biases left in fp32, for its parser takes neither zero points nor int32 biases
    (onnxruntime#14229, #17738, onnx-tensorrt#850). For the host: unsigned activations with a zero point, as its kernels like them.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    options: dict[str, Any] = {"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1}
    jetson = target == "jetson"
    if jetson:
        options |= {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    with quiet():
        quantize_static(
            str(source),
            str(path),
            Frames(rgb),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8 if jetson else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options=options,
        )
