"""What the page of a version tells: how it was made, what it measured, what it is against its parent, and what happened to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.compare.pooled import METRICS
from pipelines.hub.classes import class_pixels, trained_on
from pipelines.hub.evidence import EvidenceItem
from pipelines.recipes.recipe import parts
from pipelines.site.frames import Figure, Film, WorstFrames
from pipelines.site.register import Line, Register
from pipelines.site.results import OF_CLASSES, Results, results
from registry.declarations import DeclaredVersion, figures
from registry.edges import Edge, TeacherEdge, VersionEdge, WeightsEdge
from registry.quarantine import Bar
from registry.records import DataUse, Export, Version

if TYPE_CHECKING:
    from pipelines.compare.forgetting import Forgetting
    from pipelines.compare.side_by_side import Comparison

Settings = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ParentVerdict:
    """What an exam says of a version against its parent, in words."""

    place: str
    metric: str
    word: str
    words: str
    figures: str
    reason: str


@dataclass(frozen=True)
class Detail:
    """What is worked out of a version beyond what the ledger says; `comparison` is the address of its page, empty where there is none."""

    parent: str
    lineage: str
    """The drawing of its family, or in words why there is none."""
    comparison: str
    verdicts: tuple[ParentVerdict, ...]
    unjudged: str
    forgot: tuple[Forgetting, ...]
    nothing_forgotten: str
    evidence: tuple[EvidenceItem, ...]
    worst: tuple[WorstFrames, ...]
    pictures: tuple[Figure, ...]
    no_pictures: tuple[str, ...]
    films: tuple[Film, ...]


@dataclass(frozen=True)
class VersionPage:
    """The values of `version.html`."""

    name: str
    codename: str
    stages: tuple[tuple[str, str], ...]
    barred: tuple[Bar, ...]
    facts: Settings
    parents: tuple[Edge, ...]
    children: tuple[tuple[str, str], ...]
    data: tuple[DataUse, ...]
    exams: tuple[Results, ...]
    classes: tuple[Results, ...]
    others: tuple[Results, ...]
    published: tuple[tuple[str, str], ...]
    """Place and figures of what was declared and not measured here."""
    detail: Detail | None
    exports: tuple[Export, ...]
    history: tuple[Line, ...]
    settings: Settings
    told: Settings
    """What the recipe was published with."""
    files: Settings
    environment: Settings


def version_page(register: Register, version: Version, detail: Detail | None, when: str) -> VersionPage:
    """The page of a version; `when` is the time of its registration, for people."""
    exams = [metrics for metrics in version.metrics if metrics.series.exam]
    own, told = parts(version.recipe_config, by_teacher=any(isinstance(edge, TeacherEdge) for edge in version.parents))
    return VersionPage(
        version.name,
        version.codename,
        version.stages,
        register.barred.get(version.name, ()),
        tuple(_facts(register, version, when, worked_out=detail is not None)),
        version.parents,
        tuple(register.children.get(version.name, ())),
        version.data,
        results(exams),
        results(exams, OF_CLASSES),
        results(metrics for metrics in version.metrics if not metrics.series.exam),
        tuple(figures(version.published)),
        detail,
        version.exports,
        tuple(reversed(register.of_version.get(version.name, []))),
        flat(own),
        flat(told),
        _files(version),
        flat(version.environment),
    )


@dataclass(frozen=True)
class DeclaredPage:
    """The values of `declared.html`: a version that was published, and has no weights here."""

    name: str
    codename: str
    barred: tuple[Bar, ...]
    facts: Settings
    parents: tuple[Edge, ...]
    children: tuple[tuple[str, str], ...]
    published: tuple[tuple[str, str], ...]
    adopt_command: str
    history: tuple[Line, ...]


def declared_page(register: Register, declared: DeclaredVersion) -> DeclaredPage:
    """The page of a version that has no weights here."""
    told = declared.declaration
    facts = {
        "what changed": told.summary,
        "lesson": told.lesson,
        "status": told.status,
        "cut short": told.truncated,
        "encoder": told.encoder,
        "data": list(told.data),
        "checkpoint": told.checkpoint,
        "Hugging Face": told.hub_id,
        "jobs": [f"{job.job} ({job.stage}): {job.outcome}" for job in told.jobs],
    }
    return DeclaredPage(
        declared.name,
        told.codename,
        register.barred.get(declared.name, ()),
        tuple(row for key, value in facts.items() for row in _row(key, value)),
        told.parents,
        tuple(register.children.get(declared.name, ())),
        tuple(figures(told.metrics)),
        declared.adopt_command,
        tuple(reversed(register.of_version.get(declared.name, []))),
    )


def parent_of(register: Register, parents: tuple[Edge, ...]) -> str | None:
    """The registered version that one was made from, by weights before by recipe; None where there is none."""
    edges = [edge for edge in parents if isinstance(edge, VersionEdge) and edge.version in register.summaries]
    return next((edge.version for edge in sorted(edges, key=lambda edge: not isinstance(edge, WeightsEdge))), None)


def parent_verdicts(comparison: Comparison) -> Iterator[ParentVerdict]:
    """What the exams say of the comparison's second version against its first, by what was asked."""
    for measured in comparison.measured:
        for row in measured.rows:
            if not measured.exam or row.metric not in comparison.asked or (row.verdict is None and not row.unjudged):
                continue
            verdict, metric = row.verdict, METRICS[row.metric]
            a, b = ("–" if value is None else metric.text(value) for value in (row.a, row.b))
            interval = f", change {verdict.text(verdict.difference, '+')} ({verdict.range_text})" if verdict else ""
            yield ParentVerdict(
                measured.series.place,
                metric.heading,
                verdict.word if verdict else "open",
                verdict.words if verdict else "not judged",
                f"{b} against {a}{interval}",
                verdict.reason if verdict else row.unjudged,
            )


