"""A run that was stopped or killed anywhere goes on to the same bits, from checkpoints that are whole whatever happened."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from core import strict_yaml
from core.errors import Interrupted, VortexError
from core.files import sha256_file
from models import checkpoint
from models.tensors import read_tensors, write_tensors
from pipelines.hub.open import hub
from pipelines.runs.events import TrainEvent
from pipelines.runs.folder import START
from pipelines.runs.orders import Orders, Superseded
from pipelines.runs.stop import Stopped
from pipelines.train.driver.run import lay_out, train
from pipelines.train.plan.resume import resume
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.checkpoints import DIGESTS, PROGRESS, STATE, STUDENT, generator_states, restore_generators, seed_generators
from pipelines.train.worker.loop import StageLoop
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import different, final_state, ignore, loop, tiny
from tests.unit.pipelines.training_set import publish, recipe_file


def stop_at(look: int) -> Callable[[], bool]:
    """A request to stop that is up from the `look`-th time that the loop looks for one."""
    looks = itertools.count(1)
    return lambda: next(looks) >= look


def test_stopped_anywhere_it_resumes_to_the_same_bits(ws: Workspace) -> None:
    recipe_file(ws.root / "averaged.yaml", ema={"decay": 0.9})
    whole, stopped = (tiny(ws, recipe=str(ws.root / "averaged.yaml"), epochs=2) for _ in range(2))
    looks = itertools.count()
    loop(ws, whole, should_stop=lambda: next(looks) < 0).run()
    wanted = final_state(ws, whole)
    assert any(name.startswith("ema.") for name in wanted)
    # At the second step, in the first validation (the epoch is trained, and not judged), and between two epochs.
    where = []
    for look in (2, 2, 3):
        made = loop(ws, stopped, should_stop=stop_at(look))
        with pytest.raises(Stopped):
            made.run()
        where.append((made.progress.epoch, made.progress.step))
    loop(ws, stopped).run()
    assert where == [(0, 1), (0, 2), (1, 0)] and next(looks) > sum((2, 2, 3))
    assert different(final_state(ws, stopped), wanted) == []


def test_a_checkpoint_that_names_moments_by_their_position_goes_on_to_the_same_bits(ws: Workspace) -> None:
    whole, stopped = tiny(ws, epochs=2), tiny(ws, epochs=2)
    loop(ws, whole).run()
    stage = loop(ws, stopped, should_stop=stop_at(3))
    with pytest.raises(Stopped):
        stage.run()
    latest = stage.checkpoints.latest
    assert latest is not None
    tensors, _ = read_tensors(latest / STATE)
    names = [name for name, _ in sorted(_positions(stage).items(), key=lambda item: item[1])]
    assert names[0].startswith("student.encoder.") and f"optimizer.{names[0]}.exp_avg" in tensors
    older = {_renamed(name, _positions(stage)): tensor for name, tensor in tensors.items()}
    assert "optimizer.0.exp_avg" in older and len(older) == len(tensors)
    write_tensors(latest / STATE, older, {"format": "2"})
    progress = json.loads((latest / PROGRESS).read_text())
    progress[DIGESTS][STATE] = sha256_file(latest / STATE)
    (latest / PROGRESS).write_text(json.dumps(progress))
    loop(ws, stopped).run()
    assert different(final_state(ws, stopped), final_state(ws, whole)) == []


def _positions(stage: StageLoop) -> dict[str, int]:
    """Where each trained parameter stands in the optimiser's groups, by name."""
    names = {parameter: name for name, parameter in stage.learner.task.named_parameters()}
    parameters = [parameter for group in stage.learner.optimizer.param_groups for parameter in group["params"]]
    return {names[parameter]: number for number, parameter in enumerate(parameters)}


def _renamed(name: str, positions: dict[str, int]) -> str:
    kind, _, rest = name.partition(".")
    parameter, _, key = rest.rpartition(".")
    return f"optimizer.{positions[parameter]}.{key}" if kind == "optimizer" else name


