"""The average follows the weights, forgets its start when it should, and is whole in its state dict."""

from __future__ import annotations

import copy

import pytest
import torch

from models.ema import Ema
from models.student import Student, StudentConfig


@pytest.fixture(scope="module")
def small() -> Student:
    torch.manual_seed(0)
    return Student(StudentConfig("mobilenetv3_small_100", (32, 32)))


def shifted(student: Student, by: float) -> Student:
    moved = copy.deepcopy(student)
    with torch.no_grad():
        for tensor in [*moved.parameters(), *(b for b in moved.buffers() if b.is_floating_point())]:
            tensor.add_(by)
    return moved


def test_the_average_is_the_sum_that_its_docstring_states(small: Student) -> None:
    ema = Ema(small, decay=0.25)
    wanted = small.neck[0].weight.detach().clone()
    for step, by in enumerate((1.0, -2.0, 3.0), 1):
        now = shifted(small, by)
        ema.update(now)
        d = min(0.25, (1 + step) / (10 + step))
        wanted = d * wanted + (1 - d) * now.neck[0].weight.detach()
    assert torch.allclose(ema.student.neck[0].weight, wanted, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in ema.student.parameters())
    assert not ema.student.training


def test_a_short_run_is_not_held_back_by_its_start(small: Student) -> None:
    ema, goal = Ema(small, decay=0.9999), shifted(small, 1.0)
    for _ in range(20):
        ema.update(goal)
    assert torch.allclose(ema.student.depth_head[0].bias, goal.depth_head[0].bias, atol=1e-3)


def test_statistics_are_averaged_and_counters_are_copied(small: Student) -> None:
    ema, now = Ema(small, decay=0.5), shifted(small, 1.0)
    now.neck[1].num_batches_tracked.fill_(7)
    ema.update(now)
    assert torch.allclose(ema.student.neck[1].running_mean, small.neck[1].running_mean + 1 - 2 / 11, atol=1e-6)
    assert int(ema.student.neck[1].num_batches_tracked) == 7


def test_its_state_dict_is_all_that_resuming_needs(small: Student) -> None:
    whole, stopped = Ema(small, 0.9), Ema(small, 0.9)
    for by in (1.0, 2.0):
        whole.update(shifted(small, by))
        stopped.update(shifted(small, by))
    resumed = Ema(shifted(small, 9.0), 0.9)
    resumed.load_state_dict(stopped.state_dict())
    for ema in (whole, resumed):
        ema.update(shifted(small, 3.0))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
