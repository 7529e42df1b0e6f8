"""A training ends before its wall: as a truncated version, or for the scheduler to start it again; in segments it is the same training."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from core.errors import Interrupted, UsageError, VortexError
from pipelines.hub.open import hub
from pipelines.runs.events import TrainEvent
from pipelines.runs.stop import REQUEUE, Requeue, stop_on_signals
from pipelines.runs.wall import Wall, duration, parse, wall
from pipelines.train.driver.run import lay_out, train
from pipelines.train.plan.resume import resume
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import different, final_state, ignore, tiny

HOUR = 3600.0


class Clock:
    """A clock that goes on by so much at every step and epoch of a training."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        return self.now

    def hear(self, event: TrainEvent) -> None:
        self.now += self.step * (event.kind in ("step", "epoch"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("12h", 43200), ("90m", 5400), ("43200", 43200), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400)]
)
def test_wall_times_are_read(text: str, seconds: float) -> None:
    assert parse(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0h", "-1h", "soon", "12x", "1h 30m", "nan", "٣", "400d", "1h30"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--walltime .* is not a time"):
        parse(text)


def test_durations_are_said_as_they_are_read() -> None:
    assert [duration(seconds) for seconds in (43200, 5400, 45, 0, 3661)] == ["12h", "1h30m", "45s", "0s", "1h1m1s"]
    assert parse(duration(98765)) == 98765


def test_a_wall_is_said_with_its_unit() -> None:
    now = time.time()
    made = wall("12", {}, lambda: now)
    assert str(made) == f"12s from now, at {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now + 12))}; training stops before"


def test_the_nearest_wall_counts_and_slurm_has_its_own() -> None:
    slurm = {"SLURM_JOB_START_TIME": "1000", "SLURM_JOB_END_TIME": str(1000 + 4 * 3600)}
    clock = lambda: 2000.0  # noqa: E731
    assert wall(None, {}, clock) is None
    asked = wall("12h", {}, clock)
    job = wall(None, slurm, clock)
    both = wall("1h", slurm, clock)
    assert asked and (asked.end, asked.name) == (2000 + 12 * HOUR, "wall time 12h")
    assert job and (job.end, job.name) == (1000 + 4 * HOUR, "wall time 4h")
    assert both and (both.end, both.name) == (2000 + HOUR, "wall time 1h")
    cut = wall("12h", slurm, clock)
    assert cut and (cut.end, cut.name) == (1000 + 4 * HOUR, "wall time 4h"), "what is said is the wall that is met"


def test_the_margin_is_twice_the_longest_pause_of_the_training() -> None:
    now = itertools.chain([0.0, 100.0, 130.0, 200.0, 230.0], itertools.repeat(13940.0))
    made = Wall(14400.0, "wall time 4h", lambda: next(now))
    assert made.margin == 60
    for kind in ("started", "step", "epoch", "step"):  # what comes before the first step is not counted
        made.see(TrainEvent(kind))  # type: ignore[arg-type]
    assert made.margin == 60 + 2 * 70
    assert not made.near()
    made.see(TrainEvent("epoch"))
    assert made.near()


def test_schedulers_warn_and_people_ask() -> None:
    with stop_on_signals() as stop:
        assert stop.reason() is None
        for _ in range(3):  # a scheduler may warn more than once
            os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.reason() == "wall" and stop.requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason() == "wall"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def segments(ws: Workspace, run: str, clock: Clock, hours: float, on_event: Callable[[TrainEvent], None] = ignore) -> list[int]:
    """Train under walls of so many hours until the run is finished; the epochs that each segment finished."""
    finished = []
    while True:
        epochs: list[int] = []

        def hear(event: TrainEvent, epochs: list[int] = epochs) -> None:
            clock.hear(event)
            on_event(event)
            epochs += [event.epoch] if event.kind == "epoch" else []

        clock.now += 60.0
        made = Wall(clock.now + hours * HOUR, f"wall time {hours:g}h", clock)
        finished.append(epochs)
        try:
            train(ws, resume(ws, run), hear, wall=made)
            return [len(segment) for segment in finished]
        except Requeue as error:
            assert error.exit_code == 75 and run in error.hint


