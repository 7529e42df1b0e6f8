"""YAML files that people write: a key that is given twice is a fault, and every fault is told in one line with its place."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import ValidationError


def parse(text: str) -> object:
    """The plain values of a YAML text. Raises ValueError saying where it is faulty, and in what."""
    try:
        return yaml.load(text, _UniqueKeys)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def faults(error: ValidationError) -> list[str]:
    """Every fault in one line: the key, what is allowed there, and what was found where that is short enough to read."""
    return [_told(fault) for fault in error.errors() if not _follows(fault, error)]


def _told(fault: Any) -> str:
    found = fault["input"]
    shown = f", found {found!r}" if fault["type"] != "missing" and not isinstance(found, dict) and len(repr(found)) <= 60 else ""
    # List items are numbered from 1, as in the keys of `--set`.
    key = ".".join(str(part + 1 if isinstance(part, int) else part) for part in fault["loc"])
    return f"{key or 'file'}: {fault['msg'].removeprefix('Value error, ')}{shown}"


def _follows(fault: Any, error: ValidationError) -> bool:
    """Whether a fault only follows from others: a list counts as too short when its items are faulty."""
    inner = any(len(other["loc"]) > len(fault["loc"]) and other["loc"][: len(fault["loc"])] == fault["loc"] for other in error.errors())
    return fault["type"] == "too_short" and inner


class _UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys silently; here the second is a fault."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.MarkedYAMLError(problem=f"key {', '.join(twice)} appears twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)
