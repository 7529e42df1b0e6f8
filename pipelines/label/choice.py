"""Which teachers may work together, in which order, and what each needs of a frame."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import UsageError, VortexError
from models.teachers import TEACHERS, TeacherKind
from models.teachers.contract import AnyTeacher
from pipelines.data.provenance import Described, Label, canonical
from pipelines.workspace import Workspace

ORDER: Final = ("depth", "boxes", "masks", "structure")
LABELS: Final[dict[str, Label]] = {"depth": "depth", "boxes": "segmentation", "masks": "segmentation", "structure": "segmentation"}
CAMERA: Final = ("da3",)
"""Depth teachers whose metres hang on the focal length; a teacher of structure always needs the camera."""


@dataclass(frozen=True)
class SelectedTeacher:
    """One teacher of a run: its kind, and its settings. Travels to worker processes, where `make` builds the teacher itself."""

    name: str
    kind: TeacherKind
    settings: Mapping[str, object]

    def make(self) -> AnyTeacher:
        """Build the teacher. Raises TeacherError when its weights, package or settings are not right."""
        return self.kind.build(self.settings)

    @property
    def needs_camera(self) -> bool:
        """Whether frames without intrinsics cannot be labelled."""
        return self.kind.role == "structure" or self.name in CAMERA


def choose(ws: Workspace, names: Sequence[str], overrides: Mapping[str, Mapping[str, object]]) -> tuple[SelectedTeacher, ...]:
    """The teachers of `names` in the order in which they work, with `[teachers.NAME]` of vortex.toml and `overrides` as settings.

    Raises UsageError listing everything that is impossible about the selection.
    """
    faults = [f"unknown teacher {name!r}" for name in names if name not in TEACHERS]
    valid = [name for name in names if name in TEACHERS]
    faults += [f"{name} is named twice" for name in dict.fromkeys(valid) if valid.count(name) > 1]
    by_role = {role: [name for name in dict.fromkeys(valid) if TEACHERS[name].role == role] for role in ORDER}
    for role, those in by_role.items():
        if len(those) > 1:
            faults.append(f"{' and '.join(those)} both give {role}: one of them is allowed")
    if by_role["masks"] and not by_role["boxes"]:
        faults.append(f"{by_role['masks'][0]} needs boxes: add {_those(TEACHERS, 'boxes')}")
    if by_role["boxes"] and not by_role["masks"]:
        faults.append(f"nothing uses the boxes of {by_role['boxes'][0]}: add {_those(TEACHERS, 'masks')}")
    if not names:
        faults.append("no teacher is named")
    faults += [f"settings for {name}, which is not among the teachers" for name in overrides if name in TEACHERS and name not in valid]
    faults += [f"settings for an unknown teacher {name!r}" for name in overrides if name not in TEACHERS]
    if faults:
        hint = f"teachers: {', '.join(TEACHERS)}; for example --teachers da3,yolo,sam2,geometric"
        raise UsageError(f"--teachers {','.join(names)!r} cannot be used: {faults[0]}", hint, faults[1:])
    strangers = [name for name in ws.config.teachers if name not in TEACHERS]
    if strangers:
        raise VortexError(
            f"{ws.root / 'vortex.toml'}: [teachers.{strangers[0]}] is no teacher's table", f"allowed: {', '.join(TEACHERS)}", strangers[1:]
        )
    return tuple(
        SelectedTeacher(name, TEACHERS[name], {**ws.teacher(name), **overrides.get(name, {})}) for role in ORDER for name in by_role[role]
    )


def make_all(selection: Sequence[SelectedTeacher]) -> dict[str, AnyTeacher]:
    """Build the teachers. Raises VortexError listing what every one of them lacks."""
    teachers: dict[str, AnyTeacher] = {}
    faults: list[VortexError] = []
    for selected in selection:
        try:
            teachers[selected.name] = selected.make()
        except VortexError as error:
            faults.append(error)
    if faults:
        close_all(teachers)
        first = faults[0]
        more = [f"{fault.message}; {fault.hint}" if fault.hint else fault.message for fault in faults[1:]]
        raise VortexError(first.message, first.hint, [*first.details, *more])
    return teachers


def close_all(teachers: Mapping[str, AnyTeacher]) -> None:
    """Give back what the teachers hold."""
    for teacher in teachers.values():
        teacher.close()


def describe(teachers: Mapping[str, AnyTeacher]) -> Described:
    """What every teacher says decides its output, as JSON gives it back. Raises VortexError when that is not JSON."""
    described: Described = {}
    for name, teacher in teachers.items():
        try:
            words: Any = json.loads(canonical(teacher.describe()))
        except (TypeError, ValueError) as error:
            raise VortexError(
                f"teacher {name} describes itself in words that are not JSON ({error})", "report it to the teacher's maker"
            ) from error
        described[name] = words
    return described


def _those(teachers: Mapping[str, TeacherKind], role: str) -> str:
    return " or ".join(name for name, kind in teachers.items() if kind.role == role)
