"""The threads of a step have cores of their own while it is computed, and all cores afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.machine import cores
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.threads import apart

TWO_CORES = pytest.mark.skipif(cores() < 2, reason="one core cannot be shared out")


def affinities() -> list[frozenset[int]]:
    """The cores of each thread of this process."""
    threads = (int(task.name) for task in Path("/proc/self/task").iterdir())
    return [frozenset(os.sched_getaffinity(thread)) for thread in threads]


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads of torch, also where the tests have one each."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        torch.ones(1 << 20).add_(1)
        yield
    finally:
        torch.set_num_threads(before)


@TWO_CORES
def test_each_thread_of_a_step_has_cores_that_the_other_has_not(two_threads: None) -> None:
    before, mine = affinities(), os.sched_getaffinity(0)
    with ProcessGroup(0, 1, torch.device("cpu")).apart():
        own = os.sched_getaffinity(0)
        assert own == set(sorted(mine)[0::2])
        assert affinities().count(frozenset(mine - own)) == 1
    assert affinities() == before
    assert os.sched_getaffinity(0) == mine


@TWO_CORES
def test_a_step_that_failed_gives_the_cores_back(two_threads: None) -> None:
    before = affinities()
    with pytest.raises(ZeroDivisionError), apart():
        assert affinities() != before
        _ = 1 / 0
    assert affinities() == before


@pytest.mark.parametrize(("threads", "places"), [(1, 1), (cores() + 1, 1), (2, cores())])
def test_fewer_cores_than_threads_are_not_dealt_out(two_threads: None, threads: int, places: int) -> None:
    torch.set_num_threads(threads)
    before = affinities()
    with apart(0, places):
        assert affinities() == before


def test_a_step_on_a_gpu_leaves_the_threads_where_they_are(two_threads: None) -> None:
    before = affinities()
    with ProcessGroup(0, 1, torch.device("cuda")).apart():
        assert affinities() == before


def test_a_system_that_forbids_it_costs_nothing_but_speed(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("sched_setaffinity")

    before = affinities()
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with apart():
        assert affinities() == before
        assert float(torch.ones(1 << 20).add_(1).sum()) == 2 << 20
