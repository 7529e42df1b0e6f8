"""The frames of a run, shared out: to this process, or to Ray actors that each own a set of teachers."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from core.errors import VortexError
from core.machine import cores
from pipelines.device import LOCAL, RAY_SWITCHES, start_ray
from pipelines.label.labeller import Job, Labeller
from pipelines.label.plan import Task
from pipelines.label.work import Fault, Mark
from pipelines.runs.stop import Stop, Stopped

if TYPE_CHECKING:
    from models.teachers.contract import AnyTeacher

DEATHS: Final = 2
"""How often a frame may end the process that works on it: once may be bad luck, twice is the frame."""


def alone(job: Job, tasks: Sequence[Task], teachers: Mapping[str, AnyTeacher], stop: Stop) -> Iterator[Mark]:
    """Label the frames one after the other in this process. Raises Stopped between two frames."""
    labeller = Labeller(job, teachers)
    for task in tasks:
        if stop.requested():
            raise Stopped
        mark = labeller.label(task)
        # Ctrl-C reaches a teacher's own process too: what it broke off is not the frame's fault.
        if mark.faults and stop.requested():
            raise Stopped
        yield mark


def together(job: Job, tasks: Sequence[Task], workers: int, stop: Stop) -> Generator[Mark, None, None]:
    """Label the frames with `workers` Ray actors on this machine, one frame at a time each.

    A frame whose actor dies goes to another one, and a new actor takes the place of the dead. Raises Stopped when asked to stop, and
    VortexError for what concerns every frame.
    """
    with _ray(workers, stop) as ray:
        share = _gpu_share(ray, workers)
        actor = ray.remote(num_cpus=1, num_gpus=share, max_restarts=0)(_Worker)
        waiting, deaths = deque(tasks), Counter[str]()
        idle: list[Any] = [actor.remote(job) for _ in range(min(workers, len(tasks)))]
        busy: dict[Any, tuple[Any, Task]] = {}
        while waiting or busy:
            while idle and waiting:
                worker, task = idle.pop(), waiting.popleft()
                busy[worker.label.remote(task)] = (worker, task)
            ready, _ = ray.wait(list(busy), num_returns=1, timeout=0.2)
            if stop.requested():
                raise Stopped
            for answer in ready:
                worker, task = busy.pop(answer)
                mark = _answer(ray, answer)
                if mark is not None:
                    idle.append(worker)
                    yield mark
                    continue
                idle.append(actor.remote(job))
                deaths[task.frame.id] += 1
                if deaths[task.frame.id] < DEATHS:
                    waiting.append(task)
                else:
                    reason = f"ended the process that worked on it {DEATHS} times"
                    yield Mark(task.frame.id, task.wanted, {}, tuple(Fault(label, "the teachers", reason) for label in task.wanted))


class _Worker:
    """The actor. Errors of ours travel as values: as exceptions they would arrive wrapped in Ray's."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._labeller: Labeller | None = None

    def label(self, task: Task) -> Mark | VortexError:
        try:
            self._labeller = self._labeller or Labeller(self._job)
            return self._labeller.label(task)
        except VortexError as error:
            return error


def _answer(ray: Any, answer: Any) -> Mark | None:
    """What an actor gave back; None when it died. Raises its VortexError."""
    try:
        result = ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise VortexError(
            f"a labelling worker failed: {type(error.cause).__name__}: {error.cause}",
            "run it with --workers 1 and --traceback to see where",
        ) from error
    except ray.exceptions.RayError:
        return None
    if isinstance(result, VortexError):
        raise result
    assert isinstance(result, Mark)
    return result


@contextmanager
def _ray(workers: int, stop: Stop) -> Iterator[Any]:

    # Ray reads its switches while it is imported.
    os.environ.update(RAY_SWITCHES)
    import ray
    import ray.exceptions

    logging.getLogger("ray").setLevel(logging.ERROR)
    # Without an address a forgotten cluster file of this machine would be joined instead.
    cpus = max(workers, cores())
    start_ray(LOCAL, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, num_cpus=cpus)
    stop.listen()  # ray.init took the signals
    try:
        yield ray
    finally:
        ray.shutdown()


def _gpu_share(ray: Any, workers: int) -> float:
    """The part of a GPU that each actor takes: as many on one card as are needed, so that all of them find a place."""
    cards = int(ray.cluster_resources().get("GPU", 0))
    return 1.0 / -(-workers // cards) if cards else 0.0
