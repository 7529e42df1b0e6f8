"""From options, or from a run that was begun, to the plan of a training: inferred and checked, before anything starts."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime
from itertools import chain

from pydantic import ValidationError

from core.errors import VortexError
from pipelines.data.datasets import DataRef
from pipelines.device import LOCAL, choose_device, require_gpu
from pipelines.pack import packs_folder
from pipelines.recipes import recipe as recipes
from pipelines.recipes.recipe import Recipe
from pipelines.runs.folder import PLAN, run_folder
from pipelines.train.plan import sources
from pipelines.train.plan.effective import Options, effective, fine_tuning, with_settings
from pipelines.train.plan.explain import explain
from pipelines.train.plan.feasibility import require_different, require_feasible, require_passed, require_unchanged
from pipelines.train.plan.mixing import replays, with_replay
from pipelines.train.plan.options import (
    BAD_BATCHES,
    CHECKPOINT_MINUTES,
    check_numbers,
    check_patience,
    check_said_once,
    check_source,
)
from pipelines.train.plan.placement import require_team
from pipelines.train.plan.resume import finished_as, lost_state, require_same_recipe, source_of
from pipelines.train.plan.sources import StagePlan
from pipelines.train.plan.switches import Switches
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace


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
    from pipelines.hub.open import hub

    registry = hub(ws)
    own_data = bool(domain or manifest)
    check_source(recipe, from_version, own_data, encoder_weights)
    check_numbers(lr, batch_size, limit, seed)
    check_said_once(settings, {"--lr": lr, "--batch-size": batch_size, "--size": size})
    check_patience(checkpoint_minutes, max_bad_batches)
    chosen = choose_device(device, gpus)
    require_team(workers, chosen, address, sync_batch_norm, gpus)
    switches = Switches.for_device(chosen).changed(step) if step is not None else Switches.for_device(chosen)
    if from_version:
        start, parent = sources.version_start(registry, from_version)
        base, read = fine_tuning(parent), None
    else:
        base = read = recipes.load(str(recipe))
        start = sources.recipe_start(registry, base, encoder_weights)
    refs = [sources.given_data(ws, domain, manifest)] if own_data else sources.recipe_data(ws, base)
    target = domain or refs[-1][-1].domain
    options = Options(scratch=start.kind == "none", one_stage=own_data, size=size, epochs=epochs, batch_size=batch_size, lr=lr)
    made, stages = _stages(ws, base, refs, options, replay=replay, settings=settings, limit=limit)
    require_feasible(stages, made, target, workers)
    held_to = made.weights_parent if made.anchor and made.anchor.kind == "ewc" else None
    anchor_data, remarks = sources.parents_data(ws, registry.get(held_to), limit) if held_to else ((), ())
    if not allow_unvalidated:
        require_passed(ws, [*(data for stage in stages for data in stage.data), *anchor_data])
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
        remarks=remarks,
        source=source_of(recipe),
        read=read,
    )
    return planned.model_copy(update={"inferred": explain(planned)})


def resume(ws: Workspace, run: str, address: str | None = None, gpus: int | None = None, recipe: str | None = None) -> TrainPlan:
    """The plan of a run that was begun; its workers can go on elsewhere, at `address`, or on a machine with so many `gpus`.

    Raises VortexError naming the runs there are, or what has changed since: its data, its recipe, or `recipe` where that is given.
    """
    path = run_folder(ws, run) / PLAN
    try:
        # Packs are derived and can lie elsewhere by now.
        made = TrainPlan.model_validate(json.loads(path.read_text()) | {"packs": packs_folder(ws)})
    except (ValueError, TypeError, ValidationError) as error:
        raise VortexError(f"{path}: not readable as a training plan", "start the training anew") from error
    require_same_recipe(made, recipe)
    require_unchanged(ws, [*(data for stage in made.stages for data in stage.data), *made.anchor_data])
    if address:
        made = made.model_copy(update={"address": address})
    if made.device == "cuda":  # also for workers elsewhere: the finished student is measured here
        require_gpu(run, gpus)
    require_team(made.workers, made.device, made.address, made.sync_batch_norm, gpus)
    from pipelines.hub.open import hub

    registry = hub(ws)
    done = finished_as(made, registry)
    made = made.model_copy(update={"resumed": True, "number": done or registry.next_name(made.claim, made.derived)})
    lines = explain(made)
    if done:
        lines = (*lines[:-1], f"is       {done} already: what its registration lacks is added, nothing is registered twice")
    return made.model_copy(update={"inferred": (f"resumes  {run}", *lost_state(path.parent), *lines)})


def _stages(
    ws: Workspace,
    base: Recipe,
    own: Sequence[Sequence[DataRef]],
    options: Options,
    *,
    replay: Sequence[str],
    settings: Sequence[str],
    limit: int | None,
) -> tuple[Recipe, tuple[StagePlan, ...]]:
    """`base` as it will be trained, and its stages with what is in their data: each stage's `own`, and in the last what is replayed."""
    replayed = replays(ws, replay)
    refs = [*own[:-1], [*own[-1], *(old.ref for old in replayed)]]
    for stage_refs in refs:
        require_different(stage_refs)
    described = {ref: sources.describe(ws, ref, limit) for ref in dict.fromkeys(chain.from_iterable(refs))}
    frames = {ref: data.frames["train"] for ref, data in described.items()}
    made = with_settings(with_replay(effective(base, own, options, frames), replayed, [frames[ref] for ref in own[-1]]), settings)
    filled = zip(made.stages, refs, strict=True)
    return made, tuple(StagePlan(stage=stage, data=tuple(described[ref] for ref in stage_refs)) for stage, stage_refs in filled)
