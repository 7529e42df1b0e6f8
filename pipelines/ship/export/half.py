"""fp16: the file that a Jetson gets, and the same arithmetic on a processor that has none of it.

ONNX Runtime runs a half-precision graph on a CPU by computing in fp32 from end to end: the casts that it puts in around each operation are
taken out again in pairs. A tensor of 10⁶ then passes where FP16 ends at 65504, and a file that collapses on the robot measures well.
`rounded` says every rounding aloud, so that what a tensor cannot hold in FP16 is infinite here too. What it does not show is how a
library adds up within an operation: TensorRT may do that in FP16 or in fp32.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from pipelines.ship.export.parts import nodes_of

LARGEST: Final = 65504.0
"""The largest number of FP16."""
SMALLEST_NORMAL: Final = 2.0**-14
"""Below it FP16 has fewer digits, and below 6e-8 none."""


def half_model(source: Path, fp32_parts: Collection[str] = ()) -> Any:
    """The fp32 file `source` as a half-precision model whose inputs and outputs stay fp32, and so do the nodes of `fp32_parts`, which are
    parts or modules.

    Raises UsageError for one that the network does not have.
    """
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    model = onnx.load(str(source))
    blocked = nodes_of(model, fp32_parts)
    half = convert_float_to_float16(model, keep_io_types=True, op_block_list=DEFAULT_OP_BLOCK_LIST, node_block_list=blocked)
    del half.graph.value_info[:]  # it still says FP16 of tensors that blocked nodes make
    _drop_round_trips(half.graph)
    _sort(half.graph)
    return half


def _drop_round_trips(graph: Any) -> None:
    """Join blocked nodes that follow each other: the converter casts what one makes to FP16 and back before the next reads it, so that what
    overflows between them would be infinite all the same."""
    from onnx import TensorProto

    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    to = {name: node.attribute[0].i for name, node in casts.items()}
    joined = {}
    for name, node in casts.items():
        before = node.input[0]
        if to[name] == TensorProto.FLOAT and to.get(before) == TensorProto.FLOAT16:
            joined[name] = casts[before].input[0]
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        node.input[:] = [joined.get(name, name) for name in node.input]
    while True:
        read = {name for node in graph.node for name in node.input} | outputs
        unread = [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in read]
        if not unread:
            return
        for node in unread:
            graph.node.remove(node)


def _sort(graph: Any) -> None:
    """Put every node behind those that make what it reads: the converter appends its casts at the end, which ONNX does not allow."""
    makers = {name: node for node in graph.node for name in node.output}
    placed: set[str] = set()
    order = []
    for node in list(graph.node):
        waiting = [node]
        while waiting:
            before = [makers[name] for name in waiting[-1].input if name in makers and name not in placed]
            if before:
                waiting += before
                continue
            ready = waiting.pop()
            if ready.output[0] not in placed:
                placed.update(ready.output)
                order.append(ready)
    sorted_nodes = [type(node).FromString(node.SerializeToString()) for node in order]
    del graph.node[:]
    graph.node.extend(sorted_nodes)


def rounded(half: Any) -> Any:
    """A half-precision model as an fp32 one that rounds whatever the other holds in FP16: weights once, each tensor where it is made."""
    import onnx
    from onnx import TensorProto, helper

    typed = onnx.shape_inference.infer_shapes(half)
    values = [*typed.graph.value_info, *typed.graph.input, *typed.graph.output]
    halves = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    model = onnx.ModelProto()
    model.CopyFrom(half)
    del model.graph.value_info[:]
    for weights in model.graph.initializer:
        if weights.data_type == TensorProto.FLOAT16:
            weights.CopyFrom(_as_fp32(weights))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            elif attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                attribute.t.CopyFrom(_as_fp32(attribute.t))
        outputs = [name for name in node.output if name in halves]
        node.output[:] = [f"{name}/exact" if name in halves else name for name in node.output]
        model.graph.node.append(node)
        for name in outputs:
            model.graph.node.append(helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], f"{name}/down", to=TensorProto.FLOAT16))
            model.graph.node.append(helper.make_node("Cast", [f"{name}/half"], [name], f"{name}/up", to=TensorProto.FLOAT))
    return model


def _as_fp32(tensor: Any) -> Any:
    import numpy as np
    from onnx import numpy_helper

    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
