"""What somebody states of a version, and nobody measured here: one that was published and has no weights, or a checkpoint made elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import VortexError
from core.shipped import SHIPPED
from registry import stored

if TYPE_CHECKING:
    from registry.edges import Edge

SHARES: Final = ("miou", "delta1", "delta2", "delta3")
"""Declared metrics that are shares of 1."""
METRES: Final = ("rmse", "mae")
"""Declared metrics in metres; the others have no unit."""


@dataclass(frozen=True)
class DeclaredMetric:
    """A number as its publisher gives it: metres, or a share of 1. It is never a headline, and nothing is judged by it."""

    dataset: str
    domain: str
    camera: str
    metric: str
    value: float

    @property
    def place(self) -> str:
        """Where it is said to hold, for people: domain, camera and dataset."""
        return f"{self.domain} · {self.camera} ({self.dataset})"

    @property
    def text(self) -> str:
        """The metric and its value with the unit, for people."""
        if self.metric in SHARES:
            return f"{self.metric} {100 * self.value:.1f} %"
        return f"{self.metric} {self.value:g}{' m' if self.metric in METRES else ''}"


@dataclass(frozen=True)
class DeclaredJob:
    """A cluster job of a training that ran elsewhere, the stage that it was to train, and how it ended."""

    job: str
    stage: str
    outcome: str


@dataclass(frozen=True)
class Declaration:
    """A version as its publisher describes it.

    `checkpoint` is the name of the file that its weights are published in, `hub_id` the repository on the Hugging Face hub.
    `truncated` says where a training ended before its schedule; each of `data` describes what one stage saw.
    """

    codename: str
    parents: tuple[Edge, ...]
    encoder: str
    data: tuple[str, ...]
    summary: str
    lesson: str = ""
    status: str = ""
    checkpoint: str | None = None
    hub_id: str | None = None
    truncated: str | None = None
    jobs: tuple[DeclaredJob, ...] = ()
    metrics: tuple[DeclaredMetric, ...] = ()


@dataclass(frozen=True)
class DeclaredVersion:
    """A version that was declared: its name, what was said of it, and by whom. `adopted` is whether a checkpoint came in under that name."""

    name: str
    number: int
    declaration: Declaration
    created_at: str
    actor: str
    reason: str
    commit: str | None
    adopted: bool = False

    @property
    def parents(self) -> tuple[Edge, ...]:
        """Its declared edges."""
        return self.declaration.parents

    @property
    def adopt_command(self) -> str:
        """The command that brings its weights in."""
        return adopt_command(self.name)


@dataclass(frozen=True)
class Adoption:
    """Where an adopted version's weights came from.

    `source` is the name of the file and `sha256` that of its bytes; `key` is the entry of the file that held the weights, empty for the
    file itself. `class_order` is the order of the file's logits, and `metrics` what was declared with it.
    """

    source: str
    sha256: str
    key: str
    class_order: tuple[str, ...]
    metrics: tuple[DeclaredMetric, ...] = ()


class WithoutWeights(VortexError):
    """A version that was declared, and that nothing can be done with that needs its weights."""

    def __init__(self, version: str) -> None:
        super().__init__(
            f"{version} is declared: what was published of it is recorded, and its weights are not here",
            f"bring them in: {adopt_command(version)}; what is recorded: vortex show {version}",
        )

    def __reduce__(self) -> tuple[object, ...]:
        return VortexError, (self.message, self.hint, self.details)


def adopt_command(version: str) -> str:
    """The command that brings a declared version's weights in."""
    return f"vortex adopt CHECKPOINT.pt --as {version} --recipe {version if version in SHIPPED else 'RECIPE.yaml'}"


def figures(metrics: Iterable[DeclaredMetric]) -> list[tuple[str, str]]:
    """What was declared, for people: each place with its figures in words."""
    places: dict[str, list[str]] = {}
    for metric in metrics:
        places.setdefault(metric.place, []).append(metric.text)
    return [(place, ", ".join(texts)) for place, texts in places.items()]


def declared_metrics(raw: object) -> tuple[DeclaredMetric, ...]:
    """Declared metrics from their JSON."""
    return tuple(stored.record(DeclaredMetric, metric) for metric in stored.array(raw))
