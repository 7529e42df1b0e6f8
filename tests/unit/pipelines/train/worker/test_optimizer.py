"""What a recipe means in torch: the loss it states, and a rate for every weight, once."""

from __future__ import annotations

import math

import pytest
import torch

from models.encoders import ENCODERS
from models.student import Student, StudentConfig
from pipelines.recipes.recipe import load, with_settings
from pipelines.recipes.schema import Recipe
from pipelines.train.worker.optimizer import make_loss, make_optimizer, rates, set_rates


def built(recipe: Recipe) -> torch.optim.AdamW:
    return make_optimizer(recipe, Student(StudentConfig(recipe.student.encoder, (32, 32))), make_loss(recipe), fused=False)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_every_weight_is_in_one_group_and_in_the_same_order(encoder: str, decay: float) -> None:
    recipe = with_settings(load("v5"), [f"student.encoder={encoder}", f"optimizer.layer_decay={decay}"])
    student, loss = Student(StudentConfig(encoder, (32, 32))), make_loss(recipe)
    optimizer = make_optimizer(recipe, student, loss, fused=False)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    wanted = [*student.encoder_parameters(), *student.decoder_parameters(), *loss.parameters()]
    assert [id(parameter) for parameter in trained] == [id(parameter) for parameter in wanted]


def test_layer_decay_lowers_the_rate_from_the_deepest_stage_to_the_stem() -> None:
    optimizer = built(with_settings(load("v5"), ["optimizer.layer_decay=0.5"]))
    found = rates(optimizer)
    assert found == {
        "encoder.1": pytest.approx(3e-5 / 8),
        "encoder.2": pytest.approx(3e-5 / 4),
        "encoder.3": pytest.approx(3e-5 / 2),
        "encoder.4": 3e-5,
        "others": 3e-4,
    }
    assert rates(built(load("v5"))) == {"encoder": 3e-5, "others": 3e-4}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_encoder_stages_end_where_the_feature_maps_are_taken(encoder: str) -> None:
    """A change in a stage must reach its own map and the deeper ones, and no map before it."""
    torch.manual_seed(0)
    student = Student(StudentConfig(encoder, (64, 64))).eval()
    image = torch.rand(1, 3, 64, 64)
    for number, parameters in enumerate(student.encoder_stages()):
        before = student.encoder(image)
        kept = [parameter.detach().clone() for parameter in parameters]
        with torch.no_grad():
            for parameter in parameters:
                parameter.mul_(1.5).add_(0.1)
        changed = [not torch.equal(old, new) for old, new in zip(before, student.encoder(image), strict=True)]
        assert changed == [place >= number for place in range(4)]
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def test_all_groups_anneal_along_a_half_cosine() -> None:
    optimizer = built(with_settings(load("v5"), ["optimizer.layer_decay=0.5"]))
    first = rates(optimizer)
    set_rates(optimizer, 5, 20)
    factor = 0.5 * (1 + math.cos(math.pi / 4))
    assert rates(optimizer) == {name: pytest.approx(rate * factor) for name, rate in first.items()}
    set_rates(optimizer, 0, 20)
    assert rates(optimizer) == first


def test_log_variances_do_not_decay() -> None:
    optimizer = built(load("v5"))
    assert {group["name"]: group["weight_decay"] for group in optimizer.param_groups} == {
        "encoder": 0.01,
        "others": 0.01,
        "log_variances": 0.0,
    }
    assert len(built(load("v1")).param_groups) == 2


def test_the_loss_is_what_the_recipe_states() -> None:
    stated = [
        "loss.berhu_threshold=max20", "loss.depth_target=per_pixel", "loss.kendall.form=both_half", "loss.kendall.clamp=[-1, 3]",
        "loss.weights.silog=0.5", "loss.weights.gradient=0.25",
    ]  # fmt: skip
    loss = make_loss(with_settings(load("v5"), stated))
    assert (loss.depth_loss.berhu_threshold, loss.depth_loss.depth_target, loss.depth_loss.kind) == ("max20", "per_pixel", "berhu")
    assert (loss.use_kendall, loss.kendall_form, loss.clamp) == (True, "both_half", (-1.0, 3.0))
    assert (loss.weights["silog"], loss.weights["gradient"]) == (0.5, 0.25)
    assert make_loss(load("v1")).depth_loss.kind == "mse" and not make_loss(load("v1")).use_kendall
