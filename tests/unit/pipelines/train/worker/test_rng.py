"""The global random generators: kept and put back exactly, and left alone by training."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from models.encoders import ENCODERS
from models.student import Student, StudentConfig
from pipelines import workspace as workspaces
from pipelines.train.worker import rng as randomness
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import different, loop, tiny
from tests.unit.pipelines.training_set import SIZE, publish, recipe_file


def draw() -> list[float]:
    return [torch.rand(()).item(), random.random(), random.gauss(0, 1), np.random.rand(), np.random.standard_normal()]


def test_what_comes_next_is_what_was_kept() -> None:
    randomness.seed(2**63 - 1)
    draw()  # both Gaussian generators make two numbers at a time, and hold one back
    kept = randomness.state()
    after = draw()
    randomness.seed(0)
    assert draw() != after
    randomness.restore(kept)
    assert draw() == after


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_layer_of_a_student_draws(encoder: str) -> None:
    student = Student(StudentConfig(encoder, SIZE)).train()
    before = randomness.state()
    student(torch.full((2, 3, *SIZE), 0.5)).depth.sum().backward()
    assert different(before, randomness.state()) == []


def test_training_draws_from_no_global_generator(workspace: Workspace) -> None:
    """Restarted workers all get the leader's generators: they are the uninterrupted run's only because nobody draws from them."""
    publish(workspace, "small")
    ws = workspaces.load(workspace.root)
    recipe_file(ws.root / "tiny.yaml")
    for settings in ((), ("ema.decay=0.9", "optimizer.layer_decay=0.8", "augmentation.hflip=0.5")):
        made = loop(ws, tiny(ws, epochs=1, settings=settings))
        before = randomness.state()
        made.run()
        assert made.progress.epoch == 1
        assert different(before, randomness.state()) == []
