"""The teachers: foundation models and geometry that label frames, offline, once. Importing this module costs nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from models.teachers.contract import AnyTeacher, Role, TeacherError, Unit
from models.teachers.da2 import DepthAnything2, DepthAnything2MetricSettings, DepthAnything2Settings
from models.teachers.da3 import DepthAnything3, DepthAnything3Settings
from models.teachers.geometric import Geometric, GeometricSettings
from models.teachers.sam2 import Sam2, Sam2Settings
from models.teachers.settings import read_settings
from models.teachers.yolo import Yolo, YoloSettings

if TYPE_CHECKING:
    from models.teachers.contract import DepthTeacher

Settings = Mapping[str, object]


def _da2(settings: Settings) -> DepthTeacher:
    return DepthAnything2("da2", read_settings(DepthAnything2Settings, "da2", settings))


def _da2_metric(settings: Settings) -> DepthTeacher:
    return DepthAnything2("da2-metric", read_settings(DepthAnything2MetricSettings, "da2-metric", settings))


def _da3(settings: Settings) -> DepthTeacher:
    return DepthAnything3(read_settings(DepthAnything3Settings, "da3", settings))


def _yolo(settings: Settings) -> AnyTeacher:
    return Yolo(read_settings(YoloSettings, "yolo", settings))


def _sam2(settings: Settings) -> AnyTeacher:
    return Sam2(read_settings(Sam2Settings, "sam2", settings))


def _geometric(settings: Settings) -> AnyTeacher:
    return Geometric(read_settings(GeometricSettings, "geometric", settings))


@dataclass(frozen=True)
class TeacherKind:
    """One teacher as a listing shows it. `requires` are the roles whose output it is given; `unit` is a depth teacher's own."""

    role: Role
    summary: str
    licence: str
    build: Callable[[Settings], AnyTeacher]
    requires: tuple[Role, ...] = ()
    unit: Unit | None = None


TEACHERS: Final[dict[str, TeacherKind]] = {
    "da3": TeacherKind("depth", "Depth Anything 3 metric, large: metres from a camera of known focal length", "Apache-2.0", _da3, unit="m"),
    "da2": TeacherKind(
        "depth", "Depth Anything 2, large: relative inverse depth, not metres", "CC-BY-NC-4.0 (large)", _da2, unit="relative"
    ),
    "da2-metric": TeacherKind(
        "depth", "Depth Anything 2 tuned on indoor metres, large", "as the checkpoint's card says", _da2_metric, unit="m"
    ),
    "yolo": TeacherKind("boxes", "YOLOv8-L: boxes round people and furniture", "AGPL-3.0", _yolo),
    "sam2": TeacherKind("masks", "SAM 2 hiera-large: a mask for each box", "Apache-2.0", _sam2, requires=("boxes",)),
    "geometric": TeacherKind("structure", "floor, wall and glass from depth, camera and gravity", "Vortex's own", _geometric),
}


def make(name: str, settings: Settings | None = None) -> AnyTeacher:
    """Make a teacher from its table in vortex.toml. Weights are found and checked here, and loaded on the first frame.

    Raises TeacherError for an unknown name, unknown or ill-typed settings (all of them together), a package that is not installed,
    and weights that are missing or of another kind than the teacher.
    """
    if name not in TEACHERS:
        raise TeacherError(f"unknown teacher {name!r}", f"teachers: {', '.join(TEACHERS)}")
    return TEACHERS[name].build(settings or {})
