"""The batches of a stage: the same wherever an epoch is entered, with labels where they are asked for, whole and in order on the device."""

from __future__ import annotations

import dataclasses
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from core.errors import UsageError, VortexError
from models import augment, augment_device
from pipelines import workspace as workspaces
from pipelines.data.datasets import resolve
from pipelines.pack.loader import Loader
from pipelines.pack.preparing import packs_folder
from pipelines.pack.preparing import prepare as pack_frames
from pipelines.pack.reading import Selection
from pipelines.pack.sampler import epoch_order
from pipelines.recipes.recipe import load
from pipelines.runs.events import TrainEvent
from pipelines.train.driver.run import lay_out
from pipelines.train.plan.switches import Switches
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.batches import Batches, device_batches
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.loop import StageLoop
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import SIZE, fill, publish, recipe_file
from validation.manifest import write_manifest

Tensors = dict[str, Tensor]
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible to torch"))
AUGMENTATION = load("v5").augmentation.model_dump()
PLAIN = Switches.eager()


@pytest.fixture
def ws(workspace: Workspace, fresh_store: Path) -> Workspace:
    shutil.copytree(fresh_store, workspace.root / "mlruns", dirs_exist_ok=True)
    publish(workspace, "small")
    return workspaces.load(workspace.root)


def staged(ws: Workspace, least: int, *data: str, mixing: str = "within_batch", share: float | None = None) -> TrainPlan:
    stage = {"name": "one", "data": [{"dataset": name, "share": share} for name in data], "mixing": mixing, "epochs": 1}
    path = recipe_file(ws.root / "labels.yaml", stages=[stage | {"labelled_per_batch": least}])
    return planned(ws, recipe=str(path), encoder_weights="none", device="cpu", allow_unvalidated=True)


def started(ws: Workspace, plan: TrainPlan, events: list[TrainEvent]) -> StageLoop:
    lay_out(plan, plan.folder(ws))
    return StageLoop(plan, 0, plan.stage_folder(plan.folder(ws), 0), events.append, lambda: False)


def test_every_batch_of_the_loop_has_its_labels(ws: Workspace) -> None:
    plan = staged(ws, 2, "small")
    assert any("every batch holds at least 2" in line for line in plan.inferred)
    batches = started(ws, plan, []).batches
    for epoch in range(4):
        assert batches.loader.labelled[batches.order(epoch)].sum(axis=1).min() >= 2


def test_an_epoch_is_the_same_wherever_it_is_entered_and_whatever_was_read_before(ws: Workspace) -> None:
    plan = staged(ws, 1, "small")
    group = ProcessGroup(0, 1, torch.device("cpu"))

    def opened() -> Batches:
        return Batches(plan, plan.stages[0], group, lambda done, total, message: None)

    def read(batches: Batches, epoch: int, first: int = 0) -> list[tuple[tuple[str, ...], Tensors]]:
        return [(batch.ids, tensors) for batch, tensors in batches.epoch(epoch, first)]

    uninterrupted = opened()
    epochs = [read(uninterrupted, epoch) for epoch in range(3)]
    assert [len(batches) for batches in epochs] == [2, 2, 2]
    assert len({tuple(ids for ids, _ in batches) for batches in epochs}) == 3, "each epoch has its own order"
    for epoch, first in ((0, 1), (1, 0), (2, 1), (2, 2)):
        assert equal(read(opened(), epoch, first), epochs[epoch][first:])
    assert np.array_equal(opened().order(2), uninterrupted.order(2))


def test_frames_are_packed_by_the_first_training_and_said_so(ws: Workspace) -> None:
    first: list[TrainEvent] = []
    second: list[TrainEvent] = []
    started(ws, staged(ws, 0, "small"), first)
    started(ws, staged(ws, 0, "small"), second)
    assert [event.message.partition(":")[0].rpartition(" in ")[0] for event in first if event.message] == ["small at 64x96 packed"]
    assert first[0].kind == "reading" and not second
    assert len([path for path in packs_folder(ws).iterdir() if path.is_dir()]) == 1


def test_what_no_batch_can_hold_is_refused(ws: Workspace) -> None:
    bare = [dataclasses.replace(frame, segmentation=None, supervision="none") for frame in fill(ws.root / "bare", seed=1)]
    write_manifest(ws.root / "bare" / "manifest.jsonl", bare)
    publish(ws, "other", seed=2)
    with pytest.raises(UsageError, match=r"5 labelled frame.* of 4 frames at most 4 can be"):
        staged(ws, 5, "small")
    with pytest.raises(UsageError, match="of 4 frames at most 4 can be"):
        staged(ws, 5, "small", "other", share=0.5)
    assert staged(ws, 4, "small", "other", share=0.5)
    recipe = recipe_file(ws.root / "one.yaml")
    recipe.write_text(recipe.read_text().replace('"labelled_per_batch": 0', '"labelled_per_batch": 1'))
    with pytest.raises(VortexError, match="none of outside:bare has labels"):
        planned(ws, recipe=str(recipe), manifest=[str(ws.root / "bare" / "manifest.jsonl")], encoder_weights="none", allow_unvalidated=True)


@pytest.fixture
def selection(workspace: Workspace, tmp_path: Path) -> Selection:
    write_manifest(tmp_path / "set" / "manifest.jsonl", fill(tmp_path / "set", train=12))
    ref = resolve(workspace, name_or_manifest=str(tmp_path / "set" / "manifest.jsonl"))
    pack = pack_frames(tmp_path / "packs", ref, SIZE).pack
    return Selection(pack, pack.select("train"))


def fed(selection: Selection, device: str, switches: Switches, first: int = 0, rank: int = 0, size: int = 1) -> list[tuple[tuple, Tensors]]:
    """Ids and tensors of one epoch's batches, kept until the end."""
    on_device = augment_device.build(AUGMENTATION) if switches.augment_on_device else None
    order = epoch_order([len(selection)], [None], 4, "within_batch", 0, 0)
    with Loader([selection], partial(augment.build, {} if on_device else AUGMENTATION, SIZE), 0) as loader:
        batches = device_batches(loader.batches(order, 0, first, rank, size), torch.device(device), switches, on_device)
        return [(batch.ids, tensors) for batch, tensors in batches]


def equal(a: list[tuple[tuple, Tensors]], b: list[tuple[tuple, Tensors]]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(x[0] == y[0] and all(torch.equal(x[1][name].cpu(), y[1][name].cpu()) for name in x[1]) for x, y in pairs)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("ahead", [1, 3, 8])
def test_batches_that_are_sent_ahead_are_those_that_are_not(selection: Selection, device: str, ahead: int) -> None:
    plain = fed(selection, "cpu", PLAIN)
    assert len(plain) == 3 and len({frame for ids, _ in plain for frame in ids}) == 12
    assert equal(fed(selection, device, PLAIN.changed(f"prefetch={ahead}")), plain)


def test_an_epoch_that_is_entered_midway_is_augmented_on_the_device_as_it_was(selection: Selection) -> None:
    switches = PLAIN.changed("augment_on_device=on")
    whole = fed(selection, "cpu", switches)
    assert equal(fed(selection, "cpu", switches, first=1), whole[1:])
    # A team's processes augment their frames as one process does.
    for rank in range(2):
        for (ids, tensors), (all_ids, everything) in zip(fed(selection, "cpu", switches, rank=rank, size=2), whole, strict=True):
            assert ids == all_ids[rank::2]
            torch.testing.assert_close(tensors["rgb"], everything["rgb"][rank::2], rtol=0, atol=1e-6)
            assert torch.equal(tensors["reference"], everything["reference"][rank::2])
