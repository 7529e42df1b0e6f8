"""JSON documents that come from outside: read strictly, so that one document has one meaning, and every fault is an error with words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from vortex_jetson.errors import BadDocument

NAME: Final = r"[a-z][a-z0-9_-]{0,62}"
"""Of a device or a domain, as the workspace's settings allow it."""
CHANNEL: Final = f"{NAME}/{NAME}"
VERSION: Final = r"v[1-9][0-9]{0,8}"
SHA256: Final = r"[0-9a-f]{64}"
TIME: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
LONGEST_LINE: Final = 500
"""Characters of a line of text."""
LARGEST_COUNT: Final = 2**53

T = TypeVar("T")


def canonical(document: dict[str, Any]) -> bytes:
    """The one spelling of a document: sorted keys, no spaces, ASCII, a line feed at the end."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read(content: bytes, largest: int, what: str) -> Fields:
    """The fields of the one JSON object in `content`, which `what` names in errors.

    Raises BadDocument for more than `largest` bytes, what is no JSON, a key that is there twice, or a number that is not finite.
    """
    if len(content) > largest:
        raise BadDocument(f"{what} has more than {largest:,} bytes", "it was not written by Vortex; nothing of it was used")
    try:
        document = json.loads(content.decode(), object_pairs_hook=_distinct, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # bytes that are no UTF-8 too
        raise BadDocument(f"{what} is no JSON ({error})", "fetch it again; nothing of it was used") from error
    return Fields(document, what)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is there twice")
    return document


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


class Fields:
    """A JSON object whose fields are taken one by one, each with its type and bounds; `end` refuses what nobody asked for."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, dict):
            raise BadDocument(f"{where} is {_kind(document)}, allowed: an object", "it was not written by Vortex; nothing of it was used")
        self.document: dict[str, Any] = document
        self.where = where
        self.taken: set[str] = set()

    def refuse(self, name: str, allowed: str) -> NoReturn:
        """Raise BadDocument for the field `name`."""
        content = self.document.get(name)
        # What is nested deeply enough can be read and yet not be spelt.
        value = _kind(content) if isinstance(content, (list, dict)) else repr(content)
        shown = value if len(value) <= 60 else value[:57] + "…"
        raise BadDocument(f"{self.where}: {name} is {shown}, allowed: {allowed}", "it was not written by Vortex; nothing of it was used")

    def value(self, name: str) -> Any:
        """A field as it is. Raises BadDocument where it is absent."""
        self.taken.add(name)
        if name not in self.document:
            raise BadDocument(f"{self.where}: {name} is missing", "it was not written by Vortex; nothing of it was used")
        return self.document[name]

    def format(self, newest: int) -> int:
        """The number of the format, at most `newest`: a newer one says that the agent is too old, before any other field is looked at."""
        number = self.count("format", lowest=1)
        if number > newest:
            raise BadDocument(
                f"{self.where} has format {number}, allowed: 1 to {newest}", "it is newer than this agent: install a newer vortex-jetson"
            )
        return number

    def text(self, name: str, pattern: str) -> str:
        """A text that matches `pattern` as a whole."""
        value = self.value(name)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            self.refuse(name, pattern)
        return value

    def line(self, name: str) -> str:
        """One line of text for people: it commands no terminal, and is not empty."""
        value = self.value(name)
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_LINE or not value.isprintable():
            self.refuse(name, f"one line of 1 to {LONGEST_LINE} printable characters")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.value(name)
        if not isinstance(value, bool):
            self.refuse(name, "true or false")
        return value

    def count(self, name: str, lowest: int = 0, highest: int = LARGEST_COUNT) -> int:
        """A whole number."""
        value = self.value(name)
        if type(value) is not int or not lowest <= value <= highest:
            self.refuse(name, f"a whole number from {lowest} to {highest}")
        return int(value)

    def number(self, name: str, lowest: float, highest: float) -> float:
        """A finite number."""
        value = self.value(name)
        if type(value) not in (int, float) or not lowest <= value <= highest:  # neither infinite nor NaN, which compares to nothing
            self.refuse(name, f"a number from {lowest:g} to {highest:g}")
        return float(value)

    def part(self, name: str) -> Fields:
        """An object within."""
        return Fields(self.value(name), f"{self.where}: {name}")

    def items(self, name: str, fewest: int, most: int) -> list[Any]:
        """A list."""
        value = self.value(name)
        if not isinstance(value, list) or not fewest <= len(value) <= most:
            self.refuse(name, f"a list of {fewest} to {most}")
        return value

    def texts(self, name: str, pattern: str, fewest: int, most: int) -> tuple[str, ...]:
        """A list of distinct texts that match `pattern`."""
        values = self.items(name, fewest, most)
        if not all(isinstance(value, str) and re.fullmatch(pattern, value) for value in values) or len(set(values)) != len(values):
            self.refuse(name, f"distinct texts {pattern}")
        return tuple(values)

    def parts(self, name: str, fewest: int, most: int) -> list[Fields]:
        """A list of objects."""
        return [Fields(item, f"{self.where}: {name}[{index}]") for index, item in enumerate(self.items(name, fewest, most))]

    def optional(self, name: str, read: Callable[[str], T]) -> T | None:
        """What `read` makes of the field, or None where it is null. Null has to be written out: an absent field was forgotten."""
        return None if self.value(name) is None else read(name)

    def end(self) -> None:
        """Raises BadDocument for fields that were not taken."""
        surplus = sorted(set(self.document) - self.taken)
        if surplus:
            raise BadDocument(
                f"{self.where}: {surplus[0]!r:.60} is no field of it, allowed: {', '.join(sorted(self.taken))}",
                "it was not written by Vortex, or by a newer one without saying so; nothing of it was used",
            )


def _kind(value: object) -> str:
    return {type(None): "null", dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "a number")
