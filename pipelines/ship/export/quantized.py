"""int8: convolutions in 8 bit, with the ranges of their inputs and outputs measured on frames of the version's own training data."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.hub.exports import Target
from pipelines.predict.runtimes import INPUT, scaled
from pipelines.ship.export.onnx import quiet

PERCENTILE: Final = 99.99
"""Share of a tensor's values within the range that 8 bits are spread over."""
MULTIPLICATIONS: Final = 64
"""Of a convolution, for each value that it reads or writes: with fewer it stays in fp32, for converting its tensors costs more time than 8 bits
save. Those are depthwise and grouped ones, the wide and thin maps of the first stages, and the heads (docs/decisions/exports.md)."""


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
    """Write the fp32 file `source` to `path` with its dense convolutions between 8-bit tensors, calibrated on pictures `rgb` [H,W,3] each.

    For a Jetson: signed, symmetric, weights by channel, biases left in fp32, for its parser takes neither zero points nor int32 biases
    (onnxruntime#14229, #17738, onnx-tensorrt#850). For the host: unsigned activations with a zero point, as its kernels like them. Weights have
    7 bits: a processor without VNNI adds two products in 16 bits, which full weights overflow, and would answer otherwise than one with it.
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
            nodes_to_quantize=dense_convolutions(source),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QInt8 if jetson else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options=options,
        )


def dense_convolutions(source: Path) -> list[str]:
    """The names of the convolutions of the fp32 file that multiply `MULTIPLICATIONS` times or more for each value that they read or write."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load(str(source))).graph
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    values = {
        tensor.name: prod(dimension.dim_value for dimension in tensor.type.tensor_type.shape.dim)
        for tensor in (*graph.input, *graph.value_info, *graph.output)
    }

    def density(node: Any) -> float:
        read, written = values[node.input[0]], values[node.output[0]]
        return float(prod(weights[node.input[1]][1:]) * written / (read + written))  # weights are [out, in / groups, height, width]

    return [node.name for node in graph.node if node.op_type == "Conv" and density(node) >= MULTIPLICATIONS]
