"""The parts of an exported network, by the names of its modules: what stays in fp32 is named by them."""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Any, Final

from core.errors import UsageError

OTHER: Final = "between modules"
"""Normalising the picture, enlarging the answers: what belongs to no module."""
_SCOPES: Final = "pkg.torch.onnx.name_scopes"


def module_of(node: Any) -> str:
    """The innermost module of the student that a node came from, as `encoder.stages_3.1.context_module.main`."""
    modules = _modules(node)
    return modules[-1] if modules else OTHER


def part_of(node: Any) -> str:
    """The part of the student that its module lies in: `neck`, `depth_d2`, and of the encoder its stage, as `encoder.stages_2`."""
    modules = _modules(node)
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


def nodes_of(model: Any, names: Collection[str]) -> list[str]:
    """The names of the nodes of parts or modules. Raises UsageError for one that the network does not have."""
    nodes = [(node.name, {part_of(node), module_of(node)}) for node in model.graph.node]
    unknown = sorted(set(names) - set().union(*(places for _, places in nodes)))
    if unknown:
        raise UsageError(
            f"the network has no part {unknown[0]!r}, allowed: {', '.join(nodes_by_part(model))}", "name parts as --debug does"
        )
    return [name for name, places in nodes if places & set(names)]


def _modules(node: Any) -> list[str]:
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
    scopes: list[str] = ast.literal_eval(text)
    return scopes[1:-1]  # the first is the whole, the last is the operation itself
