"""Two real Ray workers train one student, say what they do, and stop when asked to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from benchmarks.trainings.processes import alive, command_of, descendants, end, epochs, until, workers
from core.errors import Interrupted
from pipelines import workspace as workspaces
from pipelines.hub.open import hub
from pipelines.runs.events import Diverged, TrainEvent
from pipelines.train.driver.run import train
from pipelines.train.plan.resume import resume
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import publish, recipe_file


def test_two_workers_train_stop_and_leave_a_run_that_resumes(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    publish(workspace, "small")
    recipe_file(workspace.root / "tiny.yaml")
    ws = workspaces.load(workspace.root)
    options = {"recipe": str(ws.root / "tiny.yaml"), "domain": "rooms", "encoder_weights": "none", "device": "cpu"}
    plan = planned(ws, **options, epochs=3, workers=2, allow_unvalidated=True)  # type: ignore[arg-type]

    def stop_in_the_second_epoch(event: TrainEvent) -> None:
        if event.kind == "epoch" and event.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="was stopped"):
        train(ws, plan, stop_in_the_second_epoch)
    assert hub(ws).versions() == []
    # The workers ended as they do after a last epoch; what they left is whole, and goes on in this process.
    events: list[TrainEvent] = []
    result = train(ws, resume(ws, plan.run).model_copy(update={"workers": 0}), events.append)
    assert result.version.name == "v10"
    assert [event.epoch for event in events if event.kind == "epoch"] == [2, 3]
    assert [event.epoch for event in events if event.kind == "started"] == [1]
    state = json.loads((plan.folder(ws) / "state.json").read_text())
    run = hub(ws).store._client.get_run(state["mlflow"]["train"])
    assert run.info.status == "FINISHED" and run.data.params["environment.workers"] == "2"
    out, err = capfd.readouterr()
    assert "ray" not in out.lower() and "INFO" not in err


@pytest.mark.endurance
def test_what_a_worker_gives_up_for_is_what_the_command_says(workspace: Workspace) -> None:
    publish(workspace, "small")
    recipe_file(workspace.root / "tiny.yaml")
    ws = workspaces.load(workspace.root)
    options = {"recipe": str(ws.root / "tiny.yaml"), "domain": "rooms", "encoder_weights": "none", "device": "cpu"}
    plan = planned(ws, **options, settings=["optimizer.weight_decay=1e30"], epochs=9, workers=2, max_bad_batches=2, allow_unvalidated=True)  # type: ignore[arg-type]
    events: list[TrainEvent] = []
    with pytest.raises(Diverged, match=r"2 batches in a row were not finite .*: frames rooms-") as caught:
        train(ws, plan, events.append)
    assert caught.value.details[0].startswith("frames of all 2: rooms-")
    # It was not tried again: what the student is trained with is at fault, and no machine.
    assert [event.kind for event in events].count("started") == 1 and hub(ws).versions() == []


@pytest.mark.endurance
def test_a_killed_driver_leaves_nothing_running_and_a_run_that_goes_on(workspace: Workspace) -> None:
    publish(workspace, "small")
    recipe_file(workspace.root / "tiny.yaml")
    words = "tiny.yaml --domain rooms --encoder-weights none --device cpu --allow-unvalidated --epochs 500 --workers 2"
    driver = subprocess.Popen(
        [sys.executable, "-m", "vortex_cli.main", "train", *words.split()],
        cwd=workspace.root, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    started = [driver.pid]
    try:
        assert until(lambda: len(epochs(workspace.root)) > 1), "no second epoch was trained"
        started = [driver.pid, *descendants(driver.pid)]
        assert len(workers(driver.pid)) == 2
        driver.kill()
        driver.wait(10)
        # Ray's two agents, which do nothing, wait a minute for their head before they end by themselves (62 s, measured).
        ends = [pid for pid in started if not command_of(pid).startswith((b"ray::DashboardAgent", b"ray::RuntimeEnvAgent"))]
        assert until(lambda: not any(map(alive, ends)), 15), [command_of(pid) for pid in ends if alive(pid)]
    finally:
        for pid in started:
            end(pid)
    (run,) = (path.name for path in (workspace.root / "build" / "runs").glob("tiny-*"))
    ws = workspaces.load(workspace.root)
    events: list[TrainEvent] = []

    def stop_after_an_epoch(event: TrainEvent) -> None:
        events.append(event)
        if event.kind == "epoch":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(ws, resume(ws, run).model_copy(update={"workers": 0}), stop_after_an_epoch)
    first, *_ = (event for event in events if event.kind == "started")
    assert first.epoch >= 1  # short epochs share a checkpoint, and the first one has its own
