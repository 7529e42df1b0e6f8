"""What a recipe means in torch: the starting student, the loss, the optimiser and its rates."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from models import checkpoint
from models.losses import HybridDepthLoss, MultiTaskLoss
from models.student import Student, StudentConfig
from pipelines.recipes.schema import Recipe
from pipelines.train.plan.sources import Start


def starting_student(recipe: Recipe, start: Start, seed: int) -> Student:
    """The student before its first step. Raises VortexError when its weights cannot be had or do not fit the recipe."""
    torch.manual_seed(seed)
    if start.kind == "version" and start.path:
        student, _ = checkpoint.load(start.path, encoder=recipe.student.encoder)
        student.config = replace(student.config, size=recipe.student.size)
        return student
    weights = start.path if start.path else start.kind
    return Student(StudentConfig(recipe.student.encoder, recipe.student.size), encoder_weights=weights)


def make_loss(recipe: Recipe) -> MultiTaskLoss:
    """The recipe's loss."""
    stated = recipe.loss
    return MultiTaskLoss(
        use_kendall=stated.weighting == "kendall",
        weights=stated.weights.model_dump(),
        kendall_form=stated.kendall.form,
        clamp=stated.kendall.clamp,
        depth_loss=HybridDepthLoss(stated.depth_target, stated.berhu_threshold, stated.depth),
    )


def make_optimizer(recipe: Recipe, student: Student, loss: MultiTaskLoss, *, fused: bool) -> torch.optim.AdamW:
    """AdamW with named groups, each at its own rate: the encoder (its stages apart when the rates decay), the others, the log variances.

    The learnt log variances are no weights: they do not decay.
    """
    stated = recipe.optimizer
    groups = [
        *_encoder_groups(student, stated.encoder_lr, stated.layer_decay),
        {"name": "others", "params": list(student.decoder_parameters()), "lr": stated.decoder_lr},
        {"name": "log_variances", "params": list(loss.parameters()), "lr": stated.decoder_lr, "weight_decay": 0.0},
    ]
    filled = [group | {"initial_lr": group["lr"]} for group in groups if group["params"]]
    return torch.optim.AdamW(filled, weight_decay=stated.weight_decay, fused=fused)


def set_rates(optimizer: torch.optim.Optimizer, epoch: float, epochs: int) -> None:
    """Anneal every group's rate from its first value to zero along a half cosine (Loshchilov & Hutter 2017, eq. 5, one period)."""
    factor = 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The rate of each group of weights by its name, as it is now."""
    return {group["name"]: group["lr"] for group in optimizer.param_groups if group["name"] != "log_variances"}


def _encoder_groups(student: Student, rate: float, decay: float) -> list[dict[str, Any]]:
    """The encoder as one group; with a decay as one for each stage, the deepest at `rate`, each one before it at `decay` times the next.

    Early layers see edges and colours, which are the same in every domain; late ones see the domain (BEiT, Bao et al. 2022, appendix).
    """
    if decay == 1.0:
        return [{"name": "encoder", "params": list(student.encoder_parameters()), "lr": rate}]
    stages = student.encoder_stages()
    return [
        {"name": f"encoder.{number}", "params": parameters, "lr": rate * decay ** (len(stages) - number)}
        for number, parameters in enumerate(stages, 1)
    ]
