"""A profile predicts from timings as it says, advises what its numbers support, and leaves nothing behind but its JSON."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from core.errors import GateRefused
from pipelines import workspace as workspaces
from pipelines.hub.open import hub
from pipelines.profile.measurement import profile
from pipelines.profile.prediction import predict, remedies
from pipelines.profile.record import Profile, cost_digest, latest, profiles, require_utilisation
from pipelines.profile.rehearsal import Rehearsal
from pipelines.profile.timing import Timings
from pipelines.runs.folder import runs_folder
from pipelines.train.plan.switches import Switches
from pipelines.train.plan.train_plan import STALL, TrainPlan
from pipelines.train.worker.validation import evaluations
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import publish, recipe_file
from vortex_cli.app import app

TIMED = Timings(
    batch=4,
    loader=[0.01, 0.01, 0.01],
    step=[0.08, 0.09, 0.08],
    together=[0.10, 0.11, 0.10],
    validation_start=0.3,
    validation_batch=4,
    validation_frames=[0.05, 0.05],
    forward=0.02,
    checkpoint=[0.2, 0.4, 0.2],
    start=2.0,
)
"""8 frames to train on and 4 to be judged by: two steps an epoch, and a validation of one batch."""


@pytest.fixture
def ws(workspace: Workspace, fresh_store: Path) -> Workspace:
    shutil.copytree(fresh_store, workspace.root / "mlruns", dirs_exist_ok=True)
    publish(workspace, "small")
    recipe_file(workspace.root / "tiny.yaml")
    return workspaces.load(workspace.root)


def tiny(ws: Workspace, **options: object) -> TrainPlan:
    given = {"recipe": str(ws.root / "tiny.yaml"), "domain": "rooms", "encoder_weights": "none", "epochs": 3, "device": "cpu"} | options
    return planned(ws, allow_unvalidated=True, **given)  # type: ignore[arg-type]


def test_a_prediction_adds_up(ws: Workspace) -> None:
    made = predict(tiny(ws), TIMED)
    assert made.stages[0].steps == 2 and made.stages[0].epochs == 3
    assert (made.loader_rate, made.step_rate, made.together_rate) == pytest.approx((400, 50, 40))
    assert made.validation_seconds == pytest.approx(0.3) and made.checkpoint_seconds == pytest.approx(0.2)
    epoch = (2 * 0.10 + 0.3) * (1 + STALL)  # so short an epoch has but a share of a checkpoint of 0.2 s
    assert made.epoch_seconds == pytest.approx(epoch, rel=1e-3)  # and a little for checkpoints by the clock
    assert made.wall_seconds == pytest.approx(2.0 + 0.2 + 3 * epoch + 0.3, rel=1e-3)
    assert made.utilisation == pytest.approx((2 * 0.08 + 4 * 0.02) / epoch, rel=1e-3)
    assert made.epoch_band[0] == pytest.approx(epoch, rel=1e-3) and made.epoch_band[1] == pytest.approx(
        epoch + 0.02 * (1 + STALL), rel=1e-3
    )
    assert made.utilisation_band[0] < made.utilisation <= made.utilisation_band[1]


def test_a_frozen_encoder_has_epochs_of_its_own(ws: Workspace) -> None:
    plan = tiny(ws, settings=("optimizer.freeze_encoder_epochs=2",))
    made = predict(plan, replace(TIMED, frozen=[0.04, 0.04, 0.04]))
    assert made.stages[0].frozen_epochs == 2
    assert made.wall_seconds == pytest.approx(2.0 + 0.2 + 0.3 + (1 + STALL) * (3 * 0.3 + 2 * (2 * 0.04) + 1 * (2 * 0.10)), rel=1e-3)


def test_an_epoch_that_is_long_beside_a_checkpoint_has_one_of_its_own(ws: Workspace) -> None:
    made = predict(tiny(ws), replace(TIMED, checkpoint=[0.001] * 3))
    assert made.epoch_seconds == pytest.approx(2 * 0.10 + 0.3 + 0.001, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"together": [0.2] * 3}, "each alone is fast enough"),
        ({"loader": [0.2] * 3, "together": [0.2] * 3, "processes": 2}, "with 2 loader process(es): 5 would do, so ask for 6 cores"),
        ({"loader": [1.0] * 3, "together": [1.0] * 3, "processes": 8}, "augment_on_device=on"),
        ({"validation_start": 5.0}, "validating 4 frames takes 5.0 of the"),
        ({"doubled": [0.09] * 3}, "--batch-size 8 takes frames 1.8 times as fast"),
    ],
)
def test_remedies_follow_the_numbers(ws: Workspace, changes: dict[str, object], said: str) -> None:
    plan = tiny(ws).model_copy(update={"device": "cuda", "step": Switches(prefetch=2)})
    timings = replace(TIMED, step=[0.08] * 3, together=[0.081] * 3, validation_start=0.001)
    timings = replace(timings, **changes)  # type: ignore[arg-type]
    epoch = 2 * timings.together[0] + timings.validation_start
    found = remedies(plan, timings, epoch, timings.validation_start)
    assert len(found) == bool(said) and all(said in advice for advice in found)


def test_a_rehearsal_times_the_real_loop_and_leaves_a_json(ws: Workspace) -> None:
    plan, heard = tiny(ws), []
    before = set(ws.build.rglob("*"))
    made = profile(ws, plan, seconds=0.05, report=heard.append)
    new = {path for path in ws.build.rglob("*") if path.is_file()} - before
    assert {path.parent.name for path in new if "packs" not in path.parts} == {"profiles"} and len(list(profiles(ws).iterdir())) == 1
    assert any("packed" in line for line in heard)
    assert hub(ws).versions() == [] and not runs_folder(ws).exists()
    assert 0 < made.utilisation <= 1 and made.rounds >= 3 and made.device == "cpu"
    assert min(made.loader_rate, made.step_rate, made.together_rate, made.validation_seconds, made.checkpoint_seconds) > 0
    assert made.loader_rate > made.step_rate  # 4 frames of 64x96 are copied in far less time than a step of them takes
    assert latest(ws, plan) == made == latest(ws, tiny(ws, seed=1))
    assert latest(ws, tiny(ws, batch_size=2)) is None and latest(ws, tiny(ws, step="eager")) is None


def test_each_part_does_what_it_says(ws: Workspace, tmp_path: Path) -> None:
    plan = tiny(ws, settings=("optimizer.freeze_encoder_epochs=1",))
    with Rehearsal(plan, 0, tmp_path / "stage", lambda line: None) as rehearsal:
        weights = {name: tensor.clone() for name, tensor in rehearsal.learner.student.state_dict().items()}
        assert rehearsal.loader(0.0) > 0
        assert all(torch.equal(tensor, weights[name]) for name, tensor in rehearsal.learner.student.state_dict().items())
        assert rehearsal.together(0.0, "frozen") > 0
        first = next(name for name, _ in rehearsal.learner.student.named_parameters() if name.startswith("encoder"))
        assert torch.equal(rehearsal.learner.student.state_dict()[first], weights[first])
        assert rehearsal.step(0.0) > 0
        assert not torch.equal(rehearsal.learner.student.state_dict()[first], weights[first])
        assert rehearsal.twice(0.0) > 0


def test_a_batch_of_more_frames_than_there_are_is_counted_as_those(ws: Workspace, tmp_path: Path) -> None:
    with Rehearsal(tiny(ws, batch_size=64), 0, tmp_path / "stage", lambda line: None) as rehearsal:
        timings = rehearsal.measure(0.01)
    assert (timings.batch, timings.validation_batch) == (8, 4)
    # All that is judged is in the first batch, however few frames a step has.
    few = predict(tiny(ws), replace(TIMED, batch=2))
    assert few.validation_seconds == pytest.approx(0.3) and few.step_rate == pytest.approx(25)


def test_workers_are_rehearsed_by_their_share(ws: Workspace, tmp_path: Path) -> None:
    plan = tiny(ws, workers=2)
    with Rehearsal(plan, 0, tmp_path / "stage", lambda line: None) as rehearsal:
        assert rehearsal._resident_batch()[1]["rgb"].shape[0] == 2
    made = predict(plan, replace(TIMED, batch=2))
    assert made.stages[0].steps == 2 and "2 workers" in made.remarks[0]


def test_the_gate_names_reason_and_remedy() -> None:
    made = Profile.model_construct(
        recipe="v9", utilisation=0.31, utilisation_band=(0.28, 0.35), machine="node, 4 cores", remedies=("more cores", "a larger batch")
    )
    require_utilisation(made, 0.31, "gpu")
    with pytest.raises(
        GateRefused, match=r"31% of the time \(28% to 35%, measured on node, 4 cores\); partition gpu asks for 50%"
    ) as caught:
        require_utilisation(made, 0.5, "gpu")
    assert caught.value.exit_code == 3 and caught.value.hint == "more cores" and caught.value.details == ("a larger batch",)


def test_the_digest_is_of_the_work_alone(ws: Workspace) -> None:
    plan = tiny(ws)
    assert cost_digest(plan) == cost_digest(tiny(ws, seed=3))
    assert cost_digest(plan) != cost_digest(tiny(ws, limit=4))


def test_the_command_measures_and_refuses(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*arguments: object) -> object:
        """Judges as training does, after a wait: so short an epoch could otherwise be all computing, which is the 100% that is asked."""
        time.sleep(0.2)
        return evaluations(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("pipelines.profile.rehearsal.evaluations", slowly)
    text = (ws.root / "vortex.toml").read_text()
    (ws.root / "vortex.toml").write_text(f"{text}\n[partitions.gpu]\nmin_utilisation = 1.0\n")
    planned = [str(ws.root / "tiny.yaml"), "--domain", "rooms", "--encoder-weights", "none", "--device", "cpu", "--allow-unvalidated"]
    command = ["profile", *planned, "--seconds", "0.1", "--workspace", str(ws.root), "--json"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0 and json.loads(found.stdout)["epoch_seconds"] > 0
    refused = CliRunner().invoke(app, [*command, "--partition", "gpu"])
    assert isinstance(refused.exception, GateRefused) and "partition gpu asks for 100%" in refused.exception.message
