"""Lineage files: versions that were published elsewhere, described without their weights. `lineage.yaml` beside this is the one that is shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core import strict_yaml
from core.errors import VortexError
from core.files import read_text_of_user
from core.printable import plain_line
from registry.declarations import SHARES, Declaration, DeclaredJob, DeclaredMetric
from registry.edges import DataEdge, Edge, RecipeEdge, TeacherEdge, WeightsEdge

SHIPPED_FILE: Final = Path(__file__).parent / "lineage.yaml"
Metric = Literal["rmse", "mae", "abs_rel", "log10", "silog", "delta1", "delta2", "delta3", "miou"]
File = TypeVar("File", bound=BaseModel)
_EXAMPLE: Final = f"a complete example is {SHIPPED_FILE}"


Line = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(plain_line)]
"""One line of text that only says something; what looks like markup is text too."""
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
VersionName = Annotated[str, Field(pattern=r"^v[1-9][0-9]{0,3}$")]
Epochs = Annotated[int, Field(ge=1, le=1_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class MetricLine(_Part):
    """A published number: metres, or a share between 0 and 1. It means nothing without its dataset, its domain and its camera."""

    dataset: Word
    domain: Word
    camera: Word
    metric: Metric
    value: Annotated[float, Field(ge=0, le=1e6)]

    @model_validator(mode="after")
    def _share(self) -> MetricLine:
        if self.metric in SHARES and self.value > 1:
            raise ValueError(f"{self.metric} is a share between 0 and 1, found {self.value:g}: 48.5 % is 0.485")
        return self

    def record(self) -> DeclaredMetric:
        """As the registry records it."""
        return DeclaredMetric(self.dataset, self.domain, self.camera, self.metric, self.value)


class ParentLine(_Part):
    """What a version came from: a recipe's configuration, trained anew, or a version's weights, trained on."""

    kind: Literal["recipe", "weights"]
    version: VersionName


class TeacherLine(_Part):
    """The foundation model whose depth was the target."""

    name: Word
    unit: Literal["m", "relative"]


class StageLine(_Part):
    """One training run. `stopped_at` is the epoch at which it was ended before its schedule was."""

    name: Word
    datasets: Annotated[list[Word], Field(min_length=1, max_length=100)]
    epochs: Epochs | None = None
    stopped_at: Epochs | None = None

    @model_validator(mode="after")
    def _cut_short(self) -> StageLine:
        if self.stopped_at is not None and (self.epochs is None or self.stopped_at >= self.epochs):
            raise ValueError("stopped_at must be below epochs, which must be given with it")
        return self

    @property
    def cut(self) -> str | None:
        """Where it ended before its schedule, in words."""
        return f"{self.name} stopped at {self.stopped_at}/{self.epochs} epochs" if self.stopped_at else None

    @property
    def words(self) -> str:
        """What it saw and for how long."""
        return f"{self.name}: {', '.join(self.datasets)}" + (f", {self.epochs} epochs" if self.epochs else "")


class JobLine(_Part):
    """A cluster job of the training, and how it ended."""

    job: Line
    stage: Word
    outcome: Line


class VersionLine(_Part):
    """One published version."""

    name: VersionName
    codename: Line
    parents: list[ParentLine]
    encoder: Word
    teacher: TeacherLine | None = None
    stages: Annotated[list[StageLine], Field(min_length=1, max_length=100)]
    changed: Line
    lesson: Line | None = None
    status: Line | None = None
    checkpoint: Word | None = None
    hub_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", max_length=96)] | None = None
    jobs: Annotated[list[JobLine], Field(max_length=1000)] = []
    published: Annotated[list[MetricLine], Field(max_length=1000)] = []

    @field_validator("published")
    @classmethod
    def _once(cls, lines: list[MetricLine]) -> list[MetricLine]:
        places = [(line.dataset, line.domain, line.camera, line.metric) for line in lines]
        twice = next((place for place in places if places.count(place) > 1), None)
        if twice:
            raise ValueError(f"{' · '.join(twice)} is given twice")
        return lines

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Its typed edges, to versions, teacher and data."""
        parents = [(WeightsEdge if parent.kind == "weights" else RecipeEdge)(parent.version) for parent in self.parents]
        teachers = [TeacherEdge(self.teacher.name, "relative depth" if self.teacher.unit == "relative" else "")] if self.teacher else []
        data = [DataEdge(name) for name in dict.fromkeys(name for stage in self.stages for name in stage.datasets)]
        return (*parents, *teachers, *data)

    def record(self) -> Declaration:
        """As the registry records it."""
        return Declaration(
            codename=self.codename,
            parents=self.edges,
            encoder=self.encoder,
            data=tuple(stage.words for stage in self.stages),
            summary=self.changed,
            lesson=self.lesson or "",
            status=self.status or "",
            checkpoint=self.checkpoint,
            hub_id=self.hub_id,
            truncated=", ".join(stage.cut for stage in self.stages if stage.cut) or None,
            jobs=tuple(DeclaredJob(job.job, job.stage, job.outcome) for job in self.jobs),
            metrics=tuple(line.record() for line in self.published),
        )


