"""The threads that compute a step together, each on cores of its own.

They meet many times a step. Where two of them stand in the queue of one core, behind other work, each waits for the other's turn at every meeting.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

_IN_A_THREAD = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@contextmanager
def apart(place: int = 0, places: int = 1) -> Iterator[None]:
    """Within it this thread and those of torch's OpenMP team have cores of their own; afterwards they may use what this one could before.

    This process is number `place` of `places` that share the machine: of its cores it takes every `places`-th, and of these thread i of n every
    n-th. A thread or process that is started within it inherits this thread's cores. Nothing is done for one thread, for more threads than
    cores, or where the system knows no affinity or torch no OpenMP.
    """
    threads, openmp = torch.get_num_threads(), ctypes.CDLL(torch._C.__file__)
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    cores = sorted(before)[place::places]
    if not 1 < threads <= len(cores) or not hasattr(openmp, "GOMP_parallel"):
        yield
        return
    _in_each_thread(openmp, threads, lambda number: cores[number::threads])
    try:
        yield
    finally:
        _in_each_thread(openmp, threads, lambda number: before)


def _in_each_thread(openmp: ctypes.CDLL, threads: int, cores: Callable[[int], list[int] | set[int]]) -> None:
    """Let thread i of the team run on `cores(i)`: a parallel section, as compilers write it (libgomp manual, "Implementing PARALLEL construct")."""

    def move(_: object) -> None:
        with suppress(OSError):  # a container may forbid it, and a core may go away: the step is then slower, and no less right
            os.sched_setaffinity(0, cores(openmp.omp_get_thread_num()))

    openmp.GOMP_parallel(_IN_A_THREAD(move), None, threads, 0)
