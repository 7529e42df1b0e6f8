"""A model that names other files is not loaded: what lies there was never verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from vortex_jetson.engines import onnx_file
from vortex_jetson.engines.engine import OnnxEngine
from vortex_jetson.engines.onnx_file import is_whole
from vortex_jetson.errors import EngineFailed

from tests.unit.jetson.models import model


def elsewhere(tensor: TensorProto, location: str) -> None:
    """Let a tensor's values lie in another file."""
    for field in ("raw_data", "float_data", "int64_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


@pytest.mark.parametrize("place", ["relative", "absolute"])
def test_a_file_beside_the_model_is_never_read(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime looks for it in the folder that it is called in, or anywhere."""
    monkeypatch.chdir(tmp_path)
    np.array([5.0], np.float32).tofile(tmp_path / "weights.bin")
    proto = onnx.load_from_string(model("good"))
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "scale")
    elsewhere(tensor, str(tmp_path / "weights.bin") if place == "absolute" else "weights.bin")
    with pytest.raises(EngineFailed, match=r"v9\.onnx: names other files"):
        OnnxEngine(proto.SerializeToString(), "v9.onnx")


def outside_of_a_graph(proto: onnx.ModelProto) -> TensorProto:
    return proto.graph.node.add(op_type="Constant", output=["c"]).attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t


def in_a_branch(proto: onnx.ModelProto) -> TensorProto:
    branch = proto.graph.node.add(op_type="If", output=["i"]).attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g
    return branch.initializer.add(name="deep")


def in_a_function(proto: onnx.ModelProto) -> TensorProto:
    return proto.functions.add(name="f").node.add(op_type="Constant").attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t


def in_a_sparse_tensor(proto: onnx.ModelProto) -> TensorProto:
    return proto.graph.sparse_initializer.add().values


@pytest.mark.parametrize("place", [outside_of_a_graph, in_a_branch, in_a_function, in_a_sparse_tensor])
def test_tensors_are_looked_at_wherever_they_lie(place: Any) -> None:
    proto = onnx.load_from_string(model("good"))
    tensor = place(proto)
    tensor.CopyFrom(helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0]))
    assert is_whole(proto.SerializeToString())
    elsewhere(tensor, "weights.bin")
    assert not is_whole(proto.SerializeToString())


def test_the_fields_are_those_of_onnx() -> None:
    """All that lead to a tensor, so that a field which onnx adds is noticed."""
    messages, waiting = {}, [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name not in messages:
            messages[message.name] = {field.number: field.message_type for field in message.fields if field.message_type}
            waiting += messages[message.name].values()
    leading = {"TensorProto"}
    for _ in messages:
        leading |= {name for name, fields in messages.items() if any(kind.name in leading for kind in fields.values())}
    expected = {name: {number: kind.name for number, kind in messages[name].items() if kind.name in leading} for name in leading}
    assert {name: dict(parts) for name, parts in onnx_file._PARTS.items()} == expected
    tensor = onnx.TensorProto.DESCRIPTOR.fields_by_name
    assert (tensor["external_data"].number, tensor["data_location"].number) == (onnx_file._EXTERNAL_DATA, onnx_file._DATA_LOCATION)


@pytest.mark.parametrize(
    "content",
    [
        b"no model",
        b"\x08",
        b"\x3a\x05\x00",
        b"\xff" * 11,
        b"\x38\x01",
        model("good")[:-1],
        b"\x0b",
        b"\x0d\x01",
        b"\xba\x80\x80\x80\x10\x00",
    ],
)
def test_what_is_no_protobuf_is_no_model(content: bytes) -> None:
    with pytest.raises(ValueError):
        is_whole(content)
    with pytest.raises(EngineFailed, match="does not load, for it is no ONNX file"):
        OnnxEngine(content, "v9.onnx")


def test_deep_nesting_ends() -> None:
    content = b""
    for _ in range(60):  # a graph in an attribute of a node of a graph …
        for key in (b"\x32", b"\x2a", b"\x0a"):
            length, size = len(content), bytearray()
            while length >= 0x80:
                size.append(length & 0x7F | 0x80)
                length >>= 7
            content = key + bytes([*size, length]) + content
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        is_whole(b"\x3a" + bytes([len(content) & 0x7F | 0x80, len(content) >> 7]) + content)
