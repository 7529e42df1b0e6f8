"""A teacher's settings: a frozen dataclass beside the teacher, filled from `[teachers.NAME]` of vortex.toml and checked field by field."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from models.teachers.contract import TeacherError

S = TypeVar("S")


def read_settings(kind: type[S], teacher: str, settings: Mapping[str, object]) -> S:
    """Build the settings dataclass `kind` from a mapping.

    Raises TeacherError that lists every unknown key and every value of the wrong type together. Ranges are the dataclass's own
    affair: its `__post_init__` raises TeacherError.
    """
    hints = typing.get_type_hints(kind)
    allowed = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a dataclass, which TypeVar cannot say
    faults, values = [], {}
    for key, value in settings.items():
        if key not in allowed:
            faults.append(f"unknown setting {key!r}; allowed: {', '.join(allowed)}")
            continue
        fits, values[key] = _fit(hints[key], value)
        if not fits:
            faults.append(f"{key} = {value!r} is not {_words(hints[key])}")
    if faults:
        raise TeacherError(f"teacher {teacher}: {faults[0]}", f"mend [teachers.{teacher}] in vortex.toml, or what --set says", faults[1:])
    return kind(**values)


def _fit(hint: Any, value: object) -> tuple[bool, Any]:
    """Whether `value` (as TOML gives it) is of type `hint`, and the value in that type: lists become tuples, whole numbers floats."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in args and not isinstance(value, bool), value
    if origin in (typing.Union, types.UnionType):
        options = [_fit(option, value) for option in args]
        return next(((True, converted) for fits, converted in options if fits), (False, value))
    if origin is tuple and isinstance(value, list | tuple):
        inner = args[:1] * len(value) if len(args) == 2 and args[1] is Ellipsis else args
        items = [_fit(option, item) for option, item in zip(inner, value, strict=False)]
        return len(inner) == len(value) and all(fits for fits, _ in items), tuple(item for _, item in items)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return True, float(value)
    if hint is types.NoneType:
        return value is None, value
    return isinstance(hint, type) and isinstance(value, hint) and (hint is bool or not isinstance(value, bool)), value


def _words(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(option) for option in typing.get_args(hint))
    return {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}.get(hint, str(hint))
