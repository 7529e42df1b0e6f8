"""Depth losses that look at the shape of a scene rather than at single pixels. Both compare logarithms, so 10 cm count more when near."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

SILOG_LAMBDA: Final = 0.5
"""How much of a frame's mean error in scale is forgiven: 0 none (plain log RMSE squared), 1 all (Eigen et al. 2014, section 3.2)."""
SCALES: Final = 4
"""Halvings of the resolution at which gradients are compared, the full one included (Ranftl et al. 2022, eq. 11)."""
NEAREST_M: Final = 1e-3
"""Predictions below a millimetre, the sensors' resolution, count as one: the logarithm of the ReLU's 0 is not finite."""


def silog_loss(depth: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant log error mean(e²) − λ·mean(e)², e = log d − log d*, a frame at a time (Eigen et al. 2014, eq. 4).

    `depth` and `target` are [B,1,H,W] in metres, a target of 0 is none. The mean over the frames that have targets; a connected 0 when
    none has.
    """
    error, valid = _log_error(depth, target)
    count = valid.flatten(1).sum(dim=1).clamp(min=1)
    mean = error.flatten(1).sum(dim=1) / count
    square = error.square().flatten(1).sum(dim=1) / count
    frames = valid.flatten(1).any(dim=1).sum().clamp(min=1)
    return (square - SILOG_LAMBDA * mean.square()).sum() / frames


def gradient_loss(depth: Tensor, target: Tensor) -> Tensor:
    """Multi-scale gradient matching Σₖ mean(|∇x e| + |∇y e|), e = log d − log d*, over `SCALES` halvings of the resolution.

    Li & Snavely 2018, eq. 4; Ranftl et al. 2022, eq. 11, compare disparities instead. It asks for edges where the target has them and
    for smooth surfaces elsewhere. Shapes as in `silog_loss`; only neighbours that both have targets are compared.
    """
    error, valid = _log_error(depth, target)
    total = error.sum() * 0.0
    for scale in range(SCALES):
        step = 2**scale
        total = total + _steps(error[..., ::step, ::step], valid[..., ::step, ::step])
    return total


def _log_error(depth: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """log d − log d*, 0 (and without a gradient) where there is no target; and where there is one."""
    valid = target > 0
    # Replaced before the logarithm: the gradient of what is left out is then 0, not 0·∞.
    reference = torch.where(valid, target.float(), 1.0)
    predicted = torch.where(valid, depth.float(), 1.0).clamp(min=NEAREST_M)
    return predicted.log() - reference.log(), valid


def _steps(error: Tensor, valid: Tensor) -> Tensor:
    """Mean size of the steps between neighbours, over both directions."""
    total = error.new_zeros(())
    for dim in (-1, -2):
        both = valid.narrow(dim, 1, valid.shape[dim] - 1) & valid.narrow(dim, 0, valid.shape[dim] - 1)
        total = total + torch.where(both, error.diff(dim=dim).abs(), 0.0).sum() / both.sum().clamp(min=1)
    return total
