"""The parts of an exported network, by the names of its modules: what a search for the layers that need fp32 goes by."""

from __future__ import annotations

import ast
from typing import Any, Final

OTHER: Final = "between modules"
"""Normalising the picture, enlarging the answers: what belongs to no module."""
_SCOPES: Final = "pkg.torch.onnx.name_scopes"


def part_of(node: Any) -> str:
    """The module of the student that a node came from: `neck`, `depth_d2`, and of the encoder its stage, as `encoder.stages_2`."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
    scopes: list[str] = ast.literal_eval(text)
    modules = scopes[1:-1]  # the first is the whole, the last is the operation itself
    if not modules:
        return OTHER
    if modules[0] == "encoder" and len(modules) > 1:
        return ".".join(modules[1].split(".")[:3])
    return modules[0].split(".")[0]


def nodes_by_part(model: Any) -> dict[str, list[str]]:
    """Part → the names of its nodes, in the order of the graph."""
    parts: dict[str, list[str]] = {}
    for node in model.graph.node:
        parts.setdefault(part_of(node), []).append(node.name)
    return parts
