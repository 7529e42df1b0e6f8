"""Which sets and frames judge the versions of a domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.errors import VortexError
from pipelines.data.datasets import DataRef, Dataset, for_domain, listing, resolve
from pipelines.validate.validation_report import passed
from pipelines.workspace import FILE, Workspace
from validation.manifest import load_manifest
from validation.rows import Frame


@dataclass(frozen=True)
class ExamSet:
    """One set of an exam: the whole validation split of a dataset, or its test split where every frame is of that split.

    `passed` is what `vortex validate` says of the set as it is now; None where it was not asked.
    """

    ref: DataRef
    split: Literal["val", "test"]
    frames: tuple[Frame, ...]
    passed: bool | None

    @property
    def name(self) -> str:
        """The set in this state, for people."""
        return f"{self.ref.name}@{self.ref.digest[:12]}"

    @property
    def cameras(self) -> dict[str, tuple[Frame, ...]]:
        """Camera → its frames, in the order of the manifest."""
        cameras: dict[str, list[Frame]] = {}
        for frame in self.frames:
            cameras.setdefault(frame.camera, []).append(frame)
        return {camera: tuple(frames) for camera, frames in cameras.items()}


def exam_sets(ws: Workspace, domain: str) -> tuple[ExamSet, ...]:
    """The sets that judge versions on `domain`: those that `exam` names in `vortex.toml`, else all of the domain in `data/`.

    Without `exam`, a set of training frames alone is none. Raises VortexError when none is left, or when `exam` names a set that is not
    there, is of another domain, or has no frame to judge by.
    """
    names = ws.domain(domain).exam
    datasets = for_domain(ws, domain) if names is None else [_named(ws, domain, name) for name in dict.fromkeys(names)]
    sets = [_exam_set(ws, dataset) for dataset in datasets]
    empty = [dataset.name for dataset, exam_set in zip(datasets, sets, strict=True) if not exam_set.frames]
    if names is not None and empty:
        raise VortexError(
            f"the exam of {domain} names {', '.join(empty)}, without a frame of split val (or all of split test)",
            f"name other sets under [domains.{domain}] exam in {FILE}, or give them validation frames",
        )
    exam = tuple(exam_set for exam_set in sets if exam_set.frames)
    if not exam:
        raise VortexError(
            f"{domain} has no exam: none of its datasets ({', '.join(empty)}) has a frame of split val, or is of split test whole",
            f"add frames that are held out: vortex data add NAME PATH --domain {domain}",
        )
    return exam


def _named(ws: Workspace, domain: str, name: str) -> Dataset:
    datasets = {dataset.name: dataset for dataset in listing(ws)}
    if name not in datasets:
        raise VortexError(
            f"the exam of {domain} names {name!r}, which is no dataset; this workspace has: {', '.join(datasets) or 'none yet'}",
            f"correct [domains.{domain}] exam in {FILE}",
        )
    if datasets[name].card.domain != domain:
        raise VortexError(
            f"the exam of {domain} names {name!r}, which is a set of {datasets[name].card.domain}; a channel is judged on its own domain",
            f"correct [domains.{domain}] exam in {FILE}",
        )
    return datasets[name]


def _exam_set(ws: Workspace, dataset: Dataset) -> ExamSet:
    ref = resolve(ws, name_or_manifest=dataset.name)
    frames = load_manifest(ref.manifest)
    split: Literal["val", "test"] = "test" if all(frame.split == "test" for frame in frames) else "val"
    held_out = tuple(frame for frame in frames if frame.split == split)
    return ExamSet(ref, split, held_out, passed(ws, ref, use="evaluation"))
