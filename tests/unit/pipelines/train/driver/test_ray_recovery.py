"""What is said and done when workers are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines.runs.events import Diverged, Journal, failure


@pytest.fixture
def lost() -> dict[int, Exception]:
    """What Ray reports when rank 1 dies: rank 0 fails for want of it."""
    from ray.exceptions import ActorDiedError

    return {0: RuntimeError("gloo: connection closed by peer"), 1: ActorDiedError()}


def test_three_restarts_from_one_checkpoint_and_then_the_end(tmp_path: Path, lost: dict[int, Exception]) -> None:
    from pipelines.train.driver.ray_recovery import LOSSES, Recovery

    journal = Journal(tmp_path / "events.jsonl")
    recovery = Recovery(journal.path, tmp_path, "run-1")
    for _ in range(LOSSES):
        recovery.after_exception(None, lost)
    assert [event.kind for event in journal.read()] == ["note"] * LOSSES
    (tmp_path / "latest").symlink_to("epoch-0001-step-000000")
    for _ in range(LOSSES):  # a new checkpoint is progress: the count begins anew
        recovery.after_exception(None, lost)
    events = list(journal.read())
    assert [event.kind for event in events] == ["note"] * LOSSES
    assert events[0].message == "worker 1 died with its process or machine: training goes on from the newest checkpoint"
    with pytest.raises(VortexError, match="again after 3 restarts"):  # which ends the training
        recovery.after_exception(None, lost)
    (end,) = journal.read()
    assert end.kind == "failed" and "again after 3 restarts" in end.message and end.hint.endswith("vortex train --resume run-1")


def test_what_a_worker_says_of_itself_ends_the_training_at_once(tmp_path: Path) -> None:
    from pipelines.train.driver.ray_recovery import Recovery

    journal = Journal(tmp_path / "events.jsonl")
    journal.write(failure(Diverged("run-1: 3 steps in a row were not finite", "lower the rate")))
    with pytest.raises(Diverged, match="3 steps in a row"):
        Recovery(journal.path, tmp_path, "run-1").after_exception(None, {0: RuntimeError("gloo: connection closed by peer")})
    assert [event.kind for event in journal.read()] == ["failed"]


def test_those_that_died_are_named_and_not_those_that_missed_them(lost: dict[int, Exception]) -> None:
    from ray.exceptions import ActorDiedError

    from pipelines.train.driver.ray_recovery import describe

    assert describe(lost) == "worker 1 died with its process or machine"
    assert describe({2: ActorDiedError(), 1: ActorDiedError()}) == "workers 1, 2 died with their process or machine"
    assert describe({0: ValueError("first\nsecond\n\n")}) == "worker 0 failed (second)"
    assert describe({0: lost[0]}) == "worker 0 lost the connection to another one"
    assert describe({3: ValueError()}) == "worker 3 failed (ValueError)"
