"""The values that the tensors of a network take over frames, against what FP16 holds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.environment import temporary
from core.machine import cores
from pipelines.predict.runtimes import INPUT, scaled, session
from pipelines.ship.export.half import LARGEST, SMALLEST_NORMAL
from pipelines.ship.export.parts import module_of, part_of

FRAMES: Final = 16
"""Evenly spread training frames that ranges are measured on."""
HEADROOM: Final = 4.0
"""How much farther than on those frames a value may reach on others, where it grows with what goes in."""


@dataclass(frozen=True)
class TensorRange:
    """The values of one tensor over the frames: the largest, and the share of those that are not zero and below the smallest normal FP16."""

    tensor: str
    part: str
    operation: str
    largest: float
    subnormal: float

    @property
    def overflows(self) -> bool:
        """Whether FP16 does not hold such values, or may not on other frames."""
        return not self.largest * HEADROOM <= LARGEST


def tensor_ranges(source: Path, pictures: Sequence[NDArray[np.uint8]]) -> tuple[TensorRange, ...]:
    """The values that every tensor of the fp32 file takes over the pictures [H,W,3], the largest first."""
    import onnx
    from onnx import TensorProto

    model = onnx.shape_inference.infer_shapes(onnx.load(str(source)))
    typed = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    outputs = {value.name for value in model.graph.output}
    makers = {name: node for node in model.graph.node for name in node.output}
    inner = [name for name in makers if typed.get(name) == TensorProto.FLOAT and name not in outputs]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inner)
    names = [value.name for value in model.graph.output]
    largest, small, counted = np.zeros(len(names)), np.zeros(len(names)), np.zeros(len(names))
    with tempfile.TemporaryDirectory(dir=temporary()) as folder:
        path = Path(folder) / "every-tensor.onnx"
        onnx.save(model, str(path))
        runtime = session(path, cores())
        for picture in pictures:
            for place, values in enumerate(runtime.run(names, {INPUT: scaled(picture)})):
                size = np.abs(values)
                largest[place] = np.fmax(largest[place], size.max(initial=0.0)) if np.isfinite(size).all() else np.inf
                small[place] += np.count_nonzero((size > 0) & (size < SMALLEST_NORMAL))
                counted[place] += np.count_nonzero(size)
    ranges = [
        TensorRange(name, part_of(makers[name]), makers[name].op_type, float(largest[place]), float(small[place] / max(counted[place], 1)))
        for place, name in enumerate(names)
    ]
    return tuple(sorted(ranges, key=lambda each: -each.largest))


def modules_in_fp32(source: Path, ranges: Sequence[TensorRange]) -> tuple[str, ...]:
    """The modules of the fp32 file that FP16 may not hold: those that make or read a tensor which overflows (both, for the cast between them is
    FP16 too), and those that multiply one tensor of activations by another, whatever their ranges.

    Such a product grows with the square of what goes in: in the linear attention of EfficientViT (https://arxiv.org/abs/2205.14756, eq. 3) a
    product of 4,000 at most on 16 training frames was beyond 65,504 on held-out ones.
    """
    import onnx

    graph = onnx.load(str(source)).graph
    tensors = {each.tensor for each in ranges if each.overflows}
    constants = {weights.name for weights in graph.initializer} | {
        name for node in graph.node if node.op_type == "Constant" for name in node.output
    }
    return tuple(
        dict.fromkeys(
            module_of(node)
            for node in graph.node
            if tensors & {*node.input, *node.output} or (node.op_type == "MatMul" and not constants & {*node.input})
        )
    )
