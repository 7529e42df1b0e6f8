"""An anchor pulls weights back to where they started, and importance says which."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.errors import VortexError
from models.anchor import Anchor, fisher
from models.student import Student, StudentConfig
from models.tensors import read_tensors, write_tensors


@pytest.fixture
def small() -> Student:
    torch.manual_seed(0)
    return Student(StudentConfig("mobilenetv3_small_100", (32, 32)))


def ones(student: Student) -> dict[str, Tensor]:
    return {name: torch.ones_like(value) for name, value in student.named_parameters()}


def test_penalty_is_half_strength_times_the_squared_distance(small: Student) -> None:
    anchor = Anchor.at(small, "l2sp", 0.5)
    assert float(anchor.penalty(small).detach()) == 0.0
    with torch.no_grad():
        small.seg_head.bias.add_(2.0)
        small.depth_head[0].bias.add_(-1.0)
    penalty = anchor.penalty(small)
    assert float(penalty.detach()) == pytest.approx(0.5 * 0.5 * (6 * 4.0 + 1.0))
    penalty.backward()
    assert small.seg_head.bias.grad is not None and torch.allclose(small.seg_head.bias.grad, torch.full((6,), 0.5 * 2.0))


def test_importance_weighs_each_parameter(small: Student) -> None:
    importance = ones(small)
    importance["seg_head.bias"] = torch.tensor([3.0, 0, 0, 0, 0, 0])
    anchor = Anchor.at(small, "ewc", 2.0, importance)
    with torch.no_grad():
        small.seg_head.bias.add_(1.0)
    assert float(anchor.penalty(small).detach()) == pytest.approx(0.5 * 2.0 * 3.0)


def test_frozen_weights_have_no_part(small: Student) -> None:
    anchor = Anchor.at(small, "l2sp", 1.0)
    with torch.no_grad():
        for parameter in small.encoder.parameters():
            parameter.add_(1.0)
    small.freeze_encoder(True)
    assert float(anchor.penalty(small).detach()) == 0.0
    small.freeze_encoder(False)
    assert float(anchor.penalty(small).detach()) > 0.0


def test_a_file_keeps_it(small: Student, tmp_path: Path) -> None:
    anchor = Anchor.at(small, "ewc", 0.1, ones(small))
    write_tensors(tmp_path / "anchor.safetensors", anchor.tensors(), {})
    back = Anchor.from_tensors("ewc", 0.1, read_tensors(tmp_path / "anchor.safetensors")[0]).to(small)
    with torch.no_grad():
        small.neck[0].weight.mul_(1.5)
    assert torch.equal(anchor.penalty(small), back.penalty(small)) and float(back.penalty(small).detach()) > 0


def test_ewc_without_importance_is_refused(small: Student) -> None:
    with pytest.raises(VortexError, match="importance"):
        Anchor.at(small, "ewc", 1.0)


def test_fisher_is_the_mean_of_squared_gradients_and_leaves_the_student_as_it_was(small: Student) -> None:
    small.train()
    small.freeze_encoder(True)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    frames = [{"x": torch.tensor([float(value)])} for value in (1, 3)]

    def loss(batch: dict[str, Tensor]) -> Tensor:
        return batch["x"][0] * small.seg_head.bias[0] + 2.0 * small.depth_head[0].bias[0]

    found = fisher(small, loss, frames)  # type: ignore[arg-type]
    # Squares 1 and 9 against 4 and 4: in proportion 10 to 8, and a mean of 1 over all parameters.
    assert float(found["seg_head.bias"][0] / found["depth_head.0.bias"][0]) == pytest.approx(10 / 8)
    assert float(sum(value.sum() for value in found.values())) == pytest.approx(sum(p.numel() for p in small.parameters()), rel=1e-4)
    assert float(found["neck.0.weight"].abs().max()) == 0.0
    assert small.training and not small.encoder.training and not next(small.encoder.parameters()).requires_grad
    assert all(torch.equal(value, small.state_dict()[name]) for name, value in before.items())


def test_fisher_ignores_a_frame_without_a_finite_gradient_and_refuses_none_at_all(small: Student) -> None:
    def loss(batch: dict[str, Tensor]) -> Tensor:
        return batch["x"][0] * small.seg_head.bias[0]

    good, bad = {"x": torch.tensor([2.0])}, {"x": torch.tensor([float("inf")])}
    assert torch.equal(fisher(small, loss, [good, bad])["seg_head.bias"], fisher(small, loss, [good])["seg_head.bias"])  # type: ignore[arg-type]
    with pytest.raises(VortexError, match="no frame of the old data gave a gradient"):
        fisher(small, loss, [bad])  # type: ignore[arg-type]
