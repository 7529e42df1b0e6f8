"""A batch whose loss or gradient is not finite leaves no trace in the student, and its frames are on record."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from core.errors import VortexError
from pipelines.pack.loader import Batch
from pipelines.runs.events import TrainEvent
from pipelines.runs.state import NONFINITE
from pipelines.train.worker.batches import Batches
from pipelines.train.worker.learner import Learner
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import loop, tiny


def everything(learner: Learner) -> dict[str, Tensor]:
    """All that a step changes, as it is now."""
    state = {f"student.{name}": value for name, value in learner.student.state_dict().items()} | learner.state()
    return {name: value.clone() for name, value in state.items()}


def test_an_infinite_gradient_behind_a_finite_loss_is_skipped(ws: Workspace) -> None:
    notes: list[str] = []
    stage = loop(ws, tiny(ws, epochs=2), lambda event: notes.append(event.message) if event.kind == "note" else None)
    stage.train_epoch()
    stage.validate_epoch()
    before = everything(stage.learner)
    hook = next(stage.learner.student.decoder_parameters()).register_hook(lambda gradient: gradient * float("inf"))
    stage.train_epoch()
    hook.remove()
    after = everything(stage.learner)
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert stage.progress.skipped == stage.progress.bad_streak == 2
    assert all("gradient is not finite" in note for note in notes) and len(notes) == 2
    lines = [json.loads(line) for line in (stage.checkpoints.folder.parent / NONFINITE).read_text().splitlines()]
    assert [(line["epoch"], line["step"], line["found"]) for line in lines] == [(2, 1, "gradient"), (2, 2, "gradient")]
    assert sorted(frame for line in lines for frame in line["frames"]) == [f"rooms-{number:03d}" for number in range(8)]


@pytest.mark.parametrize("value", [float("inf"), 1e20])
def test_an_impossible_picture_does_not_reach_the_statistics(ws: Workspace, monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    epoch_of = Batches.epoch

    def poisoned(batches: Batches, epoch: int, first: int = 0) -> Iterator[tuple[Batch, dict[str, Tensor]]]:
        for number, (batch, tensors) in enumerate(epoch_of(batches, epoch, first)):
            yield batch, tensors | ({"rgb": tensors["rgb"] * value} if number == 0 else {})

    monkeypatch.setattr(Batches, "epoch", poisoned)
    events: list[TrainEvent] = []
    stage = loop(ws, tiny(ws, epochs=2), events.append)
    stage.run()
    assert stage.progress.skipped == 2 and stage.progress.bad_streak == 0
    assert all(bool(torch.isfinite(value).all()) for value in everything(stage.learner).values())
    assert [event.values["train/skipped_batches"] for event in events if event.kind == "epoch"] == [1.0, 2.0]


def test_as_many_in_a_row_as_were_allowed_end_it(ws: Workspace) -> None:
    stage = loop(ws, tiny(ws, epochs=9, max_bad_batches=3))
    next(stage.learner.student.decoder_parameters()).register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(
        VortexError, match=r"3 batches in a row were not finite \(gradient\), the last at epoch 2, step 1: frames rooms-"
    ) as caught:
        stage.run()
    assert caught.value.details[0].startswith("frames of all 3: rooms-") and caught.value.details[0].count("rooms-") > 4
    assert stage.progress.skipped == 3
