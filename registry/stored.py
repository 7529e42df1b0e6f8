"""What the ledger stores of a value, read back by its type. A forged or damaged event must not hand on a value that nobody expects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")


def text(value: object) -> str:
    """A text from its JSON. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.60} is no text")
    return value


def optional_text(value: object) -> str | None:
    """A text or nothing from its JSON. Raises TypeError for anything else."""
    return None if value is None else text(value)


def texts(values: object) -> tuple[str, ...]:
    """Texts from their JSON. Raises TypeError for anything else."""
    return tuple(map(text, array(values)))


def number(value: object) -> float:
    """A number from its JSON. Raises TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.60} is no number")
    return value


def measured(value: object) -> float:
    """A number, also as a text, which JSON has for those that are not finite. Raises TypeError or ValueError for anything else."""
    return float(value) if isinstance(value, str) else float(number(value))


def count(value: object) -> int:
    """A whole number from its JSON. Raises TypeError for anything else."""
    if type(value) is not int:
        raise TypeError(f"{value!r:.60} is no whole number")
    return value


def truth(value: object) -> bool:
    """True or false from its JSON. Raises TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.60} is neither true nor false")
    return value


def mapping(value: object) -> dict[str, Any]:
    """An object from its JSON. Raises TypeError for anything else."""
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.60} is no object")
    return value


def array(value: object) -> Iterable[Any]:
    """A list from its JSON, or a tuple that was not written yet. Raises TypeError for anything else."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{value!r:.60} is no list")
    return value


def counts(value: object) -> dict[str, int]:
    """Whole numbers by name from their JSON. Raises TypeError for anything else."""
    return {name: count(item) for name, item in mapping(value).items()}


def size(value: object) -> tuple[int, int]:
    """Height and width in pixels from their JSON. Raises TypeError or ValueError for anything else."""
    height, width = map(count, array(value))
    return height, width


def _optional(read: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else read(value)


_READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "str": text,
    "float": measured,
    "int": count,
    "bool": truth,
    "tuple[str, ...]": texts,
    "tuple[int, int]": size,
    "dict[str, int]": counts,
    "dict[str, float]": lambda value: {name: measured(item) for name, item in mapping(value).items()},
    "dict[str, Any]": mapping,
}
"""Type of a field, as its class has it → what reads it."""


def record(kind: type[T], raw: object, **read: Any) -> T:
    """A record of the dataclass `kind` from its JSON; `read` are the fields that were read already, each of a type of its own.

    Raises TypeError or ValueError for a value of another type and a field that is missing, KeyError for one that `kind` does not have.
    """
    readers = _readers(cast(Any, kind))
    return kind(**{name: readers[name](value) for name, value in mapping(raw).items() if name not in read}, **read)


@cache
def _readers(kind: Any) -> dict[str, Callable[[object], Any]]:
    """What reads each field whose type is one of `_READERS`, or that or nothing."""
    readers = {}
    for field in fields(kind):
        of_type = str(field.type).removesuffix(" | None")
        if of_type in _READERS:
            readers[field.name] = _READERS[of_type] if of_type == field.type else _optional(_READERS[of_type])
    return readers
