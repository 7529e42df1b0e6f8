"""Two processes that share each batch out learn what one learns from all of it, as far as nothing in the network looks at a batch."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from models.losses import HybridDepthLoss, MultiTaskLoss
from models.student import Student, StudentConfig
from pipelines.pack.sampler import Sampler
from pipelines.train.plan.switches import Switches
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.learner import Task

FRAMES, BATCH, STEPS, SIZE = 12, 4, 3, (32, 32)


def frames() -> dict[str, Tensor]:
    """A dozen frames, every pixel of which has a depth and a class: the mean over ranks is then the mean over the batch."""
    random = torch.Generator().manual_seed(0)
    depth = torch.rand(FRAMES, 1, *SIZE, generator=random) * 4 + 0.5
    return {
        "rgb": torch.rand(FRAMES, 3, *SIZE, generator=random),
        "teacher_depth": depth,
        "tof_depth": torch.zeros_like(depth),
        "reference": depth,
        "tof_confidence": torch.zeros_like(depth),
        "has_teacher": torch.ones(FRAMES, dtype=torch.bool),
        "segmentation": torch.randint(0, 6, (FRAMES, *SIZE), generator=random),
    }


def learn(group: ProcessGroup) -> tuple[nn.Module, list[list[int]]]:
    """Train a student for three steps on this process's part of each batch; also which frames that were.

    Batch normalisation uses its running statistics, and the depth loss is a plain mean: berHu's threshold is a part of a batch's.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    student = Student(StudentConfig("mobilenetv3_small_100", SIZE)).eval()
    task = Task(student, MultiTaskLoss(use_kendall=True, depth_loss=HybridDepthLoss(kind="mse")), Switches.eager(), print)
    joined = group.wrap(task)
    # Without momentum or moments: Adam divides by a root, which blows differences of rounding up where gradients are near zero.
    optimizer = torch.optim.SGD(task.parameters(), lr=0.05)
    data, seen = frames(), []
    for row in Sampler([FRAMES], [None], BATCH, "within_batch", 0).order(0)[:STEPS]:
        mine = row[group.rank :: group.size]
        seen.append(mine.tolist())
        optimizer.zero_grad()
        joined({name: tensor[mine] for name, tensor in data.items()}).total.backward()
        optimizer.step()
    return task, seen


def work(rank: int, folder: str) -> None:
    """One of the two processes."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    task, seen = learn(ProcessGroup(rank, 2, torch.device("cpu")))
    torch.save((task.state_dict(), seen), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_learn_what_one_does_and_see_each_frame_once(tmp_path: Path) -> None:
    mp.spawn(work, (str(tmp_path),), nprocs=2)
    alone, batches = learn(ProcessGroup(0, 1, torch.device("cpu")))
    (first, seen_by_first), (second, seen_by_second) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    for batch, a, b in zip(batches, seen_by_first, seen_by_second, strict=True):
        assert len(a) == len(b) and sorted(a + b) == sorted(batch)
    assert np.unique(np.concatenate(batches)).size == FRAMES
    torch.manual_seed(0)
    before = Student(StudentConfig("mobilenetv3_small_100", SIZE)).state_dict()
    for name, weight in alone.state_dict().items():
        assert torch.equal(first[name], second[name]), f"{name} differs between the two"
        torch.testing.assert_close(first[name], weight, rtol=1e-4, atol=1e-6, msg=lambda said, name=name: f"{name}: {said}")
    assert any(not torch.equal(weight, before[name]) for name, weight in alone.student.state_dict().items())  # type: ignore[union-attr]


def test_synchronised_normalisation_keeps_the_activation_and_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a team of GPUs computes with; where there are none, what it is made of can still be looked at.
    monkeypatch.setattr("torch.nn.parallel.DistributedDataParallel", lambda task, device_ids: task)
    student = Student(StudentConfig("mobilenetv3_small_100", SIZE)).eval()
    rgb = torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        before = student(rgb)
        weights = {id(parameter) for parameter in student.parameters()}
        joined = ProcessGroup(0, 2, torch.device("cpu"), sync_batch_norm=True).wrap(copy.copy(student))
        after = joined(rgb)
    kinds = {name for name in (type(module).__name__ for module in joined.modules()) if "BatchNorm" in name}
    assert kinds and all(kind.startswith("SyncBatchNorm") for kind in kinds)
    assert torch.equal(before.depth, after.depth) and torch.equal(before.logits, after.logits)
    assert {id(parameter) for parameter in joined.parameters()} == weights, "the optimiser would hold weights that are no longer used"
