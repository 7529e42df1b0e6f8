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
from pipelines.recipe_schema import LARGEST_BATCH
from pipelines.train import sources
from pipelines.train.cluster import LOCAL, require_cluster, require_room
from pipelines.train.data import share_quotas
from pipelines.train.effective import Options, effective, fine_tuning, with_settings
from pipelines.train.explain import explain
from pipelines.train.mixing import replays, with_replay
from pipelines.train.resuming import finished_as, require_same_recipe, source_of
from pipelines.train.sources import DataPlan, StagePlan, Start
from pipelines.train.switches import Switches
from pipelines.workspace import Workspace

PLAN = "plan.json"
LARGEST_SEED = 2**63 - 1
"""What every random generator that is seeded here takes."""

CHECKPOINT_MINUTES = 10.0
BAD_BATCHES = 5
"""Batches in a row that are not finite, after which training stops: one is bad luck, five are a diverged network."""

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
    step: Switches = Switches()
    address: str = LOCAL
    """Of the Ray cluster that the workers run on; LOCAL starts one on this machine."""
    sync_batch_norm: bool = False
    anchor_data: tuple[DataPlan, ...] = ()
    """What the starting weights were trained on, for an anchor that must know which of them mattered there."""
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    """How much of a training a kill can cost: a checkpoint is written that often, besides every epoch's end and every stop."""
    max_bad_batches: int = BAD_BATCHES
    source: str | None = None
    """The recipe that was asked for, a shipped name or a file; `read` is what it said then."""
    read: Recipe | None = None
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
    replay: Sequence[str] = (),
    settings: Sequence[str] = (),
    step: str | None = None,
    address: str = LOCAL,
    sync_batch_norm: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    max_bad_batches: int = BAD_BATCHES,
    allow_unvalidated: bool = False,
    gpus: int | None = None,
) -> TrainPlan:
    """Infer and check what a training will do; nothing is written.

    `recipe` is a shipped name or a file, `from_version` a registered version to derive from: exactly one of them. `domain` and
    `manifest` (dataset names or manifest paths) replace the recipe's own datasets, which makes it one stage, its last. `replay` adds old
    data to the last stage (`NAME:SHARE`), `settings` sets dotted keys of the recipe as it will be trained (`KEY=VALUE`).
    `gpus` is how many the machine has that will train, where that is not this one.
    Raises UsageError for options that do not fit, GateRefused for data that has not passed, VortexError for what does not exist.
    """
    from pipelines.hub import hub

    registry = hub(ws)
    own_data = bool(domain or manifest)
    _check_options(recipe, from_version, own_data, encoder_weights, limit)
    _check_numbers(lr, batch_size, seed)
    _check_patience(checkpoint_minutes, max_bad_batches)
    chosen = choose_device(device, gpus)
    _check_team(workers, chosen, address, sync_batch_norm, gpus)
    switches = Switches.for_device(chosen).changed(step) if step else Switches.for_device(chosen)
    if from_version:
        start, parent = sources.version_start(registry, from_version)
        base, read = fine_tuning(parent), None
    else:
        base = read = recipes.load(str(recipe))
        start = sources.recipe_start(registry, base, encoder_weights)
    refs = [sources.given_data(ws, domain, manifest)] if own_data else sources.recipe_data(ws, base)
    options = Options(scratch=start.kind == "none", one_stage=own_data, size=size, epochs=epochs, batch_size=batch_size, lr=lr)
    target = domain or refs[-1][-1].domain
    described = {ref.digest: sources.describe(ws, ref, limit) for stage in refs for ref in stage}
    replayed = replays(ws, replay)
    made = with_replay(effective(base, refs, options), replayed, {data.name: data.frames["train"] for data in described.values()})
    made = with_settings(made, settings)
    refs[-1] = [*refs[-1], *(old.ref for old in replayed)]
    described |= {old.ref.digest: sources.describe(ws, old.ref, limit) for old in replayed}
    for stage_refs in refs:
        sources.require_different(stage_refs)
    if workers and made.optimizer.batch_size % workers:
        raise UsageError(f"batches of {made.optimizer.batch_size} cannot be divided among {workers} workers", f"--batch-size {8 * workers}")
    stages = tuple(
        StagePlan(stage=stage, data=tuple(described[ref.digest] for ref in data)) for stage, data in zip(made.stages, refs, strict=True)
    )
    sources.require_frames(stages, target)
    for stage in stages:
        sources.require_batches(stage, made, workers)
        _require_labels(stage, made)
    held_to = made.weights_parent if made.anchor and made.anchor.kind == "ewc" else None
    anchor_data = sources.parents_data(ws, registry.get(held_to), limit) if held_to else ()
    if not allow_unvalidated:
        sources.require_passed(ws, [*described.values(), *anchor_data])
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
        step=switches,
        address=address,
        sync_batch_norm=sync_batch_norm,
        anchor_data=anchor_data,
        checkpoint_minutes=checkpoint_minutes,
        max_bad_batches=max_bad_batches,
        source=source_of(recipe),
        read=read,
    )
    return planned.model_copy(update={"inferred": explain(planned)})


