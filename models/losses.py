"""What the student is trained to minimise, and how it stays finite on batches that lack labels, depth, or both.

Lineage facts: berHu on valid depth, cross-entropy on labelled pixels, edge-aware smoothness at 0.1, fixed or Kendall weights.
Only *supervised* pixels may make the loss non-finite, and they always do: a guard in the training loop then sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.classes import IGNORE
from core.depth import TOF_CONFIDENT
from core.errors import VortexError
from models.shape_losses import gradient_loss, silog_loss
from models.student import Prediction, Student

DepthTarget = Literal["per_frame", "per_pixel"]
BerhuThreshold = Literal["p80", "max20"]
DepthKind = Literal["berhu", "mse"]
KendallForm = Literal["regression_half", "both_half"]

BERHU_FLOOR_M: Final = 1e-3
"""Least berHu threshold: below a millimetre, the sensors' resolution, r²/2c would blow up on the few pixels that are still off."""
DEFAULT_WEIGHTS: Final = {"depth": 1.0, "segmentation": 1.0, "smoothness": 0.1, "silog": 0.0, "gradient": 0.0}


Totals = Callable[[int, int], tuple[int, int, int]]
"""Pixels with depth and with classes in this process's part of a batch → those of the whole batch, and how many processes share it."""


class LossTerms(NamedTuple):
    """Scalars of one batch: the total to differentiate, its unweighted terms (0 without supervision), and the pixel counts.

    In a team the terms of depth and segmentation are weighed by this process's part of the pixels, so that the mean over the processes
    is that of the whole batch; the counts are of the whole batch.
    """

    total: Tensor
    depth: Tensor
    segmentation: Tensor
    smoothness: Tensor
    valid_pixels: int
    labelled_pixels: int


def valid_depth(depth: Tensor) -> Tensor:
    """Where a depth map holds a measurement: finite and above 0."""
    return torch.isfinite(depth) & (depth > 0)


def hybrid_target(batch: Mapping[str, Tensor], policy: DepthTarget = "per_frame") -> Tensor:
    """Choose the depth that a batch is trained on, [B,1,H,W] in metres, 0 where there is none.

    `per_frame`: the teacher's map where the frame has one, else ToF if any of its pixels is valid, else the reference.
    `per_pixel`: ToF where valid and confident (≥ 0.5), else the teacher; the reference where a frame has neither.
    """
    tof, teacher = batch["tof_depth"], batch["teacher_depth"]
    has_teacher = batch["has_teacher"].view(-1, 1, 1, 1)
    if policy == "per_pixel":
        usable = valid_depth(tof) & (batch["tof_confidence"] >= TOF_CONFIDENT)
        target = torch.where(usable, tof, torch.where(has_teacher, teacher, 0.0))
    elif policy == "per_frame":
        usable = valid_depth(tof)
        target = torch.where(has_teacher, teacher, tof)
    else:
        raise _unknown("depth_target", policy, get_args(DepthTarget))
    any_tof = usable.flatten(1).any(dim=1).view(-1, 1, 1, 1)
    target = torch.where(has_teacher | any_tof, target, batch["reference"])
    return torch.where(valid_depth(target), target, 0.0)


def by_itself(valid: int, labelled: int) -> tuple[int, int, int]:
    """The `Totals` of a process that trains alone."""
    return valid, labelled, 1


class HybridDepthLoss(nn.Module):
    """Regression of the hybrid depth target on its valid pixels: berHu (reverse Huber), or MSE as in V1.

    With residual r and threshold c, berHu is |r| up to c and (r² + c²)/2c above (Laina et al. 2016, eq. 2). `p80` takes c as the 80th
    percentile of the batch's residuals, `max20` as a fifth of the largest one.
    """

    def __init__(self, depth_target: DepthTarget = "per_frame", berhu_threshold: BerhuThreshold = "p80", kind: DepthKind = "berhu") -> None:
        super().__init__()
        for name, value, allowed in (
            ("depth_target", depth_target, get_args(DepthTarget)),
            ("berhu_threshold", berhu_threshold, get_args(BerhuThreshold)),
            ("kind", kind, get_args(DepthKind)),
        ):
            if value not in allowed:
                raise _unknown(name, value, allowed)
        self.depth_target: DepthTarget = depth_target
        self.berhu_threshold: BerhuThreshold = berhu_threshold
        self.kind: DepthKind = kind

    def forward(self, depth: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, int]:
        """Return the mean loss of `depth` [B,1,H,W] (0, but connected, without valid pixels) and the number of valid pixels."""
        target = hybrid_target(batch, self.depth_target)
        valid = target > 0
        pixels = int(valid.sum())
        # Pixels without a target are replaced before the arithmetic: an infinite one then has no part in value or gradient.
        residual = torch.where(valid, depth.float(), 0.0) - target.float()
        if self.kind == "mse":
            return residual.square().sum() / max(pixels, 1), pixels
        size = residual.abs()
        if not pixels:
            return size.sum(), 0
        c = self._threshold(size.detach(), pixels)
        return torch.where(size <= c, size, (size.square() + c * c) / (2 * c)).sum() / pixels, pixels

    def _threshold(self, size: Tensor, pixels: int) -> Tensor:
        # Pixels without a target are 0 here, so the valid ones are the largest: to select them would cost a copy, and a wait on a GPU.
        threshold = 0.2 * size.max() if self.berhu_threshold == "max20" else percentile(size.flatten(), 0.8, pixels)
        return threshold.clamp(min=BERHU_FLOOR_M)