def test_a_run_of_two_stages_resumes_at_and_behind_their_boundary(ws: Workspace) -> None:
    publish(ws, "more", seed=1)
    stages = [
        {"name": "pretrain", "data": [{"dataset": "small"}, {"dataset": "more"}], "mixing": "within_batch", "epochs": 3, "stopped_at": 1},
        {"name": "rooms", "data": [{"dataset": "small"}], "mixing": "within_batch", "epochs": 1},
    ]
    path = recipe_file(ws.root / "staged.yaml", stages=stages)
    whole, stopped = (tiny(ws, recipe=str(path), domain=None, epochs=None) for _ in range(2))
    train(ws, whole, ignore)

    def stop_when(kind: str, stage: str) -> Callable[[TrainEvent], None]:
        return lambda event: os.kill(os.getpid(), signal.SIGINT) if (event.kind, event.stage) == (kind, stage) else None

    for kind, stage in (("epoch", "pretrain"), ("step", "rooms")):
        with pytest.raises(Interrupted):
            train(ws, resume(ws, stopped.run) if stage == "rooms" else stopped, stop_when(kind, stage))
    result = train(ws, resume(ws, stopped.run), ignore)
    assert result.version and result.version.truncated == "pretrain stopped at 1/3 epochs"
    assert different(final_state(ws, stopped), final_state(ws, whole)) == []
    state = json.loads((stopped.folder(ws) / "state.json").read_text())
    assert list(state["mlflow"]) == ["pretrain", "rooms"] == state["finished"]


def test_every_generator_goes_on_where_it_was() -> None:
    def draw() -> list[float]:
        return [random.gauss(0, 1), random.random(), np.random.standard_normal(), np.random.random(), float(torch.rand(()))]

    seed_generators(7)
    draw()
    states = generator_states()
    first = draw()
    assert draw() != first
    restore_generators(states)
    assert draw() == first
    seed_generators(2**63 - 1)


def test_checkpoints_come_within_an_epoch_too(ws: Workspace) -> None:
    plan = tiny(ws, epochs=1, checkpoint_minutes=1e-9)
    seen: list[str] = []
    made = loop(ws, plan, lambda event: seen.append(made.checkpoints.latest.name) if event.kind == "step" else None)  # type: ignore[union-attr]
    made.run()
    assert seen == ["epoch-0000-step-000001", "epoch-0000-step-000002"]
    with pytest.raises(VortexError, match="--checkpoint-minutes 0 is out of range"):
        tiny(ws, checkpoint_minutes=0)


