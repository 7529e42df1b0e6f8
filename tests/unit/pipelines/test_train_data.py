"""What a batch holds is a function of seed, epoch and position: not of threads, workers or where a run was interrupted."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import VortexError
from models import augment
from pipelines import frames as frames_module
from pipelines.data.datasets import DataRef
from pipelines.frames import load_arrays
from pipelines.recipe import load
from pipelines.train.data import Batch, TrainingData, epoch_order
from pipelines.train.sources import pick
from tests.unit.pipelines.training_set import SIZE, fill
from validation.manifest import Frame, write_manifest


@pytest.fixture
def set_of_frames(tmp_path: Path) -> tuple[DataRef, list[Frame]]:
    frames = fill(tmp_path, teacher="a-teacher")
    write_manifest(tmp_path / "manifest.jsonl", frames)
    return DataRef("set", tmp_path / "manifest.jsonl", tmp_path, "rooms", "room", str(tmp_path), None), frames


def make(ref: DataRef, frames: list[Frame], *, seed: int = 0, threads: int = 1) -> TrainingData:
    arrays = load_arrays(ref, frames, SIZE)
    return TrainingData([arrays], partial(augment.build, load("v5").augmentation.model_dump(), SIZE), seed, threads)


def same(a: Batch, b: Batch) -> bool:
    return a.ids == b.ids and all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


def test_every_frame_is_drawn_once_and_each_epoch_in_a_new_order() -> None:
    first, again, second = (epoch_order([20], [None], 4, "within_batch", seed=1, epoch=epoch) for epoch in (0, 0, 1))
    assert first.shape == (5, 4)
    assert sorted(first.ravel()) == list(range(20))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_fewer_frames_than_a_batch_make_one_small_one() -> None:
    assert epoch_order([3], [None], 16, "within_batch", seed=0, epoch=0).shape == (1, 3)


def test_within_batch_mixing_keeps_the_share_in_every_batch_and_repeats_the_smaller_set() -> None:
    order = epoch_order([10, 40], [0.5, 0.5], 8, "within_batch", seed=0, epoch=0)
    assert order.shape == (10, 8)
    assert all(sum(index < 10 for index in row) == 4 for row in order)
    counts = Counter(order.ravel().tolist())
    assert all(counts[index] == 4 for index in range(10))
    assert all(counts[index] == 1 for index in range(10, 50))


def test_alternating_mixing_gives_whole_batches_by_share() -> None:
    order = epoch_order([10, 40], [0.25, 0.75], 4, "alternating", seed=0, epoch=0)
    sources = [{index < 10 for index in row} for row in order]
    assert all(len(source) == 1 for source in sources)
    assert sum(source == {True} for source in sources) == pytest.approx(len(order) / 4, abs=1)


def test_batches_do_not_depend_on_threads_or_on_where_the_epoch_is_entered(set_of_frames: tuple[DataRef, list[Frame]]) -> None:
    ref, frames = set_of_frames
    order = epoch_order([len(frames)], [None], 4, "within_batch", seed=0, epoch=2)
    alone = list(make(ref, frames).batches(order, 2, 0))
    threaded = list(make(ref, frames, threads=3).batches(order, 2, 0))
    entered = list(make(ref, frames).batches(order, 2, 1))
    assert len(alone) == 3
    assert all(same(a, b) for a, b in zip(alone, threaded, strict=True))
    assert all(same(a, b) for a, b in zip(alone[1:], entered, strict=True))


def test_workers_share_out_the_same_frames_augmented_the_same(set_of_frames: tuple[DataRef, list[Frame]]) -> None:
    ref, frames = set_of_frames
    order = epoch_order([len(frames)], [None], 4, "within_batch", seed=0, epoch=0)
    whole = next(make(ref, frames).batches(order, 0, 0))
    parts = [next(make(ref, frames).batches(order, 0, 0, rank, 2)) for rank in range(2)]
    for rank, part in enumerate(parts):
        assert part.ids == whole.ids[rank::2]
        assert torch.equal(part.tensors["rgb"], whole.tensors["rgb"][rank::2])
        assert torch.equal(part.tensors["teacher_depth"], whole.tensors["teacher_depth"][rank::2])


def test_a_seed_changes_the_augmentation(set_of_frames: tuple[DataRef, list[Frame]]) -> None:
    ref, frames = set_of_frames
    order = epoch_order([len(frames)], [None], 4, "within_batch", seed=0, epoch=0)
    a, b = (next(make(ref, frames, seed=seed).batches(order, 0, 0)) for seed in (0, 1))
    assert a.ids == b.ids and not torch.equal(a.tensors["rgb"], b.tensors["rgb"])


def test_batch_has_what_the_loss_takes(set_of_frames: tuple[DataRef, list[Frame]]) -> None:
    ref, frames = set_of_frames
    order = epoch_order([len(frames)], [None], 4, "within_batch", seed=0, epoch=0)
    batch = next(make(ref, frames).batches(order, 0, 0))
    tensors = batch.to(torch.device("cpu"))
    height, width = SIZE
    assert tensors["rgb"].shape == (4, 3, height, width) and tensors["rgb"].is_contiguous(memory_format=torch.channels_last)
    assert tensors["rgb"].min() >= 0 and tensors["rgb"].max() <= 1
    for name in ("teacher_depth", "tof_depth", "tof_confidence", "reference"):
        assert tensors[name].shape == (4, 1, height, width) and tensors[name].dtype == torch.float32
    assert tensors["segmentation"].shape == (4, height, width) and tensors["segmentation"].dtype == torch.int64
    unlabelled = [index for index, name in enumerate(batch.ids) if int(name[-3:]) % 2]
    assert all((tensors["segmentation"][index] == 255).all() for index in unlabelled)
    assert tensors["has_teacher"].all() and (tensors["tof_depth"] == 0).all()


def test_arrays_are_resized_and_in_metres(set_of_frames: tuple[DataRef, list[Frame]]) -> None:
    ref, frames = set_of_frames
    arrays = load_arrays(ref, frames, SIZE)
    assert arrays.resident and load_arrays(ref, frames, SIZE) is arrays
    first = arrays[0]
    assert first["rgb"].shape == (*SIZE, 3) and first["rgb"].dtype == np.uint8
    assert first["reference"].min() > 0.5 and first["reference"].max() < 6
    assert np.allclose(first["teacher_depth"], first["reference"] * 1.05, atol=2e-3)
    assert set(np.unique(first["segmentation"])) <= {0, 1}
    assert "segmentation" not in arrays[1]


def test_what_does_not_fit_into_memory_is_decoded_on_demand(set_of_frames: tuple[DataRef, list[Frame]]) -> None:
    ref, frames = set_of_frames
    frames_module._cache.clear()
    lazy = load_arrays(ref, frames, SIZE, budget_bytes=1000)
    assert not lazy.resident
    kept = load_arrays(ref, frames, SIZE)
    for one, other in zip(lazy, kept, strict=True):
        assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_missing_file_is_named(set_of_frames: tuple[DataRef, list[Frame]]) -> None:
    ref, frames = set_of_frames
    (ref.root / frames[3].rgb).unlink()
    frames_module._cache.clear()
    with pytest.raises(VortexError, match=r"003\.png: .*missing"):
        load_arrays(ref, frames, SIZE)


def test_a_limit_spreads_over_the_stream() -> None:
    frames = [
        Frame(id=str(number), domain="d", split="train", sequence="s", camera="c", rgb="a.png", depth="b.png", depth_unit="mm")
        for number in range(100)
    ]
    assert [frame.id for frame in pick(frames, "train", 4)] == ["0", "25", "50", "75"]
    assert pick(frames, "train", None) == frames and pick(frames, "val", 4) == []
