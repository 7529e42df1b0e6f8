"""What a training starts from and learns from: its starting weights, and its datasets with what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from core.errors import UsageError, VortexError
from core.shipped import SHIPPED
from pipelines.data.datasets import DataRef, for_domain, listing, resolve
from pipelines.data.provenance import teachers_behind
from pipelines.recipes.schema import Recipe, Stage
from pipelines.workspace import Workspace
from registry.records import DataState
from validation.manifest import LEGACY_DOMAIN, load_manifest

if TYPE_CHECKING:
    from registry.records import Version
    from registry.versions import Hub
    from validation.rows import Frame


class Start(BaseModel):
    """Where the first weights come from: a version's checkpoint, ImageNet, an encoder file, or nowhere (`none`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["version", "imagenet", "file", "none"]
    ref: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        return {"version": f"the weights of {self.ref}", "imagenet": "ImageNet weights", "file": str(self.path), "none": "random weights"}[
            self.kind
        ]


class DataPlan(BaseModel):
    """One dataset of a stage as it will be used: `frames` counts per split, after `--limit`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    manifest: Path
    root: Path
    domain: str
    kind: str
    digest: str
    dvc: str | None
    validated: bool
    state: DataState | None = None
    """What the data gate said when the plan was made; None in plans from before it was kept."""
    frames: dict[str, int]
    labelled: int
    targets: dict[str, int]
    """What the depth of the training frames is learnt from → number of frames: a teacher's name, `tof`, `reference` or `nothing`."""
    relative: bool
    limit: int | None
    teachers: dict[str, list[str]] = {}
    """Whose labels the training frames have → what is recorded of their weights and where."""

    @property
    def ref(self) -> DataRef:
        """The dataset again, as every other step takes it."""
        return DataRef(self.name, self.manifest, self.root, self.domain, self.kind, self.digest, self.dvc)

    def training_ids(self) -> set[str]:
        """The ids of the frames to train on."""
        return {frame.id for frame in self.load()["train"]}

    def load(self) -> dict[str, list[Frame]]:
        """The frames to train and to validate on."""
        frames = load_manifest(self.manifest)
        return {split: pick(frames, split, self.limit) for split in ("train", "val")}


class StagePlan(BaseModel):
    """A stage of the effective recipe, and its data in the same order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Stage
    data: tuple[DataPlan, ...]

    @property
    def last_epoch(self) -> int:
        """Epochs that are trained; fewer than the schedule's when the published stage was stopped early."""
        return self.stage.stopped_at or self.stage.epochs

    def count(self, split: str) -> int:
        """Frames of a split, over all its datasets."""
        return sum(data.frames.get(split, 0) for data in self.data)


def training_frames(stages: Sequence[StagePlan]) -> list[tuple[DataRef, set[str]]]:
    """Every dataset of a plan with the ids of the frames that are trained on, in any stage."""
    frames: dict[str, tuple[DataRef, set[str]]] = {}
    for data in (data for stage in stages for data in stage.data):
        _, ids = frames.setdefault(data.digest, (data.ref, set()))
        ids.update(data.training_ids())
    return list(frames.values())