def test_short_epochs_share_a_checkpoint_with_the_best_epochs_student(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(stall: float) -> tuple[list[int], TrainPlan]:
        monkeypatch.setattr("pipelines.train.worker.checkpoints.STALL", stall)
        plan, saved = tiny(ws, epochs=4), []
        made = loop(ws, plan, lambda event: saved.append(made.writer.written) if event.kind == "epoch" else None)
        made.run()
        return [saved.index(moment) + 1 for moment in dict.fromkeys(saved)], plan

    (every, eager), (few, thrifty) = trained(1e9), trained(0.0)
    # The first epoch's end is worth a checkpoint whatever it costs: that is not known yet.
    assert every == [1, 2, 3, 4] and few == [1, 4]
    assert different(final_state(ws, eager), final_state(ws, thrifty)) == []


def test_who_was_superseded_writes_nothing_more(ws: Workspace) -> None:
    plan = tiny(ws, epochs=1)
    lay_out(plan, plan.folder(ws))
    folder = plan.stage_folder(plan.folder(ws), 0)
    ours = Orders.give(folder)
    made = StageLoop(plan, 0, folder, ignore, ours.stop_requested, ours.turn)
    made.writer.write(made.progress)
    kept = made.checkpoints.latest
    Orders.give(folder)
    made.progress.step = 1
    with pytest.raises(Superseded):
        made.writer.write(made.progress)
    assert made.checkpoints.latest == kept and kept is not None and list(folder.glob("epoch-*")) == [kept]


def test_a_stage_is_taken_over_only_between_two_checkpoints(tmp_path: Path) -> None:
    ours, order = Orders.give(tmp_path), []
    with ours.turn():
        other = threading.Thread(target=lambda: (Orders.give(tmp_path), order.append("taken over")))
        other.start()
        other.join(0.2)
        order.append("written")
    other.join()
    assert order == ["written", "taken over"]


def test_what_a_killed_process_left_half_written_is_swept(ws: Workspace) -> None:
    plan = tiny(ws, epochs=1)
    orphan = plan.folder(ws).parent / ".another-run.1234abcd.staging"
    orphan.mkdir(parents=True)
    lay_out(plan, plan.folder(ws))
    assert not orphan.exists()
    made = loop(ws, plan)
    made.writer.write(made.progress)
    stage = made.checkpoints.folder
    for name in (".epoch-0001-step-000000.1234abcd.staging", "epoch-0009-step-000000"):
        (stage / name).mkdir()
        (stage / name / STUDENT).write_bytes(b"half")
    (stage / ".latest.4711").symlink_to("epoch-0009-step-000000")
    (stage.parent / ".state.json.1234abcd.staging").write_text("{")
    train(ws, resume(ws, plan.run), ignore)
    found = sorted(path.name for path in stage.iterdir())
    assert found == [".writer.lock", "epoch-0001-step-000000", "latest", "orders.json", START]
    assert list(stage.parent.glob(".*.staging")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MiB. Only root can mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_keeps_the_checkpoint_before_it(ws: Workspace, small_disk: Path) -> None:
    plan = tiny(ws, epochs=2)
    (plan.folder(ws).parent).parent.mkdir(parents=True, exist_ok=True)
    plan.folder(ws).parent.symlink_to(small_disk)
    made = loop(ws, plan)
    made.writer.write(made.progress)
    kept = made.checkpoints.latest
    assert kept is not None and kept.is_dir()
    made.train_epoch()
    made.writer.cost = 0.0  # so that the epoch's end is worth a checkpoint
    ballast = small_disk / "ballast"
    with open(ballast, "wb") as stream:
        stream.write(b"0" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 2**20))
    with pytest.raises(VortexError, match=r"the one before it is kept \(.*no space left on the disk") as caught:
        made.validate_epoch()
    assert caught.value.hint.endswith(f"vortex train --resume {plan.run}")
    assert made.checkpoints.latest == kept and list(made.checkpoints.folder.glob(".*")) == []
    ballast.unlink()
    again = loop(ws, plan)
    assert again.progress.epoch == 0 and again.progress.step == 0
    again.run()


def test_runs_behind_a_link_keep_their_checkpoints_and_become_versions(ws: Workspace, tmp_path: Path) -> None:
    ws.build.mkdir(exist_ok=True)
    (tmp_path / "scratch").mkdir()
    (ws.build / "runs").symlink_to(tmp_path / "scratch")
    plan = tiny(ws, epochs=2)
    loop(ws, plan)  # packs the frames, and would look for a stop meanwhile
    with pytest.raises(Stopped):
        loop(ws, plan, should_stop=stop_at(2)).run()
    assert loop(ws, plan).progress.step == 1
    assert train(ws, resume(ws, plan.run), ignore).version is not None


def test_a_latest_that_leads_nowhere_is_refused_and_what_is_left_is_kept(ws: Workspace) -> None:
    plan = tiny(ws, epochs=1)
    made = loop(ws, plan)
    made.writer.write(made.progress)
    latest = made.checkpoints.latest
    assert latest is not None
    (latest / "progress.json").unlink()
    with pytest.raises(VortexError, match="latest: leads to no whole checkpoint"):
        loop(ws, plan)
    assert (latest / STUDENT).is_file()


@pytest.mark.parametrize("followed", [False, True], ids=["left out", "followed"])
def test_a_copy_without_links_goes_on_from_its_checkpoint(ws: Workspace, followed: bool) -> None:
    plan = tiny(ws, epochs=2)
    loop(ws, plan)  # packs the frames, and would look for a stop meanwhile
    with pytest.raises(Stopped):
        loop(ws, plan, should_stop=stop_at(2)).run()
    pointer = plan.folder(ws) / "1-train" / "latest"
    saved = pointer.resolve()
    pointer.unlink()
    if followed:
        shutil.copytree(saved, pointer)
    again = loop(ws, plan)
    assert again.progress.step == 1 and again.checkpoints.latest == saved and saved.is_dir()
    assert train(ws, resume(ws, plan.run), ignore).version is not None
    assert pointer.is_symlink() and pointer.resolve() != saved


def test_a_run_planned_for_a_gpu_says_so_where_there_is_none(ws: Workspace) -> None:
    plan = tiny(ws, epochs=1)
    lay_out(plan.model_copy(update={"device": "cuda"}), plan.folder(ws))
    with pytest.raises(VortexError, match="was planned for a GPU, and no GPU is asked for") as caught:
        resume(ws, plan.run, gpus=0)
    assert f"vortex submit --resume {plan.run} --gres gpu:1" in caught.value.hint
    assert resume(ws, plan.run, gpus=1).device == "cuda"


def test_metrics_that_mlflow_does_not_take_are_noted_and_training_goes_on(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from registry.store import MlflowStore

    taken = MlflowStore.log_metrics

    def refuse(store: MlflowStore, run_id: str, values: dict[str, float], *step: int) -> None:
        if "train/loss" in values:
            raise VortexError("the database is locked", "try again")
        taken(store, run_id, values, *step)

    monkeypatch.setattr(MlflowStore, "log_metrics", refuse)
    events: list[TrainEvent] = []
    result = train(ws, tiny(ws, epochs=2), events.append)
    assert result.version is not None
    told = [event.message for event in events if event.kind == "note"]
    refused = [f"MLflow did not take the metrics of epoch {epoch}: the database is locked" for epoch in (1, 2)]
    assert told == [*refused, "MLflow stays without the metrics of 2 of 2 epochs: the database is locked"]


def test_what_a_kill_cost_is_trained_again_and_logged_once(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.train.worker.checkpoints.STALL", 0.0)
    plan = tiny(ws, epochs=4)

    def lose_power(event: TrainEvent) -> None:
        if (event.kind, event.epoch) == ("epoch", 3):
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        train(ws, plan, lose_power)
    again: list[TrainEvent] = []
    result = train(ws, resume(ws, plan.run), again.append)
    assert [event.epoch for event in again if event.kind == "epoch"] == [2, 3, 4]
    assert result.version is not None
    history = hub(ws).store._client.get_metric_history(result.version.run_id, "val/rmse")
    assert [entry.step for entry in history] == [1, 2, 3, 4]


def test_a_checkpoint_of_another_architecture_or_class_order_is_refused(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made = loop(ws, tiny(ws, epochs=1))
    made.writer.write(made.progress)
    made.learner.student.config = checkpoint.load(made.checkpoints.folder / START)[0].config
    object.__setattr__(made.learner.student.config, "encoder", "efficientvit_b1")
    with pytest.raises(VortexError, match="encoder 'mobilenetv3_small_100', wanted efficientvit_b1"):
        made.checkpoints.restore(made.learner)
    object.__setattr__(made.learner.student.config, "encoder", "mobilenetv3_small_100")
    with monkeypatch.context() as later:
        later.setattr("pipelines.train.worker.checkpoints.READABLE", ("4",))
        with pytest.raises(VortexError, match="written in format 3, allowed: 4"):
            made.checkpoints.restore(made.learner)
    monkeypatch.setattr("models.checkpoint.CLASSES", tuple(reversed(made.learner.student.config.classes)))
    with pytest.raises(VortexError, match="its classes are"):
        made.checkpoints.restore(made.learner)


def test_a_run_is_not_resumed_with_another_recipe(ws: Workspace) -> None:
    path, plan = ws.root / "tiny.yaml", tiny(ws, epochs=1, lr=0.01)
    lay_out(plan, plan.folder(ws))
    assert resume(ws, plan.run, recipe=str(path)).recipe == plan.recipe
    raw = strict_yaml.parse(path.read_text())
    told = recipe_file(ws.root / "told.yaml", summary="Other words.")
    assert resume(ws, plan.run, recipe=str(told)).recipe == plan.recipe
    path.write_text(json.dumps(raw | {"schedule": {"kind": "cosine", "per": "step"}}))
    for asked in (None, str(path)):
        with pytest.raises(VortexError, match=r"is not the recipe that tiny-rooms-.* was begun with: 1 setting") as caught:
            resume(ws, plan.run, recipe=asked)
        assert caught.value.details == ("schedule.per: epoch in the run, step in the recipe",)
    path.unlink()
    assert resume(ws, plan.run).recipe == plan.recipe
    assert hub(ws).versions() == []
