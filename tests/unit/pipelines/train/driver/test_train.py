"""A training registers what it says, can be stopped between any two steps, and resumes to the very same weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.errors import Interrupted, VortexError
from models import checkpoint
from pipelines.hub.migration import migrate
from pipelines.hub.open import hub
from pipelines.runs.events import Journal, TrainEvent
from pipelines.runs.folder import START
from pipelines.runs.state import RunState
from pipelines.train.driver.run import train
from pipelines.train.plan.resume import resume
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.checkpoints import STATE, STUDENT, Checkpoints
from pipelines.workspace import Workspace, load
from tests.unit.pipelines.training_runs import final_state, ignore, loop, planned, tiny
from tests.unit.pipelines.training_set import recipe_file


def interrupt_at(epoch: int, step: int, number: signal.Signals = signal.SIGINT) -> Callable[[TrainEvent], None]:
    """Send this process a signal when the loop reports a step, as Ctrl-C would."""

    def on_event(event: TrainEvent) -> None:
        if event.kind == "step" and (event.epoch, event.step) == (epoch, step):
            os.kill(os.getpid(), number)

    return on_event


def mlflow_status(ws: Workspace, plan: TrainPlan) -> str:
    state = json.loads((plan.folder(ws) / "state.json").read_text())
    run_id = list(state["mlflow"].values())[-1]
    return str(hub(ws).store._client.get_run(run_id).info.status)


def test_a_finished_run_is_a_version_that_knows_where_it_came_from(ws: Workspace) -> None:
    events: list[TrainEvent] = []
    plan = tiny(ws)
    result = train(ws, plan, events.append)
    version = hub(ws).get("v10")
    assert result.version.name == version.name == plan.number == "v10"
    assert [event.epoch for event in events if event.kind == "epoch"] == [1, 2, 3]
    assert version.recipe_config == plan.recipe.model_dump(mode="json") and version.run == plan.run
    assert {edge.triple()[:2] for edge in version.parents} == {("data", "small"), ("teacher", "a-teacher")}
    use = version.data[0]
    assert (use.name, use.validated, use.frames, use.digest) == ("small", False, {"train": 8, "val": 4}, plan.stages[0].data[0].digest)
    assert use.dvc and use.dvc.endswith(".dir")
    assert {"python", "torch", "timm", "ray", "platform", "device", "seed"} <= set(version.environment)
    student, meta = checkpoint.load(hub(ws).artifacts.path(version.checkpoint))
    assert student.config.size == plan.size and meta["run"] == plan.run
    metrics = version.metrics_for("rooms", "kinect")
    assert metrics and metrics.frames == 4 and metrics.errors
    best = min(event.values["val/rmse"] for event in events if event.kind == "epoch")
    assert metrics.values["rmse"] == pytest.approx(best, abs=1e-6) == result.best["rmse"]
    assert mlflow_status(ws, plan) == "FINISHED"
    history = hub(ws).store._client.get_metric_history(version.run_id, "val/rmse")
    assert [point.step for point in history] == [1, 2, 3]

    derived = train(ws, planned(ws, from_version="v10", domain="rooms", epochs=1, device="cpu", allow_unvalidated=True), ignore).version
    assert (derived.name, derived.derived, derived.size) == ("v11", True, plan.size)
    assert ("weights", "v10") in {edge.triple()[:2] for edge in derived.parents}


@pytest.mark.parametrize(("epoch", "step", "number"), [(0, 1, signal.SIGINT), (1, 1, signal.SIGTERM), (1, 2, signal.SIGINT)])
def test_a_stopped_run_resumes_to_the_same_bits(ws: Workspace, epoch: int, step: int, number: signal.Signals) -> None:
    whole, stopped = tiny(ws, epochs=2), tiny(ws, epochs=2)
    train(ws, whole, ignore)
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        train(ws, stopped, interrupt_at(epoch, step, number))
    assert f"vortex train --resume {stopped.run}" in caught.value.hint and caught.value.exit_code == 130
    assert signal.getsignal(number) is before
    assert mlflow_status(ws, stopped) == "KILLED"
    assert [version.name for version in hub(ws).versions()] == ["v10"]
    result = train(ws, resume(ws, stopped.run), ignore)
    assert result.version.name == "v11" and mlflow_status(ws, stopped) == "FINISHED"
    one, other = final_state(ws, whole), final_state(ws, stopped)
    assert one.keys() == other.keys() and any(name.startswith("optimizer.") for name in one)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_crash_registers_nothing_and_resumes_from_the_last_epoch(ws: Workspace) -> None:
    def crash(event: TrainEvent) -> None:
        if event.kind == "step" and event.epoch == 1:
            raise RuntimeError("the machine is on fire")

    whole, crashed = tiny(ws, epochs=2), tiny(ws, epochs=2)
    with pytest.raises(RuntimeError, match="on fire"):
        train(ws, crashed, crash)
    assert mlflow_status(ws, crashed) == "FAILED" and hub(ws).versions() == []
    seen: list[TrainEvent] = []
    train(ws, resume(ws, crashed.run), seen.append)
    assert [event.epoch for event in seen if event.kind == "started"] == [1]
    train(ws, whole, ignore)
    one, other = final_state(ws, whole), final_state(ws, crashed)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    again = train(ws, resume(ws, crashed.run), ignore)
    assert again.version.name == "v10" and len(hub(ws).versions()) == 2


@pytest.mark.parametrize("lost", [False, True])
def test_a_run_goes_on_where_the_registry_moved_to_with_all_its_curves(ws: Workspace, lost: bool) -> None:
    places = {"tracking_uri": "sqlite:///moved/mlflow.db", "artifact_root": "moved/artifacts", "ledger": "sqlite:///moved/ledger.db"}
    (ws.root / "moved.toml").write_text("".join(f'{name} = "{place}"\n' for name, place in places.items()))
    plan = tiny(ws, epochs=2)
    hub(ws)
    (ws.root / "moved").mkdir()
    shutil.copyfile(ws.root / "mlruns/mlflow.db", ws.root / "moved/mlflow.db")  # making an empty store takes two seconds

    def move(event: TrainEvent) -> None:
        if event.kind == "started":  # MLflow's run has begun, and all that is told of it from now on the new place does not hear
            migrate(ws, ws.root / "moved.toml")

    with pytest.raises(VortexError, match=r"has moved to .*nothing is recorded here any more") as caught:
        train(ws, plan, move)
    assert f"the training itself is done, and needs only: vortex train --resume {plan.run}" in caught.value.hint
    moved = load(ws.root)
    state = RunState.read(plan.folder(ws))
    (brought,) = state.mlflow.values()
    if lost:  # as where MLflow's run had been begun after the others were brought
        state.mlflow = dict.fromkeys(state.mlflow, "0" * 32)
        state.write()
    version = train(moved, resume(moved, plan.run), ignore).version
    assert version.name == "v10" and (version.run_id == brought) != lost
    assert hub(moved).store.steps(version.run_id, "val/rmse") == {1, 2}


def test_stages_follow_each_other_from_the_best_before(ws: Workspace) -> None:
    stages = [
        {"name": name, "data": [{"dataset": "small", "share": None}], "mixing": "within_batch", "epochs": 2, "stopped_at": stopped}
        for name, stopped in (("first", 1), ("second", None))
    ]
    recipe_file(ws.root / "staged.yaml", stages=stages)
    plan = tiny(ws, recipe=str(ws.root / "staged.yaml"), domain=None, epochs=None)
    result = train(ws, plan, ignore)
    assert result.version.truncated == "first stopped at 1/2 epochs"
    first, second = (plan.stage_folder(plan.folder(ws), number) for number in (0, 1))
    begun, best = checkpoint.load(second / START)[0], checkpoint.load(Checkpoints(first).best)[0]
    assert all(torch.equal(a, b) for a, b in zip(begun.state_dict().values(), best.state_dict().values(), strict=True))
    assert len(json.loads((plan.folder(ws) / "state.json").read_text())["mlflow"]) == 2


def test_batches_that_are_not_finite_are_skipped_until_five_in_a_row(ws: Workspace) -> None:
    notes: list[TrainEvent] = []
    made = loop(ws, tiny(ws, epochs=9), notes.append)
    head = made.learner.student.depth_head[0]
    with torch.no_grad():
        head.weight.fill_(3e38)  # type: ignore[union-attr, operator]
    before = {name: tensor.clone() for name, tensor in made.learner.student.named_parameters()}
    with pytest.raises(VortexError, match=r"5 batches in a row were not finite \(loss.*frames rooms-00") as caught:
        made.run()
    assert "--lr" in caught.value.hint
    assert made.progress.skipped == 5
    assert sum(event.kind == "note" for event in notes) == 4
    assert all(torch.equal(before[name], tensor) for name, tensor in made.learner.student.named_parameters())


def test_a_student_that_learnt_no_depth_at_all_is_not_registered(ws: Workspace) -> None:
    plan = tiny(ws, epochs=2, lr=1.0)
    with pytest.raises(VortexError, match="diverged") as caught:
        train(ws, plan, ignore)
    assert "--lr" in caught.value.hint
    assert hub(ws).versions() == [] and mlflow_status(ws, plan) == "FAILED"


@pytest.mark.parametrize("name", [STUDENT, STATE, "best.safetensors", "progress.json"])
def test_a_damaged_checkpoint_is_never_trained_on(ws: Workspace, name: str) -> None:
    made = loop(ws, tiny(ws, epochs=2))
    made.writer.end_epoch(made.progress, is_best=True, is_last=True)
    latest = made.checkpoints.latest
    assert latest and made.checkpoints.best
    damaged = bytearray((latest / name).read_bytes())
    damaged[len(damaged) // 2] ^= 0x01
    (latest / name).unlink()  # student and best are one file under two names
    (latest / name).write_bytes(damaged)
    with pytest.raises(VortexError, match=r"it is damaged|not readable"):
        made.checkpoints.restore(made.learner)
        assert made.checkpoints.best


@pytest.mark.parametrize("state", ["", "[]", "{", '{"mlflow": 3}', '{"colour": "blue"}', '{"seconds": "long"}'])
def test_a_damaged_run_state_is_said_in_one_line(tmp_path: Path, state: str) -> None:
    (tmp_path / "state.json").write_text(state)
    with pytest.raises(VortexError, match=r"state\.json: not readable as a run's state"):
        RunState.read(tmp_path)


def test_a_batch_that_does_not_fit_into_memory_is_said_in_words(ws: Workspace) -> None:
    def too_much(event: TrainEvent) -> None:
        if event.kind == "step":
            torch.empty(2**55)

    with pytest.raises(VortexError, match="a batch of 4 frames of 64x96 does not fit") as caught:
        train(ws, tiny(ws), too_much)
    assert "--batch-size" in caught.value.hint


def test_a_second_ctrl_c_ends_at_once_and_names_the_way_back(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny(ws, epochs=1)

    def impatient(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.train.driver.run.register_version", impatient)
    with pytest.raises(Interrupted, match="stopped at once") as caught:
        train(ws, plan, ignore)
    assert caught.value.hint == f"vortex train --resume {plan.run}"
    monkeypatch.undo()
    assert train(ws, resume(ws, plan.run), ignore).version.name == "v10"
    assert any("v10 already" in line for line in resume(ws, plan.run).inferred)


def test_a_frozen_encoder_stays_as_it_was_and_then_learns(ws: Workspace) -> None:
    recipe_file(ws.root / "frozen.yaml", scratch={"encoder_lr": 1e-3, "decoder_lr": 1e-3, "freeze_encoder_epochs": 100, "batch_size": 4})
    made = loop(ws, tiny(ws, recipe=str(ws.root / "frozen.yaml"), epochs=2))
    assert made.plan.recipe.optimizer.freeze_encoder_epochs == 1
    start = {name: tensor.clone() for name, tensor in made.learner.student.encoder.state_dict().items()}
    made.train_epoch()
    assert all(torch.equal(start[name], tensor) for name, tensor in made.learner.student.encoder.state_dict().items())
    made.validate_epoch()
    made.train_epoch()
    assert not all(torch.equal(start[name], tensor) for name, tensor in made.learner.student.encoder.state_dict().items())


def test_rates_fall_along_a_cosine(ws: Workspace) -> None:
    events: list[TrainEvent] = []
    loop(ws, tiny(ws, epochs=4, lr=1e-3), events.append).run()
    rates = [(event.values["lr/encoder"], event.values["lr/others"]) for event in events if event.kind == "epoch"]
    assert [others for _, others in rates] == pytest.approx([1e-3, 0.8535534e-3, 0.5e-3, 0.1464466e-3])
    assert [encoder for encoder, _ in rates] == pytest.approx([0.1 * others for _, others in rates])


def test_latest_is_whole_while_the_next_one_is_written(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loop(ws, tiny(ws))
    made.writer.write(made.progress)
    kept = made.checkpoints.latest
    assert kept
    made.train_epoch()

    def die(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.train.worker.checkpoints.write_tensors", die)
    with pytest.raises(KeyboardInterrupt):
        made.writer.write(made.progress)
    assert made.checkpoints.latest == kept and checkpoint.load(kept / STUDENT)
    assert [path.name for path in made.checkpoints.folder.glob("epoch-*")] == [kept.name]


def test_a_journal_is_read_line_by_whole_line(tmp_path: Path) -> None:
    journal, reader = Journal(tmp_path / "events.jsonl"), Journal(tmp_path / "events.jsonl")
    assert list(reader.read()) == []
    first = TrainEvent("failed", message="no", details=("a", "b"))
    journal.write(first)
    with open(journal.path, "a") as stream:
        stream.write('{"kind": "step"')
    (read,) = reader.read()
    assert replace(read, at=0.0) == first and read.at > 0
    assert list(reader.read()) == []
    # Whoever goes on after a kill begins a line of its own, and what was torn is passed over.
    Journal(journal.path).write(TrainEvent("note", message="again"))
    assert [event.message for event in reader.read()] == ["again"]
