"""What a finished training leaves: its metrics, its checkpoint, and a version that knows where it came from."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.classes import CLASSES
from core.machine import cores
from models import checkpoint
from pipelines.evaluate.version import record_of, with_protocols
from pipelines.hub.open import actor, commit, commit_problem
from pipelines.runs.folder import runs_folder
from pipelines.train.plan.sources import DataPlan, training_frames
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.validation import evaluations, validation_data
from pipelines.validate.cached import statistics_of
from pipelines.validate.fingerprints import fingerprints_of, joined
from pipelines.workspace import Workspace
from registry.edges import DataEdge, Edge, RecipeEdge, TeacherEdge, WeightsEdge
from registry.records import Artifact, DataUse, NewVersion, Version
from registry.versions import Hub

PACKAGES = ("torch", "torchvision", "timm", "ray", "albumentations", "numpy", "mlflow")


@dataclass(frozen=True)
class Outcome:
    """What a training came to: its MLflow run, its best student, and what the version has to say of how it was trained.

    `skipped` counts batches that were not finite, `truncated` says where a stage ended before its schedule, `continues` is the truncated
    version of the same run that it goes on from.
    """

    run_id: str
    student: Path
    seconds: float
    skipped: int = 0
    truncated: str | None = None
    continues: str | None = None


def register_version(ws: Workspace, registry: Hub, plan: TrainPlan, outcome: Outcome) -> Version:
    """Measure the student on the validation frames of its last stage, store it with its MLflow run, register both.

    Measuring comes first: a student that cannot be measured becomes no version. Safe to repeat.
    """
    run_id = outcome.run_id
    student, _ = checkpoint.load(outcome.student)
    student.to(plan.device)
    by_digest = {data.digest: data for data in (*plan.stages[-1].data, *validation_data(plan)) if data.frames["val"]}
    metrics = [
        record_of(ws, registry, run_id, data.ref, evaluation)
        for data in by_digest.values()
        for evaluation in with_protocols(ws, data.ref, [of_camera for _, of_camera in evaluations(plan, [data], student, plan.device)])
    ]
    who, where, problem = actor(), commit(ws), commit_problem(ws)
    version = registry.register(
        NewVersion(
            recipe=plan.claim,
            derived=plan.derived,
            recipe_config=plan.recipe.model_dump(mode="json"),
            parents=parents(plan, registry.next_name(plan.claim, plan.derived), outcome.continues),
            domain=plan.target,
            data=tuple(inputs(_all_data(plan))),
            size=plan.size,
            run_id=run_id,
            run=plan.run,
            checkpoint=registry.store.log_artifact(run_id, outcome.student, "checkpoint"),
            truncated=outcome.truncated,
            environment={
                **environment(plan),
                "training_seconds": round(outcome.seconds, 1),
                "skipped_batches": outcome.skipped,
                **({"git": problem} if problem else {}),
            },
            codename="" if plan.derived else plan.recipe.codename,
            fingerprints=log_fingerprints(ws, registry, run_id, plan),
            class_pixels=class_pixels(ws, plan),
        ),
        actor=who,
        reason=f"trained as {plan.run}",
        commit=where,
    )
    return registry.add_metrics(version.name, *metrics, actor=who, reason="validation of the best epoch", commit=where)


def parents(plan: TrainPlan, name: str, continues: str | None = None) -> tuple[Edge, ...]:
    """Typed edges to what a version came from. The first claim of a recipe has that recipe's published parents; later ones have it.

    One that `continues` a truncated version has its weights too.
    """
    edges: list[Edge] = [(WeightsEdge if parent.kind == "weights" else RecipeEdge)(parent.version) for parent in plan.recipe.parents]
    if not plan.derived and plan.claim and name != plan.claim:
        edges = [RecipeEdge(plan.claim), *(edge for edge in edges if isinstance(edge, WeightsEdge))]
    if continues:
        edges.insert(0, WeightsEdge(continues, "trained on after its wall"))
    for data in _all_data(plan):
        edges.append(DataEdge(data.name, data.dvc or data.digest))
        for teacher, labels in data.teachers.items():
            edges += [TeacherEdge(teacher, f"{data.name}: {label}") for label in labels] or [TeacherEdge(teacher, data.name)]
    return tuple(dict.fromkeys(edges))


def inputs(data: Iterable[DataPlan]) -> list[DataUse]:
    """Datasets as the registry and MLflow record them."""
    return [
        DataUse(item.name, item.domain, item.kind, item.digest, item.dvc, item.validated, item.frames, item.state or "") for item in data
    ]


def log_fingerprints(ws: Workspace, registry: Hub, run_id: str, plan: TrainPlan) -> Artifact:
    """Store the fingerprints of every training frame with the run: an exam that holds one of them is then known for a leak."""
    parts = [fingerprints_of(ws, ref, ids) for ref, ids in training_frames(plan.stages)]
    path = runs_folder(ws) / plan.run / "fingerprints.npz"
    joined(parts).save(path)
    return registry.store.log_artifact(run_id, path, "fingerprints")


def class_pixels(ws: Workspace, plan: TrainPlan) -> dict[str, int]:
    """Class → labelled pixels of it in the training frames, at the size of the files."""
    pixels = dict.fromkeys(CLASSES, 0)
    for ref, ids in training_frames(plan.stages):
        table = statistics_of(ws, ref)[0].table
        rows = table[table["id"].isin(ids)]
        labelled = (rows["height"] * rows["width"] * rows["labelled"]).fillna(0)
        for name in CLASSES:
            pixels[name] += int((labelled * rows[name].fillna(0)).round().sum())
    return pixels


def environment(plan: TrainPlan) -> dict[str, Any]:
    """What the run ran on, so that a difference can be explained later."""
    gpu = torch.cuda.get_device_name() if plan.device == "cuda" else None
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    machine = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": cores(),
    }
    return {
        **machine,
        **versions,
        "device": gpu or plan.device,
        "workers": plan.workers,
        "threads": torch.get_num_threads(),
        "seed": plan.seed,
        "step": str(plan.step),
        "sync_batch_norm": plan.sync_batch_norm,
    }


def _all_data(plan: TrainPlan) -> list[DataPlan]:
    return list({data.digest: data for stage in plan.stages for data in stage.data}.values())
