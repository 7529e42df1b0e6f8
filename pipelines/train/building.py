"""What a recipe means in torch: the starting student, the loss, the optimiser and its rates."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from models import checkpoint
from models.losses import HybridDepthLoss, MultiTaskLoss
from models.student import Student, StudentConfig
from pipelines.recipe import Recipe
from pipelines.train.sources import Start


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


def make_optimizer(recipe: Recipe, student: Student, loss: MultiTaskLoss) -> torch.optim.AdamW:
    """AdamW with the encoder at its own rate. The learnt log variances are no weights: they do not decay."""
    stated = recipe.optimizer
    groups = [
        {"params": list(student.encoder_parameters()), "lr": stated.encoder_lr},
        {"params": list(student.decoder_parameters()), "lr": stated.decoder_lr},
        {"params": list(loss.parameters()), "lr": stated.decoder_lr, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=stated.weight_decay, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, recipe: Recipe, epoch: float, epochs: int) -> None:
    """Anneal every group's rate from the recipe's value to zero along a half cosine (Loshchilov & Hutter 2017, eq. 5, one period)."""
    factor = 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    own = [recipe.optimizer.encoder_lr, recipe.optimizer.decoder_lr, recipe.optimizer.decoder_lr]
    for group, rate in zip(optimizer.param_groups, own, strict=False):
        group["lr"] = rate * factor
