"""SILog and gradient matching do what their papers say, on valid pixels alone, and stay finite where the student says 0."""

from __future__ import annotations

import math

import pytest
import torch

from models.losses import MultiTaskLoss
from models.shape_losses import gradient_loss, silog_loss
from tests.unit.models.test_losses import batch, leaves


def test_silog_forgives_half_of_an_error_in_scale() -> None:
    target = torch.rand(2, 1, 8, 8) * 3 + 0.5
    assert float(silog_loss(target, target)) == 0.0
    assert float(silog_loss(1.2 * target, target)) == pytest.approx(0.5 * math.log(1.2) ** 2, rel=1e-4)


def test_silog_is_judged_a_frame_at_a_time() -> None:
    """One frame 20 % too far and one 20 % too near must not cancel out."""
    target = torch.ones(2, 1, 4, 4)
    depth = torch.cat([target[:1] * 1.2, target[1:] / 1.2])
    assert float(silog_loss(depth, target)) == pytest.approx(0.5 * math.log(1.2) ** 2, rel=1e-4)


def test_gradients_ignore_scale_and_see_edges() -> None:
    target = torch.ones(1, 1, 16, 16)
    target[..., 8:] = 2.0
    assert float(gradient_loss(3 * target, target)) == pytest.approx(0.0, abs=1e-6)
    flat = torch.full_like(target, 1.5)
    # One step of log 2 in each row: among 16, 8, 4 and 2 columns one of 15, 7, 3 and 1 differences.
    assert float(gradient_loss(flat, target)) == pytest.approx(math.log(2) * (1 / 15 + 1 / 7 + 1 / 3 + 1), rel=1e-4)


@pytest.mark.parametrize("judge", [silog_loss, gradient_loss])
def test_pixels_without_a_target_have_no_part(judge: object) -> None:
    assert callable(judge)
    target = torch.rand(2, 1, 16, 16) + 0.5
    target[:, :, :, 5:9] = 0.0
    target[1] = 0.0
    depth = (torch.rand(2, 1, 16, 16) + 0.5).requires_grad_()
    loss = judge(depth, target)
    loss.backward()
    assert depth.grad is not None and torch.isfinite(depth.grad).all() and float(depth.grad[target == 0].abs().max()) == 0.0
    changed = depth.detach().clone()
    changed[target == 0] = float("inf")
    assert float(judge(changed, target)) == pytest.approx(float(loss.detach()))
    empty = judge(depth, torch.zeros_like(target))
    assert float(empty.detach()) == 0.0 and empty.requires_grad


@pytest.mark.parametrize("judge", [silog_loss, gradient_loss])
def test_a_prediction_of_nothing_is_finite(judge: object) -> None:
    assert callable(judge)
    depth = torch.zeros(1, 1, 16, 16, requires_grad=True)
    loss = judge(depth, torch.rand(1, 1, 16, 16) + 0.5)
    loss.backward()
    assert torch.isfinite(loss) and depth.grad is not None and torch.isfinite(depth.grad).all()


def test_weights_add_them_to_the_total_and_zero_leaves_it_as_it_was() -> None:
    frames, prediction = batch(2, (16, 16)), leaves(2, (16, 16))
    plain = MultiTaskLoss(use_kendall=False)(prediction, frames).total
    off = MultiTaskLoss(use_kendall=False, weights={"silog": 0.0, "gradient": 0.0})(prediction, frames).total
    assert torch.equal(plain, off)
    from models.losses import hybrid_target

    target = hybrid_target(frames)
    both = MultiTaskLoss(use_kendall=False, weights={"silog": 2.0, "gradient": 0.5})(prediction, frames).total
    wanted = plain + 2.0 * silog_loss(prediction.depth, target) + 0.5 * gradient_loss(prediction.depth, target)
    assert float(both.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
