"""A finished run becomes the dataset's new state: rows that name the new files, the record of the teachers, one revision."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from core.errors import VortexError
from core.files import disk_full, write_atomic
from pipelines.data.datasets import CARD, complete_card, find, resolve
from pipelines.data.provenance import FOLDER, Records, record
from pipelines.data.publication import link, revise, staging_folder
from pipelines.label.plan import LabelPlan
from pipelines.label.work import Mark, Work
from pipelines.workspace import Workspace
from validation.manifest import MANIFEST, write_manifest
from validation.rows import Frame

RUNS: Final = "label_runs"
"""The card's setting that says, by key, which runs of teachers labelled the dataset."""


def publish(ws: Workspace, plan: LabelPlan, work: Work, marks: Mapping[str, Mark]) -> None:
    """Put the labels of `marks` into the dataset: afterwards it is the old one or the new one, never a mixture.

    Raises VortexError when the dataset is no longer what the run began with, when results are missing, or the disk is full.
    """
    if resolve(ws, name_or_manifest=plan.name).digest != plan.digest:
        raise VortexError(
            f"dataset {plan.name!r} was changed while it was being labelled; nothing was published",
            "restore it, and run the command again with --resume; or run it without, to label the dataset as it is now",
        )
    staging = staging_folder(ws, plan.name)
    try:
        staging.mkdir(parents=True)
        for mark in marks.values():
            for path in mark.files.values():
                (staging / path).parent.mkdir(parents=True, exist_ok=True)
                link(work.folder / path, staging / path)
        _write(staging, plan, marks)
        card = find(ws, plan.name).card
        settings = {**card.settings, RUNS: {**card.settings.get(RUNS, {}), plan.key: _summary(plan, marks)}}
        complete = complete_card(card.model_copy(update={"settings": settings}), staging / MANIFEST)
        write_atomic(staging / CARD, complete.model_dump_json(indent=2) + "\n")
        revise(ws, plan.name, staging, base=plan.base)
    except OSError as error:
        raise _failed(plan, work, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(staging: Path, plan: LabelPlan, marks: Mapping[str, Mark]) -> None:
    """The provenance record and the manifest."""
    records, earlier = Records(plan.root), dict[str, Any]()
    rows: list[Frame] = []
    for frame in plan.frames:
        mark = marks.get(frame.id)
        if mark is None or not mark.files:
            rows.append(frame)
            continue
        replaced = [label for label in mark.wanted if label not in {fault.label for fault in mark.faults}]
        earlier |= records.carried(frame, replaced)
        rows.append(_row(frame, plan, mark))
    put_aside = {mark.id: {fault.label: fault.teacher for fault in mark.faults} for mark in marks.values() if mark.faults}
    seen_in = Counter(mark.depth_from for mark in marks.values() if mark.depth_from)
    provenance = record(plan.key, plan.name, plan.digest, plan.described, plan.labels, put_aside, seen_in, earlier)
    write_atomic(staging / FOLDER / f"{plan.key}.json", json.dumps(provenance, indent=1, ensure_ascii=False) + "\n")
    write_manifest(staging / MANIFEST, rows)


def _row(frame: Frame, plan: LabelPlan, mark: Mark) -> Frame:
    changes: dict[str, Any] = {"provenance": f"{FOLDER}/{plan.key}.json"}
    if depth := mark.files.get("teacher_depth"):
        (name,) = plan.labels["depth"]
        changes |= {"teacher_depth": depth, "teacher": name, "teacher_unit": "relative" if depth.endswith(".npy") else "mm"}
    if mask := mark.files.get("segmentation"):
        makers, sources = "+".join(plan.labels["segmentation"]), mark.files["segmentation_sources"]
        changes |= {"segmentation": mask, "segmentation_teacher": makers, "segmentation_sources": sources, "supervision": "partial"}
    return dataclasses.replace(frame, **changes)


def _summary(plan: LabelPlan, marks: Mapping[str, Mark]) -> dict[str, Any]:
    """What the card says of the run."""
    return {
        "teachers": list(plan.described),
        "depth": sum("teacher_depth" in mark.files for mark in marks.values()),
        "segmentation": sum("segmentation" in mark.files for mark in marks.values()),
        "quarantined": sum(bool(mark.faults) for mark in marks.values()),
    }


def _failed(plan: LabelPlan, work: Work, error: OSError) -> VortexError:
    if isinstance(error, FileNotFoundError) and str(error.filename or "").startswith(str(work.folder)):
        return VortexError(
            f"{error.filename}: a result of this run is gone; nothing was published", f"remove {work.folder} and label again"
        )
    full = disk_full(error, work.folder)
    what = "no space left on the disk" if full else f"{error.filename or work.folder}: {error.strerror or error}"
    return VortexError(
        f"the labels of {plan.name!r} were not published: {what}; data/ is as it was, and the labels are kept",
        "free some space and run the command again" if full else "check the path and its permissions, and run the command again",
    )