@pytest.mark.endurance
def test_twelve_hours_in_three_requeued_segments_are_one_training(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUEUE, "1")
    whole, cut = tiny(ws, epochs=4), tiny(ws, epochs=4)
    train(ws, whole, ignore)
    lay_out(cut, cut.folder(ws))
    # 12 steps and epochs of an hour each.
    done = segments(ws, cut.run, Clock(HOUR), hours=7)
    assert len(done) == 3 and sum(done) == 4 and min(done) > 0
    assert different(final_state(ws, cut), final_state(ws, whole)) == []
    assert [(version.name, version.truncated) for version in hub(ws).versions()] == [("v10", None), ("v11", None)]


def test_at_the_wall_the_best_so_far_becomes_a_truncated_version_and_the_run_goes_on(ws: Workspace) -> None:
    whole, cut = tiny(ws), tiny(ws)
    train(ws, whole, ignore)
    clock = Clock(HOUR)
    first = train(ws, cut, clock.hear, wall=Wall(7 * HOUR, "wall time 7h", clock))
    said = "train stopped at 1/3 epochs, wall time 7h"
    assert first.truncated == said and first.version and (first.version.name, first.version.truncated) == ("v11", said)
    assert json.loads((cut.folder(ws) / "state.json").read_text())["status"] == "truncated"
    # A wall that leaves no time for another epoch registers nothing a second time.
    with pytest.raises(Interrupted, match="at the wall") as caught:
        train(ws, resume(ws, cut.run), ignore, wall=Wall(0.0, "wall time 0s", lambda: 1.0))
    assert caught.value.exit_code == 130
    plan = resume(ws, cut.run)
    assert plan.number == "v12"
    last = train(ws, plan, ignore).version
    assert last and (last.name, last.truncated) == ("v12", None)
    (cut.folder(ws) / "state.json").unlink()
    assert resume(ws, cut.run).number == "v12", "of two versions of a run the whole one is its end"
    assert ("weights", "v11") in {edge.triple()[:2] for edge in last.parents} and last.run_id != first.version.run_id
    assert different(final_state(ws, cut), final_state(ws, whole)) == []
    assert any("v12 already" in line for line in resume(ws, cut.run).inferred)
    assert [version.name for version in hub(ws).versions()] == ["v10", "v11", "v12"]


def test_a_stop_between_two_walls_does_not_register_the_same_student_twice(ws: Workspace) -> None:
    plan, clock = tiny(ws, epochs=4), Clock(HOUR)
    first = train(ws, plan, clock.hear, wall=Wall(7 * HOUR, "wall time 7h", clock)).version
    assert first and first.truncated == "train stopped at 1/4 epochs, wall time 7h"
    with pytest.raises(Interrupted, match="nothing of it is lost"):
        train(ws, resume(ws, plan.run), lambda event: os.kill(os.getpid(), signal.SIGINT) if event.kind == "started" else None)
    with pytest.raises(Interrupted, match="at the wall"):
        train(ws, resume(ws, plan.run), ignore, wall=Wall(0.0, "wall time 0s", lambda: 1.0))
    assert [version.name for version in hub(ws).versions()] == ["v10"]


def test_a_truncated_version_whose_registration_broke_off_is_registered_first(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, clock = tiny(ws), Clock(HOUR)
    with monkeypatch.context() as broken:
        broken.setattr("pipelines.train.driver.run.register_version", fail)
        with pytest.raises(VortexError, match="disk is full") as caught:
            train(ws, plan, clock.hear, wall=Wall(7 * HOUR, "wall time 7h", clock))
    assert "what was trained until the wall is safe, and is registered first by: vortex train --resume" in caught.value.hint
    assert hub(ws).versions() == []
    last = train(ws, resume(ws, plan.run), ignore).version
    assert [(version.name, version.truncated) for version in hub(ws).versions()] == [
        ("v10", "train stopped at 1/3 epochs, wall time 7h"),
        ("v11", None),
    ]
    assert hub(ws).get("v10").metrics and last and ("weights", "v10") in {edge.triple()[:2] for edge in last.parents}


def fail(*_: object) -> None:
    raise VortexError("the disk is full", "make room")


def test_a_wall_before_the_first_epoch_registers_nothing(ws: Workspace) -> None:
    plan = tiny(ws)
    clock = Clock(HOUR)
    with pytest.raises(Interrupted, match="was stopped at the wall") as caught:
        train(ws, plan, clock.hear, wall=Wall(3 * HOUR, "wall time 3h", clock))
    assert caught.value.hint == f"vortex train --resume {plan.run}" and caught.value.exit_code == 130
    assert hub(ws).versions() == []
