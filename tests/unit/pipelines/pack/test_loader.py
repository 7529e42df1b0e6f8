"""What a batch holds is a function of seed, epoch and position: not of threads, workers or where a run was interrupted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import VortexError
from models import augment
from pipelines.data.datasets import DataRef, resolve
from pipelines.pack.layout import ROLES
from pipelines.pack.loader import Batch, Loader
from pipelines.pack.preparing import prepare
from pipelines.pack.reading import Selection
from pipelines.pack.sampler import epoch_order
from pipelines.recipes.recipe import load
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_set import SIZE, fill
from validation.manifest import write_manifest

Tensors = tuple[tuple[str, ...], dict[str, torch.Tensor]]
AUGMENTED = load("v5").augmentation.model_dump()
CPU = torch.device("cpu")


@pytest.fixture
def selection(workspace: Workspace, tmp_path: Path) -> Selection:
    write_manifest(tmp_path / "set" / "manifest.jsonl", fill(tmp_path / "set", train=13, teacher="a-teacher"))
    made = prepare(tmp_path / "packs", ref_of(workspace, tmp_path / "set"), SIZE).pack
    return Selection(made, made.select("train"))


def ref_of(ws: Workspace, folder: Path) -> DataRef:
    return resolve(ws, name_or_manifest=str(folder / "manifest.jsonl"))


def make(*parts: Selection, seed: int = 0, threads: int = 1, steps: dict[str, object] = AUGMENTED, processes: int = 0) -> Loader:
    return Loader(parts, partial(augment.build, steps, SIZE), seed, threads, processes=processes)


def kept(batches: Iterable[Batch]) -> list[Tensors]:
    return [(batch.ids, batch.to(CPU)) for batch in batches]


def same(a: Tensors, b: Tensors) -> bool:
    return a[0] == b[0] and all(torch.equal(a[1][name], b[1][name]) for name in a[1])


def test_batches_do_not_depend_on_threads_or_on_where_the_epoch_is_entered(selection: Selection) -> None:
    order = epoch_order([len(selection)], [None], 4, "within_batch", seed=0, epoch=2)
    alone = kept(make(selection, threads=0).batches(order, 2))
    assert len(alone) == 3
    for threads in (1, 3):
        loader = make(selection, threads=threads)
        for _ in range(2):  # the second time with buffers that were used before
            assert all(same(a, b) for a, b in zip(alone, kept(loader.batches(order, 2)), strict=True))
    entered = kept(make(selection).batches(order, 2, 1))
    assert all(same(a, b) for a, b in zip(alone[1:], entered, strict=True))


def test_batches_of_processes_are_those_of_threads_and_nothing_of_them_stays(selection: Selection) -> None:
    order = epoch_order([len(selection)], [None], 4, "within_batch", seed=0, epoch=2)
    alone = kept(make(selection, threads=0).batches(order, 2))
    with make(selection, processes=2) as loader:
        for _ in range(2):
            assert all(same(a, b) for a, b in zip(alone, kept(loader.batches(order, 2)), strict=True))
        with pytest.raises(IndexError):
            kept(loader.batches(np.array([[0, 1, 2, 10**6]]), 0))
        assert all(same(a, b) for a, b in zip(alone, kept(loader.batches(order, 2)), strict=True))
        assert loader._workers
        processes = list(loader._workers._pool._processes.values())
        os.kill(processes[0].pid, signal.SIGKILL)
        with pytest.raises(VortexError, match="ended unexpectedly"):
            for _ in range(1000):
                kept(loader.batches(order, 2))
    for process in processes:
        process.join(10)
        assert not process.is_alive()


def test_workers_share_out_the_same_frames_augmented_the_same(selection: Selection) -> None:
    order = epoch_order([len(selection)], [None], 4, "within_batch", seed=0, epoch=0)
    ids, whole = kept(make(selection).batches(order, 0))[1]
    for rank in range(2):
        part_ids, part = kept(make(selection).batches(order, 0, 0, rank, 2))[1]
        assert part_ids == ids[rank::2]
        assert all(torch.equal(part[name], whole[name][rank::2]) for name in whole)


def test_a_seed_changes_the_augmentation_and_each_time_a_frame_is_drawn(selection: Selection) -> None:
    order = np.zeros((1, 4), np.int64)
    (_, a), (_, b) = (kept(make(selection, seed=seed).batches(order, 0))[0] for seed in (0, 1))
    assert not torch.equal(a["rgb"], b["rgb"])
    assert not torch.equal(a["rgb"][0], a["rgb"][1])


def test_batch_has_what_the_loss_takes(selection: Selection) -> None:
    order = epoch_order([len(selection)], [None], 4, "within_batch", seed=0, epoch=0)
    ids, tensors = kept(make(selection).batches(order, 0))[0]
    height, width = SIZE
    assert tensors["rgb"].shape == (4, 3, height, width) and tensors["rgb"].is_contiguous(memory_format=torch.channels_last)
    assert tensors["rgb"].min() >= 0 and tensors["rgb"].max() <= 1
    for name in ("teacher_depth", "tof_depth", "tof_confidence", "reference"):
        assert tensors[name].shape == (4, 1, height, width) and tensors[name].dtype == torch.float32
    assert tensors["segmentation"].shape == (4, height, width) and tensors["segmentation"].dtype == torch.int64
    unlabelled = [index for index, name in enumerate(ids) if int(name[-3:]) % 2]
    assert unlabelled and all((tensors["segmentation"][index] == 255).all() for index in unlabelled)
    assert tensors["has_teacher"].all() and (tensors["tof_depth"] == 0).all()


def test_without_augmentation_a_batch_is_what_is_stored_and_travels_as_stored(selection: Selection) -> None:
    order = epoch_order([len(selection)], [None], 4, "within_batch", seed=0, epoch=0)
    loader = make(selection, steps={}, threads=0)
    pack = selection.pack
    for batch in loader.batches(order, 0):
        assert batch.nbytes == 4 * SIZE[0] * SIZE[1] * (3 + 2 + 2 + 1)
        for slot, (part, frame) in enumerate(batch.filler.places(batch.numbers)):
            assert part is selection
            for role, stored in pack.stored(frame).items():
                assert np.array_equal(batch.buffer.arrays[role][slot], stored)
        metres = batch.to(CPU)["reference"][0, 0].numpy()
        assert np.array_equal(
            metres, pack.stored(batch.filler.places(batch.numbers)[0][1])["reference"].astype(np.float32) / np.float32(1000)
        )


def test_what_a_batch_made_outlives_its_buffer(selection: Selection) -> None:
    order = epoch_order([len(selection)], [None], 4, "within_batch", seed=0, epoch=0)
    loader = make(selection, steps={}, threads=1)
    stream = loader.batches(order, 0)
    first = next(stream).to(CPU)
    before = {name: tensor.clone() for name, tensor in first.items()}
    buffers = {id(batch.buffer) for batch in stream}
    assert len(buffers) <= 2
    assert all(torch.equal(first[name], before[name]) for name in before)


def test_parts_with_other_roles_share_a_batch_and_keep_their_units(workspace: Workspace, tmp_path: Path) -> None:
    """A metric teacher's frames, a relative one's, and frames without any: each is found again in its own rows."""
    parts, units = [], ("m", "relative", None)
    for unit in units:
        root = tmp_path / f"set-{unit}"
        rows = fill(root, train=4, teacher="a-teacher" if unit else None)
        for row in rows:
            if unit == "relative":
                np.save(root / str(row.teacher_depth), np.full((48, 64), 1999.0, np.float32))
        write_manifest(root / "manifest.jsonl", [_with_unit(row, unit) for row in rows])
        made = prepare(tmp_path / "packs", ref_of(workspace, root), SIZE).pack
        parts.append(Selection(made, made.select("train")))
    loader = make(*parts, steps={"hflip": 1.0})
    assert loader.counts == [4, 4, 4]
    order = np.array([[0, 4, 8, 5], [9, 1, 6, 2]])
    for expected, (_, tensors) in zip(
        (["m", "relative", None, "relative"], [None, "m", "relative", "m"]), kept(loader.batches(order, 0)), strict=True
    ):
        assert tensors["has_teacher"].tolist() == [unit is not None for unit in expected]
        for unit, teacher, reference in zip(expected, tensors["teacher_depth"], tensors["reference"], strict=True):
            if unit == "m":
                assert torch.allclose(teacher, reference * 1.05, atol=2e-3)
            else:
                assert (teacher == (1999.0 if unit else 0.0)).all()


def _with_unit(frame: object, unit: str | None) -> object:
    import dataclasses

    return dataclasses.replace(frame, teacher_unit=unit) if unit else frame  # type: ignore[type-var]


def test_a_batch_that_fails_says_why_and_the_loader_still_works(selection: Selection) -> None:
    loader = make(selection, threads=2)
    bad = np.array([[0, 1, 2, 3], [0, 1, 2, 10**6]])
    with pytest.raises(IndexError):
        kept(loader.batches(bad, 0))
    assert len(kept(loader.batches(bad[:1], 0))) == 1


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """400 MB of packed frames pass through two small buffers: anonymous memory stays within a few megabytes."""
    from pipelines.pack.reading import Pack
    from tests.unit.pipelines.sparse_pack import sparse_pack

    size, frames = (240, 320), 1200
    pack = sparse_pack(tmp_path / "pack", frames, size)
    assert sum(ROLES[role].row_bytes(size) for role in ("rgb", "reference", "segmentation")) * frames > 4e8
    loader = Loader([Selection(pack, pack.select("train"))], partial(augment.build, {}, size), 0, threads=1)
    order = epoch_order([frames], [None], 4, "within_batch", seed=0, epoch=0)
    for _ in loader.batches(order[:4], 0):
        pass
    before = anonymous_bytes()
    seen = sum(batch.nbytes for batch in loader.batches(order, 0))
    assert seen == pack.bytes and isinstance(pack, Pack)
    assert anonymous_bytes() - before < 6e6


def anonymous_bytes() -> float:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc: this system does not say how much memory is its own")
    line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024.0