def flat(values: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested settings as (dotted name, text), without those that are empty; what something is called comes first."""
    rows: list[tuple[str, str]] = []
    for key, value in sorted(values.items(), key=lambda item: (item[0] != "name", item[0] != "codename")):
        rows += _row(f"{prefix}{key}", value)
    return tuple(rows)


def _row(name: str, value: Any) -> Settings:
    if value in (None, "", [], {}):
        return ()
    if isinstance(value, Mapping):
        return flat(value, f"{name}.")
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, (Mapping, list, tuple)) for item in value):
            return tuple(row for number, item in enumerate(value, 1) for row in _row(f"{name}.{number}", item))
        return ((name, ", ".join(map(str, value))),)
    return ((name, str(value)),)


def _facts(register: Register, version: Version, when: str, *, worked_out: bool) -> Iterator[tuple[str, str]]:
    yield "trained for", version.domain or "no domain of its own"
    yield "registered", f"{when} UTC by {version.actor.partition(' <')[0]}"
    if version.reason:
        yield "because", version.reason
    if version.truncated:
        yield "cut short", version.truncated
    yield "input", f"{version.size[0]}x{version.size[1]} (height x width)"
    if worked_out:
        yield "classes", trained_on(class_pixels(register.registry, version))


def _files(version: Version) -> Settings:
    """Where its weights and its run are, by what their bytes are."""
    checkpoint, adoption = version.checkpoint, version.adoption
    rows = [
        ("checkpoint", f"SHA-256 {checkpoint.sha256}, {checkpoint.bytes / 1e6:.1f} MB"),
        ("run", f"{version.run} (MLflow run {version.run_id}, model version {version.mlflow_version})"),
    ]
    rows += [("commit", version.commit)] if version.commit else []
    rows += [("adopted from", f"{adoption.source}, SHA-256 {adoption.sha256}")] if adoption else []
    return tuple(rows)