def resume(ws: Workspace, run: str, address: str | None = None, gpus: int | None = None, recipe: str | None = None) -> TrainPlan:
    """The plan of a run that was begun; its workers can go on elsewhere, at `address`, or on a machine with so many `gpus`.

    Raises VortexError naming the runs there are, or what has changed since: its data, its recipe, or `recipe` where that is given.
    """
    path = runs(ws) / run / PLAN
    if Path(run).name != run or not path.is_file():
        known = sorted((found.parent.name for found in runs(ws).glob(f"*/{PLAN}")), reverse=True)
        raise VortexError(f"unknown run {run!r}; runs of this workspace: {', '.join(known[:10]) or 'none'}", "vortex train --resume RUN")
    try:
        # Packs are derived and can lie elsewhere by now.
        made = TrainPlan.model_validate(json.loads(path.read_text()) | {"packs": packs_folder(ws)})
    except (ValueError, TypeError, ValidationError) as error:
        raise VortexError(f"{path}: not readable as a training plan", "start the training anew") from error
    require_same_recipe(made, recipe)
    sources.require_unchanged(ws, made.stages)
    if address:
        made = made.model_copy(update={"address": address})
    if made.device == "cuda" and not made.workers:
        _require_gpu(run, gpus)
    _check_team(made.workers, made.device, made.address, made.sync_batch_norm, gpus)
    from pipelines.hub import hub

    registry = hub(ws)
    done = finished_as(made, path.parent, registry)
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
    if stage.stage.mixing == "alternating" and len(stage.data) > 1:
        room = 0 if bare else batch
    elif not any(shares):
        room = min(batch, stage.count("train"))
    else:
        room = sum(quota for quota, data in zip(share_quotas(shares, batch), stage.data, strict=True) if data.labelled)
    if wanted > room:
        why = f"of {batch} frames at most {room} can be" if room else f"whole batches come from {', '.join(bare)}, which has none"
        raise UsageError(f"{asks}, but {why}", "use a larger --batch-size, or lower labelled_per_batch in the recipe")


def choose_device(device: str, gpus: int | None = None) -> Device:
    """`auto` is the GPU where there is one; `gpus` is how many there are on another machine that will train.

    Raises UsageError for another word, VortexError for a GPU that is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}; allowed: auto, cpu, cuda", "leave --device out to choose automatically")
    if device == "cpu":
        return "cpu"
    if gpus is None:
        import torch

        found = torch.cuda.is_available()
        missing = VortexError("no CUDA device is visible to torch", "use --device cpu, or see: vortex doctor")
    else:
        found, missing = gpus > 0, UsageError("--device cuda, but no GPU is asked for", "--gres gpu:1, or --device cpu")
    if device == "cuda" and not found:
        raise missing
    return "cuda" if found else "cpu"


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


def _require_gpu(run: str, gpus: int | None) -> None:
    """Raise VortexError where a run that was planned for a GPU finds none."""
    import torch

    if not (torch.cuda.is_available() if gpus is None else gpus):
        where = "no CUDA device is visible to torch" if gpus is None else "no GPU is asked for"
        hint = f"resume it on a machine with one, or: vortex submit --resume {run} --gres gpu:1"
        raise VortexError(f"{run} was planned for a GPU, and {where}", hint)


def _check_team(workers: int, device: Device, address: str, sync_batch_norm: bool, gpus: int | None = None) -> None:
    """Raise an error for workers that cannot be, or whose cluster does not answer."""
    if address != LOCAL and not workers:
        raise UsageError(f"--address {address} is where workers run, and there are none", "--workers 2, or leave --address out")
    if sync_batch_norm and workers < 2:
        raise UsageError("--sync-batch-norm joins the batches of several workers", "--workers 2, or leave --sync-batch-norm out")
    if sync_batch_norm and device == "cpu":
        raise UsageError("--sync-batch-norm needs GPUs: torch synchronises batch normalisation on CUDA alone", "leave it out on a CPU")
    if address != LOCAL:
        require_cluster(address, workers, device)
    elif workers and device == "cuda":
        import torch

        found, where = (torch.cuda.device_count(), "this machine") if gpus is None else (gpus, "the job")
        require_room({"GPU": found}, workers, device, where)


def _check_numbers(lr: float | None, batch_size: int | None, seed: int) -> None:
    if lr is not None and not 0 < lr <= 1:  # NaN fails every comparison, and so is refused too
        raise UsageError(f"--lr {lr:g} is not a learning rate, allowed: above 0, up to 1", "the recipes use 3e-4, and 1e-3 from scratch")
    if batch_size is not None and not 1 <= batch_size <= LARGEST_BATCH:
        raise UsageError(f"--batch-size {batch_size} is out of range, allowed: 1 to {LARGEST_BATCH}", "the recipes use 8 and 16")
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"--seed {seed} is out of range, allowed: 0 to {LARGEST_SEED}", "any small number will do")


def _check_patience(checkpoint_minutes: float, max_bad_batches: int) -> None:
    if not 0 < checkpoint_minutes <= 24 * 60:
        raise UsageError(f"--checkpoint-minutes {checkpoint_minutes:g} is out of range, allowed: above 0, up to a day", "10 is the default")
    if max_bad_batches < 1:
        raise UsageError(f"--max-bad-batches {max_bad_batches} is out of range, allowed: 1 or more", f"{BAD_BATCHES} is the default")
