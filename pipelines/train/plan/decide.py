"""From options and what there is to the plan of a training: inferred and checked before anything starts, without asking anything."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.data.datasets import DataRef
from pipelines.recipes.schema import Recipe
from pipelines.train.plan.effective import effective, fine_tuning, with_settings
from pipelines.train.plan.explain import explain
from pipelines.train.plan.feasibility import require_different, require_feasible, require_passed
from pipelines.train.plan.gather import World
from pipelines.train.plan.mixing import with_replay
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.sources import DataPlan, StagePlan, anchor_data
from pipelines.train.plan.train_plan import TrainPlan


def decide(options: TrainOptions, world: World) -> TrainPlan:
    """Infer and check what a training will do.

    Raises UsageError for options that do not fit, VortexError for data that cannot be learnt from, GateRefused for data that has not passed.
    """
    switches = world.switches if options.step is None else world.switches.changed(options.step)
    datasets = _with_replayed(world)
    recipe = _recipe(options, world)
    stages = tuple(
        StagePlan(stage=stage, data=tuple(world.data[ref] for ref in refs)) for stage, refs in zip(recipe.stages, datasets, strict=True)
    )
    target = options.domain or world.datasets[-1][-1].domain
    require_feasible(stages, recipe, target, options.workers)
    anchored, remarks = _anchor_data(recipe, world)
    if not options.allow_unvalidated:
        require_passed([*(data for stage in stages for data in stage.data), *anchored], world.failed)
    remarks += tuple(f"{leak}: a version of it cannot be promoted on {target}" for leak in world.leaks)
    label = recipe.name if options.from_version is None else f"from-{options.from_version}"
    plan = TrainPlan(
        run=f"{label}-{target}-{world.stamp}",
        recipe=recipe,
        claim=options.claim,
        derived=options.from_version is not None,
        target=target,
        stages=stages,
        start=world.start,
        device=world.device,
        workers=options.workers,
        seed=options.seed,
        number=world.number,
        packs=world.packs,
        step=switches,
        address=options.address,
        sync_batch_norm=options.sync_batch_norm,
        anchor_data=anchored,
        checkpoint_minutes=options.checkpoint_minutes,
        max_bad_batches=options.max_bad_batches,
        remarks=(*remarks, *world.remarks),
        source=world.source,
        read=world.recipe if options.recipe else None,
    )
    return plan.model_copy(update={"inferred": explain(plan)})


def _with_replayed(world: World) -> Sequence[Sequence[DataRef]]:
    """The datasets of each stage; the last has the replayed ones too."""
    datasets = [*world.datasets[:-1], (*world.datasets[-1], *world.replayed)]
    for refs in datasets:
        require_different(refs)
    return datasets


def _recipe(options: TrainOptions, world: World) -> Recipe:
    """The recipe as it will be trained: on its data, with every option, then what is replayed, last what is set by its key."""
    base = fine_tuning(world.recipe, world.parent) if options.from_version and world.parent else world.recipe
    frames = {ref: data.frames["train"] for ref, data in world.data.items()}
    replayed = [(ref, share) for ref, (_, share) in zip(world.replayed, options.replay_shares, strict=True)]
    recipe = effective(base, world.datasets, options, frames, scratch=world.start.kind == "none")
    return with_settings(with_replay(recipe, replayed, [frames[ref] for ref in world.datasets[-1]]), options.settings)


def _anchor_data(recipe: Recipe, world: World) -> tuple[tuple[DataPlan, ...], tuple[str, ...]]:
    """What an anchor is measured on, and remarks on it; nothing for one that needs no frames."""
    if world.parent is None or recipe.anchor is None or recipe.anchor.kind != "ewc":
        return (), ()
    return anchor_data(world.parent, [world.data[ref] for ref in world.parents_datasets], world.present)
