"""Adopt a checkpoint that was trained elsewhere: it becomes a version whose weights are here and whose training is only declared."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.classes import CLASSES
from core.errors import UsageError, VortexError
from core.files import is_uri
from core.shipped import SHIPPED
from models import checkpoint, legacy
from models.student import StudentConfig
from pipelines.hub.lineage_file import read_metrics
from pipelines.hub.open import actor, commit, hub
from pipelines.recipes import recipe as recipes
from registry.declarations import Adoption
from registry.edges import DataEdge, Edge, RecipeEdge, TeacherEdge, VersionEdge, WeightsEdge
from registry.names import require_adoptable
from registry.records import Artifact, DataUse, NewVersion, Version

if TYPE_CHECKING:
    from pipelines.recipes.schema import Recipe
    from pipelines.workspace import Workspace
    from registry.versions import Hub

PARAMETERS: Final = {"name", "student", "teacher"}
"""Of the recipe, what MLflow shows beside the run."""
TAG: Final = "vortex.adopted"
"""Of the MLflow run: the version and the file, so that an adoption that was interrupted goes on with its run."""


@dataclass(frozen=True)
class AdoptionReport:
    """What was adopted, or would be: `already` is whether this very file has the name since before; `version` is None in a dry run."""

    name: str
    recipe: str
    adoption: Adoption
    parents: tuple[Edge, ...]
    data: tuple[str, ...]
    truncated: str | None
    already: bool
    dry_run: bool
    version: Version | None
    twins: tuple[str, ...] = ()
    """Versions that have the very weights: of these it is a copy."""


def adopt(
    ws: Workspace,
    file: Path,
    name: str,
    recipe: str,
    *,
    class_order: Sequence[str] = legacy.CLASS_ORDER,
    metrics: Path | None = None,
    domain: str | None = None,
    parents: Sequence[str] = (),
    reason: str = "",
    dry_run: bool = False,
) -> AdoptionReport:
    """Register the checkpoint in `file` as version `name`, a student of this recipe, and store it as safetensors.

    Its logits are put into Vortex's class order. `parents` are versions whose weights it was trained on from; without them it has the
    recipe's parents. A version that has the very weights is a parent too, so that what bars it bars this one. What it was trained on, and
    `metrics`, are declared, not proven: no gate takes them. Adopting the same file under the same name again changes nothing.
    Raises VortexError for a name that is not free, UsageError for a class order that is none, CheckpointError for a file that is not a student of this recipe.
    """
    shape = recipes.load(recipe)
    _require_order(class_order)
    if domain is not None:
        ws.domain(domain)
    declared_metrics = read_metrics(metrics) if metrics else ()
    registry = hub(ws)
    claim = shape.name if recipe in SHIPPED else None
    before = registry.find(name)
    if before is None or before.adoption is None:
        require_adoptable(registry.ledger, name, claim)
    network = legacy.load(file, StudentConfig(encoder=shape.student.encoder, size=shape.student.size), class_order)
    adoption = Adoption(file.name, network.sha256, network.key, tuple(class_order), declared_metrics)
    twins = _twins(registry, network, name)
    if before and before.adoption:  # a copy of it that came later is none of its parents
        twins = tuple(twin for twin in twins if WeightsEdge(twin) in before.parents)
    edges = _edges(registry, shape, name, claim, parents, twins)
    data = tuple(dict.fromkeys(data.dataset for stage in shape.stages for data in stage.data))
    truncated = shape.truncated if name == claim else None
    if before and before.adoption:
        _require_same(before, adoption, shape.name, domain, edges, parents)
        return AdoptionReport(name, shape.name, before.adoption, before.parents, data, before.truncated, True, dry_run, before, twins)
    version = None
    if not dry_run:
        run_id, artifact = _store(ws, registry, network, name, shape)
        new = NewVersion(
            recipe=claim,
            derived=any(isinstance(edge, WeightsEdge) for edge in edges),
            recipe_config=shape.model_dump(mode="json"),
            parents=edges,
            domain=domain,
            data=tuple(DataUse(dataset, "", "", "", None, False, {}, "declared") for dataset in data),
            size=shape.student.size,
            run_id=run_id,
            run=f"adopted/{file.name}",
            checkpoint=artifact,
            truncated=truncated,
            codename=shape.codename if name == claim else "",
        )
        version = registry.adopt(name, new, adoption, actor=actor(), reason=reason or f"adopted from {file.name}", commit=commit(ws))
    return AdoptionReport(name, shape.name, adoption, edges, data, truncated, False, dry_run, version, twins)


def _store(ws: Workspace, registry: Hub, network: legacy.LegacyCheckpoint, name: str, recipe: Recipe) -> tuple[str, Artifact]:
    """The MLflow run of the adoption, new or one that was interrupted, and the weights stored with it as safetensors."""
    file = f"{name} {network.sha256}"
    interrupted = registry.store.runs_tagged(TAG, file)
    run_id = interrupted[0] if interrupted else registry.store.start_run(f"adopt {name}", {TAG: file})
    registry.store.log_params(run_id, {"recipe": recipe.model_dump(mode="json", include=PARAMETERS), "sha256": network.sha256})
    path = ws.build / "adopted" / network.sha256[:16] / "best.safetensors"
    checkpoint.save(path, network.student, {"recipe": recipe.name, "adopted": network.sha256})
    artifact = registry.store.log_artifact(run_id, path, "checkpoint")
    registry.store.end_run(run_id)
    shutil.rmtree(path.parent)
    return run_id, artifact


def _twins(registry: Hub, network: legacy.LegacyCheckpoint, name: str) -> tuple[str, ...]:
    """Versions whose checkpoint has the very weights of this one. One that is gone, or lies in a remote store, is not looked at."""
    found = []
    for version in registry.versions():
        if version.name == name or is_uri(version.checkpoint.uri) or not isinstance(registry.artifact_root, Path):
            continue
        with suppress(VortexError):
            if checkpoint.holds(registry.artifacts.path(version.checkpoint, verify=False), network.student):
                found.append(version.name)
    return tuple(found)


def _edges(registry: Hub, recipe: Recipe, name: str, claim: str | None, parents: Sequence[str], twins: Sequence[str]) -> tuple[Edge, ...]:
    """Typed edges to what the checkpoint is declared to come from, and to `twins`, whose weights it has.

    Raises VortexError for a parent that is neither registered nor declared.
    """
    recorded = registry.recorded() if parents else {}
    unknown = [parent for parent in parents if parent not in recorded]
    if unknown:
        raise VortexError(f"--parent {unknown[0]} is neither registered nor declared here", "list what is with: vortex versions")
    edges: list[Edge] = [WeightsEdge(parent) for parent in parents]
    if not parents:
        edges = [(WeightsEdge if parent.kind == "weights" else RecipeEdge)(parent.version) for parent in recipe.parents]
    edges += [WeightsEdge(twin) for twin in twins]
    if claim and name != claim:
        edges = [RecipeEdge(claim), *(edge for edge in edges if isinstance(edge, WeightsEdge))]
    data = [DataEdge(data.dataset) for stage in recipe.stages for data in stage.data]
    return tuple(dict.fromkeys([*edges, TeacherEdge(recipe.teacher.name, "declared"), *data]))


def _require_order(class_order: Sequence[str]) -> None:
    if sorted(class_order) != sorted(CLASSES):
        raise UsageError(
            f"--class-order {','.join(class_order)} is none, allowed: each of {', '.join(CLASSES)} once, in the order of the file's logits",
            f"the published checkpoints have {','.join(legacy.CLASS_ORDER)}",
        )


def _require_same(
    before: Version, adoption: Adoption, recipe: str, domain: str | None, edges: Sequence[Edge], parents: Sequence[str]
) -> None:
    """Raise VortexError unless a version was adopted from this very file, read in this very way, and of what is said now nothing is new."""
    recorded = before.adoption
    if recorded is None:
        return
    differences = [
        f"{what} {ours}, this says {theirs}"
        for what, ours, theirs, given in (
            ("the file", recorded.sha256[:12], adoption.sha256[:12], True),
            ("the recipe", str(before.recipe_config["name"]), recipe, True),
            ("the classes", ",".join(recorded.class_order), ",".join(adoption.class_order), True),
            ("the domain", before.domain or "none", domain or "none", domain is not None),
            ("the figures", _figures(recorded), _figures(adoption), bool(adoption.metrics)),
            ("the parents", _origins(before.parents), _origins(edges), bool(parents)),
        )
        if given and ours != theirs
    ]
    if differences:
        raise VortexError(
            f"{before.name} was adopted with {'; '.join(differences)}",
            "what is recorded stays: adopt under another name, or leave that out",
        )


def _figures(adoption: Adoption) -> str:
    return ", ".join(f"{metric.metric} {metric.value:g} on {metric.place}" for metric in adoption.metrics) or "none"


def _origins(edges: Sequence[Edge]) -> str:
    return ", ".join(f"{edge.kind} {edge.version}" for edge in edges if isinstance(edge, VersionEdge)) or "none"
