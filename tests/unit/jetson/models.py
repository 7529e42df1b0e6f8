"""Tiny ONNX models as an export looks from outside: one that sees, and some that do not."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

HEIGHT, WIDTH = 12, 16
METRES: float = 5.0
"""Depth of a white pixel; the truth of the frames below follows the same rule."""


@cache
def model(kind: str) -> bytes:
    """`good`: depth is brightness times 5 m, classes are the largest of RGB; `same` answers alike and is another file; `half`: half of that depth;
    `constant`, `nan`: neither."""
    scale = {"good": METRES, "same": METRES, "half": METRES / 2, "constant": 0.0, "nan": METRES}[kind]
    nodes = [
        helper.make_node("ReduceMean", ["rgb", "axes"], ["grey"], keepdims=1),
        helper.make_node("Mul", ["grey", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["shifted"]),
        helper.make_node("Log" if kind == "nan" else "Identity", ["negative" if kind == "nan" else "shifted"], ["depth"]),
        helper.make_node("Neg", ["rgb"], ["others"]),
        helper.make_node("Concat", ["rgb", "others"], ["logits"], axis=1),
    ]
    if kind == "nan":
        nodes.insert(3, helper.make_node("Sub", ["shifted", "ten"], ["negative"]))
    initializers = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("scale", TensorProto.FLOAT, [], [scale]),
        helper.make_tensor("shift", TensorProto.FLOAT, [], [2.0 if kind == "constant" else 0.0]),
        helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0]),
    ]
    shape = [1, 1, HEIGHT, WIDTH]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info("depth", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 6, HEIGHT, WIDTH]),
        ],
        initializers,
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(content)
    return bytes(content.SerializeToString())


def picture(seed: int) -> NDArray[np.uint8]:
    """A picture, uint8 [H,W,3]."""
    return np.random.default_rng(seed).integers(30, 226, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def truth(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Depth in mm, unknown in the first row, and classes, of which the first column is not labelled."""
    depth = np.rint(rgb.astype(np.float64).mean(2) / 255 * METRES * 1000).astype(np.uint16)
    classes = rgb.argmax(2).astype(np.uint8)
    depth[0], classes[:, 0] = 0, 255
    return depth, classes
