"""The plan of a training: everything that will be done and recorded, decided and checked before anything starts."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import UsageError, VortexError
from pipelines import recipe as recipes
from pipelines.pack import packs_folder
from pipelines.recipe import Recipe
from pipelines.train import sources
from pipelines.train.data import share_quotas
from pipelines.train.effective import Options, effective, fine_tuning
from pipelines.train.explain import explain
from pipelines.train.sources import StagePlan, Start
from pipelines.workspace import Workspace

PLAN = "plan.json"
LARGEST_SEED = 2**63 - 1
"""What every random generator that is seeded here takes."""

Device = Literal["cpu", "cuda"]


class TrainPlan(BaseModel):
    """A training, complete. `recipe` is what is really done: its data, rates, epochs and size are those after every option."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    recipe: Recipe
    claim: str | None
    derived: bool
    target: str
    stages: tuple[StagePlan, ...]
    start: Start
    device: Device
    workers: int
    seed: int
    number: str
    packs: Path
    inferred: tuple[str, ...] = ()
    resumed: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W) that frames are trained at."""
        return self.recipe.student.size

    @property
    def truncated(self) -> str | None:
        """What the version must say of stages that end before their schedule does."""
        return self.recipe.truncated

    def folder(self, ws: Workspace) -> Path:
        """Where the run keeps its plan, state and checkpoints."""
        return runs(ws) / self.run


def runs(ws: Workspace) -> Path:
    """The folder of all runs of a workspace."""
    return ws.build / "runs"


def plan(
    ws: Workspace,
    *,
    recipe: str | None = None,
    from_version: str | None = None,
    domain: str | None = None,
    manifest: Sequence[str] = (),
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    device: str = "auto",
    workers: int = 0,
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    seed: int = 0,
    encoder_weights: str | None = None,
    allow_unvalidated: bool = False,
) -> TrainPlan:
    """Infer and check what a training will do; nothing is written.

    `recipe` is a shipped name or a file, `from_version` a registered version to derive from: exactly one of them. `domain` and
    `manifest` (dataset names or manifest paths) replace the recipe's own datasets, which makes it one stage, its last.
    Raises UsageError for options that do not fit, GateRefused for data that has not passed, VortexError for what does not exist.
    """
    from pipelines.hub import hub

    registry = hub(ws)
    own_data = bool(domain or manifest)
    _check_options(recipe, from_version, own_data, encoder_weights, limit)
    _check_numbers(lr, batch_size, seed)
    chosen = choose_device(device)
    if from_version:
        start, parent = sources.version_start(registry, from_version)
        base = fine_tuning(parent)
    else:
        base = recipes.load(str(recipe))
        start = sources.recipe_start(registry, base, encoder_weights)
    refs = [sources.given_data(ws, domain, manifest)] if own_data else sources.recipe_data(ws, base)
    options = Options(scratch=start.kind == "none", one_stage=own_data, size=size, epochs=epochs, batch_size=batch_size, lr=lr)
    made = effective(base, refs, options)
    for stage_refs in refs:
        sources.require_different(stage_refs)
    if workers and made.optimizer.batch_size % workers:
        raise UsageError(f"batches of {made.optimizer.batch_size} cannot be divided among {workers} workers", f"--batch-size {8 * workers}")
    described = {ref.digest: sources.describe(ws, ref, limit) for stage in refs for ref in stage}
    stages = tuple(
        StagePlan(stage=stage, data=tuple(described[ref.digest] for ref in data)) for stage, data in zip(made.stages, refs, strict=True)
    )
    target = domain or stages[-1].data[-1].domain
    sources.require_frames(stages, target)
    for stage in stages:
        sources.require_batches(stage, made, workers)
        _require_labels(stage, made)
    if not allow_unvalidated:
        sources.require_passed(ws, list(described.values()))
    claim = recipe if recipe in recipes.names() else None
    label = f"from-{from_version}" if from_version else made.name
    planned = TrainPlan(
        run=f"{label}-{target}-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        recipe=made,
        claim=claim,
        derived=from_version is not None,
        target=target,
        stages=stages,
        start=start,
        device=chosen,
        workers=workers,
        seed=seed,
        number=registry.next_name(claim, from_version is not None),
        packs=packs_folder(ws),
    )
    return planned.model_copy(update={"inferred": explain(planned)})


def resume(ws: Workspace, run: str) -> TrainPlan:
    """The plan of a run that was begun. Raises VortexError naming the runs there are, or what has changed since."""
    path = runs(ws) / run / PLAN
    if Path(run).name != run or not path.is_file():
        known = sorted((found.parent.name for found in runs(ws).glob(f"*/{PLAN}")), reverse=True)
        raise VortexError(f"unknown run {run!r}; runs of this workspace: {', '.join(known[:10]) or 'none'}", "vortex train --resume RUN")
    try:
        # Packs are derived and can lie elsewhere by now.
        made = TrainPlan.model_validate(json.loads(path.read_text()) | {"packs": packs_folder(ws)})
    except (ValueError, TypeError, ValidationError) as error:
        raise VortexError(f"{path}: not readable as a training plan", "start the training anew") from error
    sources.require_unchanged(ws, made.stages)
    from pipelines.hub import hub

    registry = hub(ws)
    done = next((version.name for version in registry.versions() if version.run == run), None)
    made = made.model_copy(update={"resumed": True, "number": done or registry.next_name(made.claim, made.derived)})
    lines = explain(made)
    if done:
        lines = (*lines[:-1], f"is       {done} already: what its registration lacks is added, nothing is registered twice")
    return made.model_copy(update={"inferred": (f"resumes  {run}", *lines)})


def _require_labels(stage: StagePlan, recipe: Recipe) -> None:
    """Raise an error unless every batch can hold as many labelled frames as the stage asks for."""
    wanted, batch = stage.stage.labelled_per_batch, recipe.optimizer.batch_size
    if not wanted:
        return
    asks = f"stage {stage.stage.name} asks for {wanted} labelled frame(s) in every batch"
    bare = [data.name for data in stage.data if not data.labelled]
    shares = [data.share or 0.0 for data in stage.stage.data]
    if len(bare) == len(stage.data):
        raise VortexError(f"{asks}, but none of {', '.join(bare)} has labels", "vortex label NAME, or set labelled_per_batch: 0")
    if not any(shares):
        room = min(batch, stage.count("train"))
    elif stage.stage.mixing == "within_batch":
        room = sum(quota for quota, data in zip(share_quotas(shares, batch), stage.data, strict=True) if data.labelled)
    else:
        room = 0 if bare else batch
    if wanted > room:
        why = f"of {batch} frames at most {room} can be" if room else f"whole batches come from {', '.join(bare)}, which has none"
        raise UsageError(f"{asks}, but {why}", "use a larger --batch-size, or lower labelled_per_batch in the recipe")


def choose_device(device: str) -> Device:
    """`auto` is the GPU where there is one. Raises UsageError for another word, VortexError for a GPU that is not there."""
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}; allowed: auto, cpu, cuda", "leave --device out to choose automatically")
    if device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise VortexError("no CUDA device is visible to torch", "use --device cpu, or see: vortex doctor")
    return "cpu"


def _check_options(recipe: str | None, from_version: str | None, own_data: bool, encoder_weights: str | None, limit: int | None) -> None:
    if (recipe is None) == (from_version is None):
        given = "both a recipe and --from were given" if recipe else "neither a recipe nor --from was given"
        example = "vortex train v6 --domain DOMAIN, or: vortex train --from v6 --domain DOMAIN"
        raise UsageError(f"{given}: a recipe is trained anew, --from trains a version's weights on", example)
    if from_version and not own_data:
        raise UsageError(f"--from {from_version} needs data to train on", f"vortex train --from {from_version} --domain DOMAIN")
    if from_version and encoder_weights is not None:
        raise UsageError("--encoder-weights does not fit --from: the version's weights hold the encoder", "leave one of the two out")
    if limit is not None and limit < 2:
        raise UsageError(f"--limit {limit} leaves no batch", "use 2 frames or more")


def _check_numbers(lr: float | None, batch_size: int | None, seed: int) -> None:
    if lr is not None and not 0 < lr <= 1:  # NaN fails every comparison, and so is refused too
        raise UsageError(f"--lr {lr:g} is not a learning rate, allowed: above 0, up to 1", "the recipes use 3e-4, and 1e-3 from scratch")
    if batch_size is not None and not 1 <= batch_size <= recipes.LARGEST_BATCH:
        raise UsageError(f"--batch-size {batch_size} is out of range, allowed: 1 to {recipes.LARGEST_BATCH}", "the recipes use 8 and 16")
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"--seed {seed} is out of range, allowed: 0 to {LARGEST_SEED}", "any small number will do")
