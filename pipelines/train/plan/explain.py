"""A plan in words: what was inferred, so that a person can stop before hours are spent on a wrong guess."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipelines.pack.sampler import share_quotas
from pipelines.recipes.schema import LossRecipe
from pipelines.train.plan.sources import StagePlan
from validation.data_gate import all_ignore_batch

if TYPE_CHECKING:
    from pipelines.train.plan.train_plan import TrainPlan


def explain(plan: TrainPlan) -> tuple[str, ...]:
    """The lines that are printed before training starts."""
    rates = plan.recipe.optimizer
    frozen = f", encoder frozen for {rates.freeze_encoder_epochs} epoch(s)" if rates.freeze_encoder_epochs else ""
    where = f"{plan.workers} workers on {plan.device}" if plan.workers else plan.device
    name = plan.recipe.name if plan.recipe.codename == "" else f"{plan.recipe.name} ({plan.recipe.codename})"
    lines = [
        f"recipe   {name}: {plan.recipe.summary}",
        f"start    {plan.start}",
        *(line for stage in plan.stages for line in _stage(stage, plan)),
        f"student  {plan.recipe.student.encoder} at {plan.size[0]}x{plan.size[1]}, on {where}",
        f"loss     {_loss(plan.recipe.loss)}",
        f"rates    encoder {rates.encoder_lr:g}, others {rates.decoder_lr:g}, batch {rates.batch_size}{frozen}, seed {plan.seed}",
        *_options(plan),
        f"step     {plan.step}",
        f"best by  RMSE on the validation frames of {plan.target}",
    ]
    if plan.truncated:
        lines.append(f"stops    {plan.truncated}, as the published version did (--epochs N trains a whole schedule)")
    lines += [f"note     {line}" for line in _remarks(plan)]
    lines.append(f"becomes  {plan.number}, if no other run is registered first")
    return tuple(lines)


def all_ignore_probability(stage: StagePlan, batch_size: int) -> float:
    """Probability that a batch of the stage's mixture has no labelled frame."""
    labelled = [data.labelled / data.frames["train"] if data.frames["train"] else 0.0 for data in stage.data]
    shares = [data.share for data in stage.stage.data]
    if stage.stage.mixing == "alternating":
        weights = [
            data.frames["train"] / stage.count("train") if share is None else share for data, share in zip(stage.data, shares, strict=True)
        ]
        return sum(weight * all_ignore_batch(part, batch_size) for part, weight in zip(labelled, weights, strict=True))
    if None in shares:
        return all_ignore_batch(sum(data.labelled for data in stage.data) / stage.count("train"), batch_size)
    quotas = share_quotas([share or 0.0 for share in shares], batch_size)
    return math.prod(all_ignore_batch(part, quota) for part, quota in zip(labelled, quotas, strict=True))


def _stage(stage: StagePlan, plan: TrainPlan) -> list[str]:
    lines = []
    for data, share in zip(stage.data, stage.stage.data, strict=True):
        part = _part(stage, share.share)
        state = "passed validation" if data.validated else "NOT VALIDATED"
        lines.append(
            f"data     {data.name} (domain {data.domain}): {data.frames['train']} frames to train, {data.frames['val']} to validate, {state}{part}"
        )
        lines.append(f"target   depth from {_targets(data.targets)}; {data.labelled} of {data.frames['train']} frames have classes")
    probability = all_ignore_probability(stage, plan.recipe.optimizer.batch_size)
    if stage.stage.labelled_per_batch:
        lines.append(f"classes  every batch holds at least {stage.stage.labelled_per_batch} frame(s) with labels")
    elif probability == 1.0:
        lines.append("classes  no frame is labelled: depth alone is trained")
    elif probability > 0:
        lines.append(f"classes  a batch without any label has probability {probability:.2g}; such batches train depth alone")
    lines.append(f"stage    {stage.stage.name}: {stage.last_epoch} epoch(s)")
    return lines


def _part(stage: StagePlan, share: float | None) -> str:
    """What a dataset gets of the batches, where that is more than by chance."""
    if stage.stage.mixing == "alternating" and len(stage.data) > 1:
        return f", alone in {f'{share:.0%}' if share else 'its part by size'} of the batches, which alternate"
    return f", {share:.0%} of every batch" if share else ""


def _targets(targets: dict[str, int]) -> str:
    words = {"reference": "the reference (no teacher, no ToF)", "tof": "the ToF sensor (no teacher)"}
    return ", ".join(f"{words.get(name, name)}{f' for {count}' if len(targets) > 1 else ''}" for name, count in targets.items())


def _loss(stated: LossRecipe) -> str:
    """What is minimised, in one line."""
    kind = f"berHu ({stated.berhu_threshold})" if stated.depth == "berhu" else "MSE"
    low, high = stated.kendall.clamp
    weighting = (
        f"Kendall's weights ({stated.kendall.form}, log σ² in [{low:g}, {high:g}])" if stated.weighting == "kendall" else "fixed weights"
    )
    weights = stated.weights
    extra = [f"{name} {value:g}" for name, value in (("SILog", weights.silog), ("gradients", weights.gradient)) if value]
    return ", ".join([f"{kind} {stated.depth_target.replace('_', ' ')}", weighting, f"smoothness {weights.smoothness:g}", *extra])


def _options(plan: TrainPlan) -> list[str]:
    """A line for each option beyond the lineage that is on."""
    recipe, lines = plan.recipe, []
    if recipe.optimizer.layer_decay < 1:
        lines.append(
            f"layers   the encoder's rate falls by a factor of {recipe.optimizer.layer_decay:g} a stage, from its deepest to its stem"
        )
    if recipe.ema:
        lines.append(f"average  weights are averaged with decay {recipe.ema.decay:g}; the average is what is validated and kept")
    if recipe.anchor:
        kind = "L2-SP" if recipe.anchor.kind == "l2sp" else "EWC"
        to = str(plan.start) if plan.start.kind == "version" else "those of the stage before, from the second stage on"
        measured = f", by their importance for {', '.join(data.name for data in plan.anchor_data)}" if plan.anchor_data else ""
        lines.append(f"anchor   weights are held to {to} ({kind}, strength {recipe.anchor.strength:g}){measured}")
    return lines


def _remarks(plan: TrainPlan) -> list[str]:
    teacher = plan.recipe.teacher
    data = [item for stage in plan.stages for item in stage.data]
    remarks = list(plan.remarks)
    if any(item.relative for item in data):
        remarks.append("a teacher's depth is relative: the student will learn no metres (finding F1 of the lineage)")
    elif teacher.unit == "relative":
        remarks.append(
            f"recipe {plan.recipe.name} was taught by relative depth ({teacher.name}); these frames are metric, so its failure is not repeated"
        )
    rates = plan.recipe.optimizer
    remarks += [
        f"stage {stage.stage.name} has {stage.last_epoch} epoch(s) and the encoder is frozen for {rates.freeze_encoder_epochs}: it is never trained"
        for stage in plan.stages
        if rates.freeze_encoder_epochs >= stage.last_epoch
    ]
    if plan.start.kind == "none":
        remarks.append("nothing is pretrained, so the recipe's scratch rates are used")
    return remarks
