"""YAML 1.2 files that people write: a key that is given twice is a fault, and every fault is told in one line with its place.

What is read is bounded, so that a hostile file costs no more than an honest one: its length, its depth, how many values it holds, and no
value is written once and meant many times.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, MaxDepthExceededError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import Node
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import Scanner

LONGEST: Final = 1 << 20
"""Characters of a text; the largest file of ours, the gates' policies, has 15,000."""
MOST_VALUES: Final = 10_000
"""Keys and values of a text; the policies have 1,200. Twenty thousand are parsed in less than a second."""
DEEPEST: Final = 32
"""Levels of nesting; the policies have 6."""


def parse(text: str) -> object:
    """The plain values of a YAML text. Raises ValueError saying where it is faulty, and in what."""
    if len(text) > LONGEST:
        raise ValueError(f"has {len(text):,} characters, allowed: {LONGEST:,}")
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner, yaml.Composer, yaml.Constructor = _Scanner, _Composer, _Constructor
    yaml.max_depth = DEEPEST
    try:
        return yaml.load(text)
    except MaxDepthExceededError as error:
        raise ValueError(_at(error.problem_mark, f"nested too deeply, allowed: {DEEPEST} levels")) from error
    except MarkedYAMLError as error:
        raise ValueError(_at(error.problem_mark, str(error.problem or error.context))) from error
    except ReaderError as error:
        before = text[: error.position]
        place = f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
        raise ValueError(f"{place}: character {ord(text[error.position]):#06x} is not allowed in YAML") from error
    except YAMLError as error:
        raise ValueError(_short(" ".join(str(error).split()))) from error


def faults(error: ValidationError) -> list[str]:
    """Every fault in one line: the key, what is allowed there, and what was found where that is short enough to read."""
    every = error.errors(include_url=False)
    # A list counts as too short when its items are faulty: that only follows from theirs.
    parents = {fault["loc"][:length] for fault in every for length in range(len(fault["loc"]))}
    return [_line(fault) for fault in every if fault["type"] != "too_short" or fault["loc"] not in parents]


def _at(mark: Any, problem: str) -> str:
    """One line about a place of the text, both counted from 1."""
    return (f"line {mark.line + 1}, column {mark.column + 1}: " if mark else "") + _short(problem)


def _short(text: str, longest: int = 200) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def _line(fault: Any) -> str:
    value = fault["input"]
    suffix = f", found {value!r}" if fault["type"] != "missing" and not isinstance(value, dict) and len(repr(value)) <= 60 else ""
    # List items are numbered from 1, as in the keys of `--set`.
    key = ".".join(str(part + 1 if isinstance(part, int) else part) for part in fault["loc"])
    return f"{_short(key) or 'file'}: {_short(fault['msg'].removeprefix('Value error, '))}{suffix}"


class _Scanner(Scanner):
    """Looks ahead for a thousand characters where a bracket opens, so nesting has to be refused before the composer sees it."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:
        if len(self.flow_context) >= DEEPEST:
            raise MaxDepthExceededError(problem_mark=self.reader.get_mark())
        super().fetch_flow_collection_start(TokenClass, to_push)


class _Composer(Composer):
    """Counts the values, and takes each as it is written: an alias stands for any number of them, a tag for any kind."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        self.values += 1
        if self.values > MOST_VALUES:
            raise MarkedYAMLError(problem=f"more than {MOST_VALUES:,} keys and values", problem_mark=event.start_mark)
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise MarkedYAMLError(problem="anchors (&) and aliases (*) are not allowed, write the value out", problem_mark=event.start_mark)
        if event.tag is not None:
            raise MarkedYAMLError(problem=f"tag {event.tag} is not allowed, write the plain value", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


class _Constructor(SafeConstructor):
    """Refuses a second key of one name in a few words."""

    def check_mapping_key(self, node: Node, key_node: Node, mapping: Any, key: Any, value: Any) -> bool:
        if key in mapping:
            raise MarkedYAMLError(problem=f"key {_short(str(key), 60)} appears twice", problem_mark=key_node.start_mark)
        return True
