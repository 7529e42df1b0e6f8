"""What those who follow a run from elsewhere read of it, and what stays a run when nothing is to be registered."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import Any

import pytest

from core.errors import Interrupted
from models import checkpoint
from pipelines.hub import hub
from pipelines.train import plan as planning
from pipelines.train.events import Journal, TrainEvent
from pipelines.train.plan import TrainPlan
from pipelines.train.run import lay_out, train
from pipelines.train.state import EVENTS, STATE, Recorder, RunState
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import ignore, tiny


def state(ws: Workspace, plan: TrainPlan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((plan.folder(ws) / STATE).read_text())
    return found


def test_a_run_says_how_far_it_is_from_its_planning_to_its_version(ws: Workspace) -> None:
    plan = tiny(ws, epochs=2)
    lay_out(plan, plan.folder(ws))
    assert state(ws, plan)["status"] == "planned"
    seen = []

    def stop(event: TrainEvent) -> None:
        if event.kind == "epoch":
            seen.append(state(ws, plan))
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(ws, planning.resume(ws, plan.run), stop)
    (training,) = seen
    assert (training["status"], training["stage"], training["epoch"], training["epochs"]) == ("training", "train", 1, 2)
    assert training["pid"] == os.getpid() and training["host"] and training["updated"] > 0
    assert state(ws, plan)["status"] == "stopped"
    train(ws, planning.resume(ws, plan.run), ignore)
    done = state(ws, plan)
    assert (done["status"], done["epoch"], done["version"]) == ("finished", 2, "v10")
    kinds = [event.kind for event in Journal(plan.folder(ws) / EVENTS).read()]
    assert kinds.count("started") == 2 and kinds.count("epoch") == 2 and "step" in kinds and "reading" in kinds


def test_a_run_that_failed_says_so(ws: Workspace) -> None:
    plan = tiny(ws, epochs=1)
    lay_out(plan, plan.folder(ws))
    shutil.rmtree(plan.folder(ws) / "1-train")
    with pytest.raises(Exception, match="start"):
        train(ws, planning.resume(ws, plan.run), ignore)
    assert state(ws, plan)["status"] == "failed"


def test_steps_are_thinned_and_nothing_else_is(tmp_path: Any) -> None:
    recorder = Recorder(RunState(tmp_path))
    for number in range(50):
        recorder.hear(TrainEvent("step", step=number))
        recorder.hear(TrainEvent("note", message=str(number)))
    events = list(Journal(tmp_path / EVENTS).read())
    assert sum(event.kind == "note" for event in events) == 50
    assert 1 <= sum(event.kind == "step" for event in events) < 10


def test_without_registering_it_stays_a_run_with_its_best_student(ws: Workspace) -> None:
    events: list[TrainEvent] = []
    plan = tiny(ws, epochs=2)
    result = train(ws, plan, events.append, register=False)
    assert result.version is None and hub(ws).versions() == []
    assert checkpoint.load(result.student)[1]["run"] == plan.run
    rmse = [event.values["val/rmse"] for event in events if event.kind == "epoch"]
    assert result.best == {"rmse": min(rmse)} and result.best_epoch == 1 + rmse.index(min(rmse))
    assert state(ws, plan)["status"] == "finished" and state(ws, plan)["version"] is None
