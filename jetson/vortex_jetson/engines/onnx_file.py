"""Whether an ONNX file is all of a model: its tensors may name other files, which nobody has verified and a library would read all the same.

Only the layout of protobuf is read here, by the numbers of onnx.proto (https://github.com/onnx/onnx), so that a robot needs no onnx.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from vortex_jetson.errors import EngineFailed

_PARTS: Final[Mapping[str, Mapping[int, str]]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
"""Which fields of a message lead to tensors, and to what."""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
"""Fields of a TensorProto."""
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_DEEPEST: Final = 100


def is_whole(content: bytes) -> bool:
    """Whether all tensors of a model lie in its file. Raises ValueError for what is no protobuf."""
    waiting: list[tuple[str, memoryview, int]] = [("ModelProto", memoryview(content), 0)]
    while waiting:
        message, view, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")
        for number, value in _fields(view):
            if message == "TensorProto" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)):
                return False
            part = _PARTS[message].get(number)
            if part is None:
                continue
            if not isinstance(value, memoryview):
                raise ValueError(f"field {number} of a {message} is no message")
            waiting.append((part, value, depth + 1))
    return True


def require_whole(content: bytes, name: str) -> None:
    """Raises EngineFailed for a model that is not all in its file, and for what is no model."""
    try:
        whole = is_whole(content)
    except ValueError as error:
        raise EngineFailed(f"{name}: does not load, for it is no ONNX file ({error})", "the bundle is of no use here") from error
    if not whole:
        raise EngineFailed(f"{name}: names other files, which nobody has verified; it was not loaded", "export the version with Vortex")


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a message's fields. Raises ValueError."""
    place = 0
    while place < len(view):
        key, place = _varint(view, place)
        if key >= 1 << 32:
            raise ValueError("the number of a field has more than 32 bits, which some readers cut")
        value: int | memoryview
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(view, place)
        elif kind in (_FIXED_64, _BYTES, _FIXED_32):
            length, place = _varint(view, place) if kind == _BYTES else (8 if kind == _FIXED_64 else 4, place)
            value = view[place : place + length]
            place += length
            if place > len(view):
                raise ValueError("it ends within a field")
        else:
            raise ValueError(f"a field is of the kind {kind}")
        yield key >> 3, value


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, and where it ends. Raises ValueError."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(view):
            break
        byte = view[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise ValueError("a number does not end")