class LineageFile(_Part):
    """A whole file."""

    versions: Annotated[list[VersionLine], Field(min_length=1, max_length=1000)]

    @field_validator("versions")
    @classmethod
    def _distinct(cls, versions: list[VersionLine]) -> list[VersionLine]:
        names = [version.name for version in versions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"{twice} is described {names.count(twice)} times")
        return versions


class MetricsFile(_Part):
    """What `vortex adopt --metrics` reads."""

    published: Annotated[list[MetricLine], Field(min_length=1, max_length=1000)]


def read(path: Path, recorded: Mapping[str, Sequence[Edge]]) -> dict[str, Declaration]:
    """The versions that a lineage file describes; `recorded` are the edges of all that the registry has.

    Raises VortexError with every fault of the file, for a parent that is neither in it nor recorded, and for a version that descends from
    itself.
    """
    file = _parsed(path, LineageFile)
    declarations = {version.name: version.record() for version in file.versions}
    parents = {name: _versions(edges) for name, edges in recorded.items()}
    parents |= {name: _versions(declaration.parents) for name, declaration in declarations.items()}
    faults = [
        f"{name} comes from {parent}, which is neither in the file nor recorded here"
        for name in declarations
        for parent in parents[name]
        if parent not in parents
    ]
    if faults:
        raise VortexError(f"{path}: {faults[0]}", "describe that version too", faults)
    for name in declarations:
        if circle := _circle(name, parents):
            raise VortexError(f"{path}: {' comes from '.join(circle)}: a version cannot descend from itself", "mend the parents")
    return declarations


def read_metrics(path: Path) -> tuple[DeclaredMetric, ...]:
    """The numbers that a file declares, YAML or JSON. Raises VortexError with every fault of it."""
    return tuple(line.record() for line in _parsed(path, MetricsFile).published)


def _parsed(path: Path, kind: type[File]) -> File:
    try:
        raw = strict_yaml.parse(read_text_of_user(path))
        return kind.model_validate(raw)
    except OSError as error:
        raise VortexError(f"{path}: cannot be read ({error.strerror or error})", f"check the path; {_EXAMPLE}") from error
    except ValidationError as error:
        faults = strict_yaml.faults(error)
        raise VortexError(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''}: {faults[0]}", _EXAMPLE, faults) from error
    except ValueError as error:
        raise VortexError(f"{path}: not readable as YAML ({error})", _EXAMPLE) from error


def _versions(edges: Sequence[Edge]) -> list[str]:
    return [edge.version for edge in edges if isinstance(edge, (WeightsEdge, RecipeEdge))]


def _circle(start: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """The way from a version along its parents back to itself; empty where there is none."""
    way: dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        for parent in parents.get(name, ()):
            if parent == start:
                circle = [name]
                while circle[-1] != start:
                    circle.append(way[circle[-1]])
                return [*reversed(circle), start]
            if parent not in way:
                way[parent] = name
                waiting.append(parent)
    return []