class MultiTaskLoss(nn.Module):
    """Depth, segmentation and smoothness in one total, with fixed weights or with Kendall's learnt ones.

    Kendall et al. 2018 with s = log σ² a task: a regression adds L·exp(−s)/2 + s/2 (their eq. 5), a classification L·exp(−s) + s/2
    (eq. 10); `both_half` uses the first for both. `clamp` bounds s, so [−2, 2] holds σ² in [0.135, 7.39] and σ in [0.368, 2.72]; it
    is applied by projection after the step (`project`), because a clamp inside the loss has no gradient outside and never returns.
    Under Kendall `weights` of depth and segmentation scale the losses before the learnt weights; smoothness, and the terms `silog` and
    `gradient` of the depth's logarithm (see `models.shape_losses`; off by default), are always outside them.
    """

    def __init__(
        self,
        use_kendall: bool = True,
        weights: Mapping[str, float] | None = None,
        kendall_form: KendallForm = "regression_half",
        clamp: tuple[float, float] = (-2.0, 2.0),
        depth_loss: HybridDepthLoss | None = None,
    ) -> None:
        super().__init__()
        unknown = sorted(set(weights or {}) - set(DEFAULT_WEIGHTS))
        if unknown:
            raise _unknown("loss weight", unknown[0], tuple(DEFAULT_WEIGHTS))
        if kendall_form not in get_args(KendallForm):
            raise _unknown("kendall_form", kendall_form, get_args(KendallForm))
        if not clamp[0] <= 0.0 <= clamp[1]:
            raise VortexError(f"kendall clamp {tuple(clamp)} does not hold 0, where log σ² starts", "give it as (low ≤ 0, high ≥ 0)")
        self.use_kendall = use_kendall
        self.weights = {**DEFAULT_WEIGHTS, **(weights or {})}
        self.kendall_form: KendallForm = kendall_form
        self.clamp = (float(clamp[0]), float(clamp[1]))
        self.depth_loss = depth_loss or HybridDepthLoss()
        self.totals: Totals = by_itself
        if use_kendall:
            self.log_variance_depth = nn.Parameter(torch.zeros(()))
            self.log_variance_segmentation = nn.Parameter(torch.zeros(()))

    def forward(self, prediction: Prediction, batch: Mapping[str, Tensor]) -> LossTerms:
        """Judge one batch (keys: rgb, teacher_depth, has_teacher, tof_depth, tof_confidence, reference, segmentation)."""
        depth, valid = self.depth_loss(prediction.depth, batch)
        segmentation, labelled = segmentation_loss(prediction.logits, batch["segmentation"])
        all_valid, all_labelled, processes = self.totals(valid, labelled)
        # A team averages its gradients: weighed like this, that is the mean over all pixels of the batch, whoever has how many of them.
        of_depth, of_classes = processes * valid / max(all_valid, 1), processes * labelled / max(all_labelled, 1)
        # Smoothness only regularises what depth supervises: alone on a batch without depth it would flatten the map.
        smoothness = smoothness_loss(prediction.depth, batch["rgb"]) if all_valid else depth
        total = (
            of_depth * (self._weigh(depth, "depth", all_valid) + self._shape(prediction.depth, batch))
            + of_classes * self._weigh(segmentation, "segmentation", all_labelled)
            + self.weights["smoothness"] * smoothness
        )
        terms = of_depth * depth.detach(), of_classes * segmentation.detach(), smoothness.detach()
        return LossTerms(total, *terms, all_valid, all_labelled)

    def _shape(self, depth: Tensor, batch: Mapping[str, Tensor]) -> Tensor | float:
        """The weighted terms that are off in the lineage."""
        terms = [(self.weights[name], judge) for name, judge in (("silog", silog_loss), ("gradient", gradient_loss)) if self.weights[name]]
        if not terms:
            return 0.0
        target = hybrid_target(batch, self.depth_loss.depth_target)
        return torch.stack([weight * judge(depth, target) for weight, judge in terms]).sum()

    def _weigh(self, loss: Tensor, task: Literal["depth", "segmentation"], pixels: int) -> Tensor:
        loss = self.weights[task] * loss
        if not self.use_kendall:
            return loss
        s = self.log_variance_depth if task == "depth" else self.log_variance_segmentation
        if not pixels:
            # Without data s/2 would still pull σ down; 0·s keeps the parameter in the graph, which DDP needs.
            return loss + 0.0 * s
        half = task == "depth" or self.kendall_form == "both_half"
        return (0.5 if half else 1.0) * torch.exp(-s) * loss + 0.5 * s

    def after_backward(self, student: Student, labelled: int, valid: int | None = None) -> None:
        """Forget the gradients of tasks that no pixel of the batch supervised; call between backward and step.

        A zero gradient is not none: AdamW still decays the weights and applies its momentum (8.4×lr in 20 steps, measured). Pass the
        counts summed over all processes, so that every one of them skips the same parameters. `valid=None` leaves depth alone.
        """
        if labelled == 0 and valid == 0:
            _clear(student.parameters())
        if labelled == 0:
            _clear(student.segmentation_parameters())
            if self.use_kendall:
                self.log_variance_segmentation.grad = None
        if valid == 0:
            _clear(student.depth_parameters())
            if self.use_kendall:
                self.log_variance_depth.grad = None

    @torch.no_grad()
    def project(self) -> None:
        """Clamp the log variances into their bounds; call after the optimiser's step."""
        if self.use_kendall:
            self.log_variance_depth.clamp_(*self.clamp)
            self.log_variance_segmentation.clamp_(*self.clamp)


