"""What those who follow a run from elsewhere read of it, and what stays a run when nothing is to be registered."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import Any

import pytest

from core.errors import Interrupted, VortexError
from models import checkpoint
from pipelines.hub.open import hub
from pipelines.runs.events import Journal, TrainEvent
from pipelines.runs.state import EVENTS, STATE, Recorder, RunState
from pipelines.runs.wall import Wall
from pipelines.train.driver.run import lay_out, train
from pipelines.train.plan.resume import resume
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import ignore, tiny
from tests.unit.pipelines.training_set import recipe_file


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
        train(ws, resume(ws, plan.run), stop)
    (training,) = seen
    assert (training["status"], training["stage"], training["epoch"], training["epochs"]) == ("training", "train", 1, 2)
    assert training["pid"] == os.getpid() and training["host"] and training["updated"] > 0
    assert state(ws, plan)["status"] == "stopped"
    train(ws, resume(ws, plan.run), ignore)
    done = state(ws, plan)
    assert (done["status"], done["epoch"], done["version"]) == ("finished", 2, "v10")
    kinds = [event.kind for event in Journal(plan.folder(ws) / EVENTS).read()]
    assert kinds.count("started") == 2 and kinds.count("epoch") == 2 and "step" in kinds and "reading" in kinds


def test_a_run_that_failed_says_so(ws: Workspace) -> None:
    plan = tiny(ws, epochs=1)
    lay_out(plan, plan.folder(ws))
    shutil.rmtree(plan.folder(ws) / "1-train")
    with pytest.raises(VortexError, match="start") as caught:
        train(ws, resume(ws, plan.run), ignore)
    assert state(ws, plan)["status"] == "failed"
    (said,) = [event for event in Journal(plan.folder(ws) / EVENTS).read() if event.kind == "failed"]
    assert (said.message, said.hint) == (caught.value.message, caught.value.hint)


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


@pytest.mark.parametrize("found", [None, "{}", "garbage"])
def test_a_finished_run_that_lost_its_state_registers_nothing_twice(ws: Workspace, found: str | None) -> None:
    plan = tiny(ws, epochs=1)
    made = train(ws, plan, ignore).version
    (plan.folder(ws) / STATE).unlink()
    if found is not None:
        (plan.folder(ws) / STATE).write_text(found)
    again = resume(ws, plan.run)
    assert again.number == "v10" and any(line.startswith("note     ") and STATE in line for line in again.inferred)
    assert train(ws, again, ignore).version == made and [version.name for version in hub(ws).versions()] == ["v10"]
    done = state(ws, plan)
    assert (done["status"], done["version"], done["finished"]) == ("finished", "v10", ["train"])
    assert not any(STATE in line for line in resume(ws, plan.run).inferred)


def test_a_truncated_run_that_lost_its_state_goes_on_to_another_version(ws: Workspace) -> None:
    plan, now = tiny(ws), [0.0]

    def hear(event: TrainEvent) -> None:
        now[0] += event.kind in ("step", "epoch")

    first = train(ws, plan, hear, wall=Wall(7.0, "wall time 7h", lambda: now[0])).version
    assert first and first.truncated
    (plan.folder(ws) / STATE).unlink()
    second = train(ws, resume(ws, plan.run), ignore).version
    assert second and (second.name, second.truncated) == ("v11", None) and second.run_id != first.run_id
    assert ("weights", "v10") in {edge.triple()[:2] for edge in second.parents}


def test_a_stopped_run_that_lost_its_state_goes_on_from_its_checkpoint(ws: Workspace) -> None:
    plan = tiny(ws)
    with pytest.raises(Interrupted):
        train(ws, plan, lambda event: os.kill(os.getpid(), signal.SIGINT) if event.kind == "epoch" else None)
    (plan.folder(ws) / STATE).unlink()
    begun: list[int] = []
    result = train(ws, resume(ws, plan.run), lambda event: begun.append(event.epoch) if event.kind == "started" else None)
    assert begun == [1] and result.version and result.version.name == "v10"


def test_a_stage_whose_end_was_not_told_to_mlflow_is_ended_when_the_run_goes_on(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [{"name": name, "data": [{"dataset": "small"}], "mixing": "within_batch", "epochs": 1} for name in ("one", "two")]
    plan = tiny(ws, recipe=str(recipe_file(ws.root / "two.yaml", stages=stages)), domain=None, epochs=None)

    def away(*_: object) -> None:
        raise VortexError("MLflow does not answer")

    with monkeypatch.context() as broken:
        broken.setattr("registry.store.MlflowStore.end_run", away)
        with pytest.raises(VortexError, match="MLflow does not answer"):
            train(ws, plan, ignore)
    assert train(ws, resume(ws, plan.run), ignore).version
    runs = [hub(ws).store._client.get_run(run_id) for run_id in state(ws, plan)["mlflow"].values()]
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
