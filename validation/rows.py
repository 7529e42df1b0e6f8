"""One row of a manifest: what it may say, and how a line of text becomes one, strictly and fast.

The annotations below are the rules, and pydantic's compiled core checks them; the lines that it refuses are explained here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from core.depth import MILLIMETRES
from core.pinhole import Pinhole

UNIT: Final = "m|mm|m/[1-9][0-9]{0,5}|relative"
Unit = Annotated[str, StringConstraints(pattern=f"^(?:{UNIT})$")]
"""`m`, `mm`, `m/N` for depth in Nths of a metre, or `relative`."""
Split = Literal["train", "gap", "val", "test"]
Supervision = Literal["none", "partial", "full"]

METRIC_UNITS: Final = "m, mm, or m/N with a whole N up to 999999, such as m/5000"

# No segment begins with '..', none is empty; control characters and backslashes are in no path.
_SEGMENT: Final = r"(?:[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*|\.[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]*|\.)"
_Path = Annotated[str, StringConstraints(pattern=f"^(?:{_SEGMENT}/)*{_SEGMENT}$", max_length=1024)]
_Label = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=200)]
_Id = Annotated[str, StringConstraints(pattern=r"^\w[\w.+=@,~-]*$", max_length=200)]
_Domain = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_-]*$", max_length=63)]

_STRICT: Final = ConfigDict(extra="forbid", strict=True)
_PATH_RULE: Final = "a path relative to the manifest's folder, with '/', without '..'"
_LABEL_RULE: Final = "a text of 1 to 200 printable characters"
_ALLOWED: Final = {
    "id": "1 to 200 letters, digits and _ . + = @ , ~ -, starting with a letter, digit or _",
    "domain": "a-z, 0-9, '-' and '_', starting with a letter, at most 63 characters",
    "split": "train, gap, val, test",
    "sequence": _LABEL_RULE,
    "camera": _LABEL_RULE,
    "intrinsics": "an object with fx, fy (above 0), cx, cy (finite numbers below a million) and size [H, W] (1 to 65536)",
    "depth_unit": METRIC_UNITS,
    "tof_unit": METRIC_UNITS,
    "teacher": _LABEL_RULE,
    "segmentation_teacher": _LABEL_RULE,
    "teacher_unit": f"{METRIC_UNITS}, or relative",
    "supervision": "none, partial, full",
}


class RowFault(Exception):
    """The faults of one row, each a text that says what was found and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One row. Paths are POSIX, relative to the manifest's folder.

    `segmentation_teacher` names who made the mask; without it the mask is ground truth. `segmentation_sources` says pixel by pixel
    which teacher decided, and `provenance` is the JSON record of the teachers: weights, parameters, versions.
    """

    id: _Id
    domain: _Domain
    split: Split
    sequence: _Label
    camera: _Label
    intrinsics: Pinhole | None = None
    rgb: _Path
    depth: _Path | None = None
    depth_unit: Unit | None = None
    tof: _Path | None = None
    tof_unit: Unit | None = None
    tof_confidence: _Path | None = None
    teacher_depth: _Path | None = None
    teacher: _Label | None = None
    teacher_unit: Unit | None = None
    segmentation: _Path | None = None
    segmentation_teacher: _Label | None = None
    segmentation_sources: _Path | None = None
    provenance: _Path | None = None
    supervision: Supervision = "none"

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def files(self) -> dict[str, str]:
        """The files this frame names, by role (`ROLES`)."""
        paths = {role: getattr(self, role) for role in ROLES}
        return {role: path for role, path in paths.items() if path is not None}


def metres_of(unit: Unit) -> float | None:
    """Metres in one step of a unit; a relative teacher has no metres at all."""
    if unit == "relative":
        return None
    return 1.0 if unit == "m" else 1 / (MILLIMETRES if unit == "mm" else int(unit.removeprefix("m/")))


ROLES: Final = ("rgb", "depth", "tof", "tof_confidence", "teacher_depth", "segmentation", "segmentation_sources", "provenance")
FIELDS: Final = tuple(field.name for field in fields(Frame))


def parse(line: bytes) -> Frame:
    """The frame that a line of JSON states. Raises RowFault with everything that is wrong with it."""
    try:
        frame = _validator()(line)
    except ValidationError as error:
        raise RowFault(*_explain(line, error)) from error
    # The compiled parser keeps the last of two equal keys. A row that says nothing twice has just these quotes and no more:
    # four a text, two and two for each key inside `intrinsics`. Any other count (nulls, escapes) gets the slow look.
    values = [*frame.__dict__.values()]
    quotes = 4 * (len(values) - values.count(None)) + (8 if frame.intrinsics is not None else 0)
    # A supervision of "none" may be the default, and then its four quotes are not there.
    if line.count(b'"') != quotes or (frame.supervision == "none" and b'"supervision"' not in line):
        refuse_twice(line)
    if not _related(frame):
        raise RowFault(*_relations(frame))
    return frame


def to_mapping(frame: Frame) -> dict[str, Any]:
    """A frame as the JSON object of its line; what is absent is left out."""
    row = {name: value for name in FIELDS if (value := getattr(frame, name)) is not None}
    if frame.intrinsics is not None:
        camera = frame.intrinsics
        row["intrinsics"] = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy, "size": list(camera.size)}
    return row


def refuse_twice(line: bytes) -> dict[str, Any]:
    """Parse a line of JSON with the standard library. Raises RowFault for a key that is there twice, and for anything but an object."""
    try:
        row = json.loads(line, object_pairs_hook=_pairs)
    except RecursionError as error:
        raise RowFault("nested too deeply, allowed: one flat object") from error
    except ValueError as error:
        raise RowFault(f"not JSON ({error}), allowed: one JSON object a line") from error
    if not isinstance(row, dict):
        raise RowFault(f"found {short(row)}, allowed: one JSON object a line")
    return row


def short(value: object) -> str:
    """A value as an error shows it: ASCII, on one line, at most 60 characters."""
    if value is None or value is True or value is False:
        return json.dumps(value)
    text = ascii(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _validator() -> Callable[[bytes], Frame]:
    # Built on first use: it takes a tenth of a second, and most commands read no manifest.
    return TypeAdapter(Frame).validator.validate_json


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise RowFault(f"key {', '.join(map(short, twice))} is there twice, allowed: each key once")
    return row


def _related(frame: Frame) -> bool:
    """Whether `_relations` has nothing to say: one expression, for the usual row."""
    bare = frame.segmentation is None
    return (
        (frame.depth is None) is (frame.depth_unit is None)
        and (frame.tof is None) is (frame.tof_unit is None)
        and frame.depth_unit != "relative"
        and frame.tof_unit != "relative"
        and (frame.tof_confidence is None or frame.tof is not None)
        and (frame.teacher_depth is None) is (frame.teacher is None) is (frame.teacher_unit is None)
        and bare is (frame.supervision == "none")
        and not (bare and (frame.segmentation_teacher or frame.segmentation_sources))
    )


def _relations(frame: Frame) -> list[str]:
    """What the fields of a row owe each other."""
    faults: list[str] = []
    if (frame.depth is None) is not (frame.depth_unit is None):
        faults.append("depth and depth_unit belong together, allowed: both or neither")
    if (frame.tof is None) is not (frame.tof_unit is None):
        faults.append("tof and tof_unit belong together, allowed: both or neither")
    if frame.depth_unit == "relative" or frame.tof_unit == "relative":
        name = "depth_unit" if frame.depth_unit == "relative" else "tof_unit"
        faults.append(f"{name} is 'relative', allowed: {METRIC_UNITS}; only a teacher may be relative")
    if frame.tof_confidence is not None and frame.tof is None:
        faults.append("tof_confidence without tof, allowed: only beside tof")
    if not (frame.teacher_depth is None) is (frame.teacher is None) is (frame.teacher_unit is None):
        faults.append("teacher_depth, teacher and teacher_unit belong together, allowed: all or none")
    if (frame.segmentation is None) is not (frame.supervision == "none"):
        faults.append("segmentation and supervision disagree, allowed: supervision 'none' without a mask, 'partial' or 'full' with one")
    if frame.segmentation is None and (frame.segmentation_teacher or frame.segmentation_sources):
        faults.append("segmentation_teacher or segmentation_sources without segmentation, allowed: only beside the mask that they speak of")
    return faults


def _explain(line: bytes, error: ValidationError) -> list[str]:
    """The core's errors in the words of the manifest."""
    faults: list[str] = []
    for fault in error.errors(include_url=False, include_context=False):
        place = [str(part) for part in fault["loc"]]
        name = place[0] if place else ""
        if fault["type"] == "json_invalid":
            return [_not_json(line, fault["msg"].removeprefix("Invalid JSON: "))]
        if not name:
            faults.append(f"found {short(fault['input'])}, allowed: one JSON object a line")
        elif fault["type"] == "unexpected_keyword_argument" and len(place) == 1:
            faults.append(f"key {short(name)} is unknown, allowed: {', '.join(FIELDS)}")
        elif fault["type"].startswith("missing") and len(place) == 1:
            faults.append(f"{name} is missing, allowed: {_ALLOWED.get(name, _PATH_RULE)}")
        else:
            state = "is missing" if fault["type"].startswith("missing") else f"is {short(fault['input'])}"
            faults.append(f"{'.'.join(part[:60] for part in place)} {state}, allowed: {_ALLOWED.get(name, _PATH_RULE)}")
    return faults


def _not_json(line: bytes, message: str) -> str:
    message = message.replace(" at line 1 column ", " at column ")
    if line.startswith(b"\xef\xbb\xbf"):
        return "the line begins with a byte order mark, allowed: plain UTF-8"
    if "recursion" in message:
        return "nested too deeply, allowed: one flat object with one `intrinsics` object inside"
    if "surrogate" in message or "hex escape" in message:
        return f"a text holds a lone surrogate or a broken \\u escape ({message}), allowed: whole characters"
    if "unicode" in message:
        return f"not UTF-8 ({message}), allowed: UTF-8 text"
    if any(word in line for word in (b"NaN", b"Infinity")):
        return f"not JSON ({message}; NaN and Infinity are not JSON), allowed: finite numbers"
    return f"not JSON ({message}), allowed: one JSON object a line"
