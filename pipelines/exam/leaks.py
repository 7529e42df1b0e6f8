"""Exam frames that a version, or one whose weights are in it, was trained on: by content and by likeness, whatever the sets are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.errors import VortexError
from pipelines.data.datasets import listing, resolve
from pipelines.exam.sets import ExamSet, exam_sets
from pipelines.validate.fingerprints import Fingerprints, fingerprints_of, joined
from pipelines.workspace import Workspace
from registry.records import Version
from validation.manifest import load_manifest
from validation.policies import load_policies

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from registry.versions import Hub


@dataclass(frozen=True)
class Leak:
    """Frames of an exam's set that stand among the training frames of `source`; `example` is the id of one of them."""

    exam: str
    source: str
    same: int
    alike: int
    example: str

    def __str__(self) -> str:
        kinds = [f"{count} {what}" for count, what in ((self.same, "the very pictures"), (self.alike, "near copies")) if count]
        return f"frames of the exam {self.exam} are among the training frames of {self.source}: {', '.join(kinds)}, for example {self.example!r}"


@dataclass(frozen=True)
class Lineage:
    """What is known of the training frames of a version and all whose weights are in it; `unknown` says of whom nothing is known, and why."""

    trained: dict[str, Fingerprints]
    unknown: dict[str, str]


def lineage_of(ws: Workspace, registry: Hub, version: Version) -> Lineage:
    """The fingerprints of what a version and its ancestors by weights were trained on.

    They are kept with a version since it was registered; for an older one they are made of its datasets, where these are in `data/` as
    it saw them.
    """
    trained: dict[str, Fingerprints] = {}
    unknown: dict[str, str] = {}
    for name, ancestor in registry.weights_line(version).items():
        if not isinstance(ancestor, Version):
            unknown[name] = "it is declared, and no frame that it was trained on is known here" if ancestor else "it is not registered here"
            continue
        try:
            trained[name] = _of_version(ws, registry, ancestor)
        except VortexError as error:
            unknown[name] = error.message
    return Lineage(trained, unknown)


def _of_version(ws: Workspace, registry: Hub, version: Version) -> Fingerprints:
    if version.fingerprints is not None:
        return Fingerprints.load(registry.artifacts.path(version.fingerprints))
    if version.adoption is not None:
        raise VortexError("its checkpoint was adopted, and no frame that it was trained on is known here", "train it again here")
    here = {dataset.name for dataset in listing(ws)}
    parts = []
    for use in version.data:
        ref = resolve(ws, name_or_manifest=use.name) if use.name in here else None
        if ref is None or ref.digest != use.digest:
            state = "is no longer in data/" if ref is None else "has changed since"
            raise VortexError(f"its training frames were not kept, and {use.name}@{use.digest[:12]} {state}", "bring the set back")
        parts.append(fingerprints_of(ws, ref, {frame.id for frame in load_manifest(ref.manifest) if frame.split == "train"}))
    if not parts:
        raise VortexError("it names no data that it was trained on", "train it again")
    return joined(parts)


def leaks(ws: Workspace, sets: Sequence[ExamSet], trained: dict[str, Fingerprints]) -> list[Leak]:
    """Where frames of the exam's sets are among `trained`, each under the name of who was trained on it.

    The very picture is one too many. Near copies are held to the share that the data gate allows within a set: chance makes some.
    """
    every = []
    for exam_set in sets:
        twins = load_policies().data.kind(exam_set.ref.kind).twins
        judged = fingerprints_of(ws, exam_set.ref, {frame.id for frame in exam_set.frames})
        for source, fingerprints in trained.items():
            same, alike = judged.leaks_from(fingerprints, twins.leak_bits)
            if same.any() or alike.sum() > twins.leaks * len(judged):
                example = exam_set.frames[int(np.flatnonzero(same | alike)[0])].id
                every.append(Leak(exam_set.name, source, int(same.sum()), int(alike.sum()), example))
    return every


def version_leaks(ws: Workspace, registry: Hub, version: Version, domain: str) -> list[Leak]:
    """Where frames of the exam of a domain are among what a version's line of weights was trained on, as far as that is known."""
    return leaks(ws, exam_sets(ws, domain), lineage_of(ws, registry, version).trained)


def training_leaks(ws: Workspace, domain: str, training: Sequence[tuple[DataRef, set[str]]]) -> list[Leak]:
    """Where the exam of a domain stands among frames that are to be trained on, each set with its frames' ids; a domain without an exam has none."""
    try:
        sets = exam_sets(ws, domain)
    except VortexError:  # promotion says what is wrong with it; a training needs none
        return []
    return leaks(ws, sets, {ref.name: fingerprints_of(ws, ref, ids) for ref, ids in training})