def pick(frames: Sequence[Frame], split: str, limit: int | None) -> list[Frame]:
    """The frames of a split; with a limit, that many spread evenly over it (neighbours in a stream are nearly the same frame)."""
    of_split = [frame for frame in frames if frame.split == split]
    if limit is None or len(of_split) <= limit:
        return of_split
    return [of_split[index * len(of_split) // limit] for index in range(limit)]


def recipe_start(registry: Hub, recipe: Recipe, encoder_weights: str | None) -> tuple[Start, Version | None]:
    """What a recipe starts from: its parent, where it names one, whose version comes too; else `encoder_weights` (default ImageNet).

    Raises UsageError for encoder weights beside a parent's, VortexError for weights that are not there.
    """
    if recipe.weights_parent and encoder_weights is not None:
        message = f"recipe {recipe.name} starts from the weights of {recipe.weights_parent}: --encoder-weights does not fit"
        raise UsageError(message, "leave it out")
    if recipe.weights_parent:
        return version_start(registry, recipe.weights_parent)
    if encoder_weights in (None, "imagenet"):
        return Start(kind="imagenet", ref=recipe.student.encoder), None
    if encoder_weights == "none":
        return Start(kind="none"), None
    path = Path(str(encoder_weights)).resolve()
    if not path.is_file():
        raise VortexError(f"{path}: no such file of encoder weights", "name a safetensors or .pt file, or imagenet, or none")
    return Start(kind="file", ref=path.name, path=path), None


def version_start(registry: Hub, name: str) -> tuple[Start, Version]:
    """The checkpoint of a version. Raises VortexError when the version is unknown, or has no weights."""
    registered = [summary.name for summary in registry.summaries()]
    declared = {version.name for version in registry.declared()}
    if name not in registered and name in SHIPPED and name not in declared:
        raise VortexError(
            f"{name} has no weights here: its recipe is shipped, but no version of that name is registered "
            f"(registered: {', '.join(registered) or 'none'})",
            f"train it: vortex train {name} --domain DOMAIN; or bring its weights: vortex adopt CHECKPOINT",
        )
    version = registry.get(name)
    try:
        registry.artifacts.path(version.checkpoint, verify=False)
    except VortexError as error:
        message = f"the weights of {name} cannot be used: {error.message}"
        raise VortexError(message, f"{error.hint}; or bring its weights: vortex adopt CHECKPOINT", error.details) from error
    path = registry.artifacts.path(version.checkpoint)
    return Start(kind="version", ref=name, path=path), version


def named_data(ws: Workspace, domain: str | None, manifests: Sequence[str]) -> tuple[DataRef, ...]:
    """The datasets that `--domain` and `--manifest` name. Raises VortexError naming what exists."""
    if domain:
        ws.domain(domain)
    if manifests:
        return tuple(_named(ws, name, domain) for name in manifests)
    return tuple(resolve(ws, name_or_manifest=dataset.name) for dataset in for_domain(ws, str(domain)))


def _named(ws: Workspace, name: str, domain: str | None) -> DataRef:
    """One dataset or manifest. Rows with the legacy keys name no domain, so theirs is the one that was asked for."""
    ref = resolve(ws, name_or_manifest=name)
    if ref.domain != LEGACY_DOMAIN:
        return ref
    if domain is None:
        raise VortexError(f"{ref.manifest}: its rows name no domain", "say which it is with --domain")
    return resolve(ws, name_or_manifest=name, domain=domain)


def recipe_data(ws: Workspace, recipe: Recipe) -> tuple[tuple[DataRef, ...], ...]:
    """The recipe's own datasets, stage by stage: a dataset of that name, or all of a domain of that name.

    Raises VortexError listing every one that is missing.
    """
    datasets = listing(ws)
    by_name = {dataset.name: [dataset.name] for dataset in datasets}
    by_domain: dict[str, list[str]] = {}
    for dataset in datasets:
        by_domain.setdefault(dataset.card.domain, []).append(dataset.name)
    names = by_domain | by_name
    needed = list(dict.fromkeys(data.dataset for stage in recipe.stages for data in stage.data))
    missing = [name for name in needed if name not in names]
    if missing:
        raise VortexError(
            f"recipe {recipe.name} trains on {', '.join(needed)}; not in this workspace: {', '.join(missing)} "
            f"(datasets here: {', '.join(by_name) or 'none'})",
            f"train the recipe on other data: vortex train {recipe.name} --domain DOMAIN (or --manifest NAME)",
        )
    return tuple(
        tuple(resolve(ws, name_or_manifest=name) for data in stage.data for name in names[data.dataset]) for stage in recipe.stages
    )


def describe(ref: DataRef, limit: int | None, state: DataState) -> DataPlan:
    """Read a dataset's manifest and say how it will be used. Raises ManifestError for a faulty one."""
    frames = load_manifest(ref.manifest)
    train = pick(frames, "train", limit)
    return DataPlan(
        name=ref.name,
        manifest=ref.manifest,
        root=ref.root,
        domain=ref.domain,
        kind=ref.kind,
        digest=ref.digest,
        dvc=ref.dvc,
        validated=state == "passed",
        state=state,
        frames={"train": len(train), "val": len(pick(frames, "val", limit))},
        labelled=sum(frame.supervision != "none" for frame in train),
        targets=dict(Counter(_target(frame) for frame in train)),
        relative=any(frame.teacher_unit == "relative" for frame in train),
        limit=limit,
        teachers=teachers_behind(ref.root, train),
    )


def anchor_data(parent: Version, parents_data: Sequence[DataPlan], present: Sequence[str]) -> tuple[tuple[DataPlan, ...], tuple[str, ...]]:
    """What an anchor of kind ewc is measured on, and a remark on each dataset that has changed since the version was trained on it.

    `parents_data` are those of the version's datasets that are in the workspace, among all that are `present`.
    Raises VortexError naming them when none has a frame to train on.
    """
    usable = tuple(data for data in parents_data if data.frames["train"])
    if not usable:
        recorded = ", ".join(use.name for use in parent.data) or "none that is recorded"
        raise VortexError(
            f"an anchor of kind ewc needs frames that {parent.name} was trained on ({recorded}), and none is in this workspace "
            f"(datasets here: {', '.join(sorted(present)) or 'none'})",
            "add one of them with vortex data add, or use --set anchor.kind=l2sp, which needs no frames",
        )
    digests = {use.name: use.digest for use in parent.data}
    return usable, tuple(
        f"{data.name} has changed since {parent.name} was trained on it; the anchor is measured on what it is now"
        for data in usable
        if data.digest != digests[data.name]
    )


def _target(frame: Frame) -> str:
    if frame.teacher_depth:
        return frame.teacher or "an unnamed teacher"
    return "tof" if frame.tof else "reference" if frame.depth else "nothing"
