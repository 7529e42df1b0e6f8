"""What the registry records about a version: plain, frozen, and the same in memory, in the ledger and under `--json`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

ParentKind = Literal["recipe", "weights", "teacher", "data"]


@dataclass(frozen=True)
class Artifact:
    """A stored file: `uri` is relative to the artifact root when that is a folder, so that a repository can be moved; else a full URI."""

    uri: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Parent:
    """A lineage edge. `recipe` and `weights` name versions; `teacher` and `data` name what supervised and what was seen."""

    kind: ParentKind
    ref: str
    detail: str = ""


@dataclass(frozen=True)
class DataUse:
    """One dataset as a run saw it: `digest` over manifest and files, `dvc` the `.dir` hash of `data.dvc`, frames per split."""

    name: str
    domain: str
    kind: str
    digest: str
    dvc: str | None
    validated: bool
    frames: dict[str, int]


@dataclass(frozen=True)
class Metrics:
    """Measured on one dataset of one domain with one camera under one protocol: numbers without these four are not comparable."""

    domain: str
    camera: str
    protocol: str
    dataset: str
    digest: str
    values: dict[str, float]
    frames: int
    errors: Artifact | None = None

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What a later measurement of the same thing replaces."""
        return (self.domain, self.camera, self.protocol, self.dataset, self.digest)


@dataclass(frozen=True)
class Export:
    """A form of the student for a runtime, with how far it is from the student that it came from.

    `parity_m` is the largest depth difference in metres, `class_agreement` the share of pixels with the same class,
    `parity_on` says what was compared: the name of a dataset, or `noise`.
    """

    artifact: Artifact
    format: str = "onnx"
    size: tuple[int, int] | None = None
    precision: str = "fp32"
    opset: int | None = None
    parity_m: float | None = None
    class_agreement: float | None = None
    parity_on: str = ""
    frames: int = 0
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewVersion:
    """A finished run, as it asks for a name.

    `recipe` is the shipped recipe v1…v9 whose name it claims, or None; a `derived` one (trained from weights) never takes a recipe's name.
    """

    recipe: str | None
    derived: bool
    recipe_config: dict[str, Any]
    parents: tuple[Parent, ...]
    domain: str | None
    data: tuple[DataUse, ...]
    size: tuple[int, int]
    run_id: str
    run: str
    checkpoint: Artifact
    truncated: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    codename: str = ""


@dataclass(frozen=True)
class Headline:
    """The numbers that a listing shows, with the domain and the camera they hold for."""

    domain: str
    camera: str
    rmse: float | None
    miou: float | None


@dataclass(frozen=True)
class Summary:
    """A version as listings show it: folded from the ledger's small parts alone, so that thousands are quick."""

    name: str
    number: int
    codename: str
    recipe: str | None
    parents: tuple[Parent, ...]
    domain: str | None
    size: tuple[int, int]
    truncated: str | None
    headlines: tuple[Headline, ...]
    exports: int
    stages: tuple[tuple[str, str], ...]
    created_at: str
    actor: str
    reason: str
    commit: str | None

    @property
    def headline(self) -> Headline | None:
        """The measurement of the version's own domain, else its newest one."""
        own = [line for line in self.headlines if line.domain == self.domain]
        return own[-1] if own else (self.headlines[-1] if self.headlines else None)


@dataclass(frozen=True)
class Version(NewVersion):
    """A registered version: everything that was recorded about it, then and since.

    `stages` pairs each channel (`device/domain`) with the highest stage that this version holds there.
    """

    name: str = ""
    number: int = 0
    metrics: tuple[Metrics, ...] = ()
    exports: tuple[Export, ...] = ()
    created_at: str = ""
    actor: str = ""
    reason: str = ""
    commit: str | None = None
    stages: tuple[tuple[str, str], ...] = ()
    mlflow_version: int = 0

    @cached_property
    def headline(self) -> Headline | None:
        """The measurement of the version's own domain, else its newest one."""
        own = self.metrics_for(self.domain) if self.domain else None
        found = own or (self.metrics[-1] if self.metrics else None)
        return None if found is None else Headline(found.domain, found.camera, found.values.get("rmse"), found.values.get("miou"))

    def metrics_for(self, domain: str, camera: str | None = None) -> Metrics | None:
        """The newest measurement on `domain` (and `camera`), or None."""
        found = [one for one in self.metrics if one.domain == domain and camera in (None, one.camera)]
        return found[-1] if found else None

    def parent(self, kind: ParentKind) -> Parent | None:
        """The first parent of a kind, or None."""
        return next((parent for parent in self.parents if parent.kind == kind), None)


def to_json(value: Any) -> Any:
    """A record as JSON knows it. A number that is not finite becomes the text that `float` reads back, since JSON has none."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, (bool, int)) else str(value)


def artifact(raw: Mapping[str, Any] | None) -> Artifact | None:
    """An artifact from its JSON."""
    return Artifact(**raw) if raw else None


def metrics(raw: Mapping[str, Any]) -> Metrics:
    """Metrics from their JSON; `nan` and `inf` come back as numbers, so that a gate sees them."""
    values = {name: float(value) for name, value in raw["values"].items()}
    return Metrics(**{**raw, "values": values, "errors": artifact(raw["errors"])})


def export(raw: Mapping[str, Any]) -> Export:
    """An export from its JSON."""
    size = raw["size"]
    numbers = {key: None if raw[key] is None else float(raw[key]) for key in ("parity_m", "class_agreement")}
    return Export(**{**raw, **numbers, "artifact": Artifact(**raw["artifact"]), "size": (size[0], size[1]) if size else None})
