"""The global random generators: kept and put back exactly, and left alone by training."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from models.encoders import ENCODERS
from models.student import Student, StudentConfig
from pipelines import workspace as workspaces
from pipelines.train.worker.checkpoints import generator_states, restore_generators, seed_generators
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import different, loop, tiny
from tests.unit.pipelines.training_set import SIZE, publish, recipe_file


def draw() -> list[float]:
    return [torch.rand(()).item(), random.random(), random.gauss(0, 1), np.random.rand(), np.random.standard_normal()]


def test_what_comes_next_is_what_was_kept() -> None:
    seed_generators(2**63 - 1)
    draw()  # both Gaussian generators make two numbers at a time, and hold one back
    states = generator_states()
    after = draw()
    seed_generators(0)
    assert draw() != after
    restore_generators(states)
    assert draw() == after


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_layer_of_a_student_draws(encoder: str) -> None:
    student = Student(StudentConfig(encoder, SIZE)).train()
    before = generator_states()
    student(torch.full((2, 3, *SIZE), 0.5)).depth.sum().backward()
    assert different(before, generator_states()) == []


def test_training_draws_from_no_global_generator(workspace: Workspace) -> None:
    """Restarted workers all get the leader's generators: they are the uninterrupted run's only because nobody draws from them."""
    publish(workspace, "small")
    ws = workspaces.load(workspace.root)
    recipe_file(ws.root / "tiny.yaml")
    for settings in ((), ("ema.decay=0.9", "optimizer.layer_decay=0.8", "augmentation.hflip=0.5")):
        stage = loop(ws, tiny(ws, epochs=1, settings=settings))
        before = generator_states()
        stage.run()
        assert stage.progress.epoch == 1
        assert different(before, generator_states()) == []