def segmentation_loss(logits: Tensor, target: Tensor) -> tuple[Tensor, int]:
    """Mean cross-entropy of `logits` [B,C,H,W] on the labelled pixels of `target` [B,H,W], and their number.

    Labelled pixels are selected before the cross-entropy: with `ignore_index` alone, an infinite logit on an ignored pixel gives the
    value 0 and the gradient NaN. Selecting by replacement is 4× faster than by indexing (42 against 172 ms for 8 maps of 240×320 on
    one core). Without labelled pixels the loss is a connected 0.
    """
    labelled, classes = target != IGNORE, logits.shape[1]
    strange = labelled & ((target < 0) | (target >= classes))
    pixels, wrong = torch.stack([labelled.sum(), strange.sum()]).tolist()  # one wait for the device instead of two
    if wrong:
        raise VortexError(
            f"segmentation: {wrong} pixels of the batch have labels outside 0..{classes - 1} and {IGNORE}, such as {target[strange][0]}",
            "find the frames with vortex validate, and mend or remove their masks",
        )
    # A softmax over channels that lie innermost in memory would take half as long again (15 against 22 ms, forward and back).
    scores = torch.where(labelled.unsqueeze(1), logits.float().contiguous(), 0.0)
    return (F.cross_entropy(scores, target.long(), ignore_index=IGNORE) if pixels else scores.sum()), pixels


def smoothness_loss(depth: Tensor, rgb: Tensor) -> Tensor:
    """Edge-aware smoothness mean(|∇d|·exp(−|∇I|)) over both directions (Godard et al. 2017, eq. 5, on depth in metres).

    Pairs of pixels with a non-finite difference are left out: most of them are unsupervised, and the depth loss reports the rest.
    """
    terms = []
    depth, rgb = depth.float(), rgb.float()
    for dim in (-1, -2):
        n = depth.shape[dim]
        if n < 2:
            continue
        near, far = depth.narrow(dim, 0, n - 1), depth.narrow(dim, 1, n - 1)
        usable = torch.isfinite(far - near)
        # where() before the arithmetic: its gradient is exactly 0 on what it leaves out, 0·∞ would be NaN.
        step = (torch.where(usable, far, 0.0) - torch.where(usable, near, 0.0)).abs()
        edge = torch.exp(-rgb.diff(dim=dim).abs().mean(dim=1, keepdim=True))
        # Divided before it is summed: the mean of finite steps is finite, their sum need not be.
        terms.append((step * edge / usable.sum().clamp(min=1)).sum())
    return torch.stack(terms).sum() if terms else depth.sum() * 0.0


def percentile(values: Tensor, fraction: float, count: int | None = None) -> Tensor:
    """Interpolated percentile of the `count` largest numbers (default: all) of a non-empty vector of any length.

    As `torch.quantile`, which sorts everything, and up to torch 2.14 refuses more than 2^24 elements: a batch of 219 maps at 240×320.
    """
    count = values.numel() if count is None else count
    position = fraction * (count - 1)
    below = int(position)
    top = values.topk(count - below, sorted=False).values
    if top.numel() == 1:
        return top[0]
    low, high = top.topk(2, largest=False, sorted=True).values
    return torch.lerp(low, high, position - below)


def _clear(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _unknown(name: str, value: object, allowed: tuple[str, ...]) -> VortexError:
    return VortexError(f"unknown {name} {value!r}", f"use one of: {', '.join(allowed)}")
