"""What a training will do is inferred, checked and said before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.errors import GateRefused, UsageError, VortexError
from pipelines import workspace as workspaces
from pipelines.hub.open import hub
from pipelines.runs.folder import PLAN
from pipelines.train.plan.resume import resume
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace
from registry.records import Artifact, DataUse, NewVersion
from registry.versions import Hub
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import publish


@pytest.fixture
def registry(ws: Workspace, fresh_store: Path) -> Hub:
    shutil.copytree(fresh_store, ws.root / "mlruns", dirs_exist_ok=True)
    return hub(ws)


@pytest.fixture
def ws(workspace: Workspace) -> Workspace:
    publish(workspace, "small")
    return workspaces.load(workspace.root)


def test_a_recipe_on_a_domain_is_one_stage_of_its_datasets(ws: Workspace) -> None:
    made = planned(ws, recipe="v6", domain="rooms", encoder_weights="none", epochs=20, size=(64, 96), allow_unvalidated=True)
    assert [[data.name for data in stage.data] for stage in made.stages] == [["small"]]
    assert (made.claim, made.derived, made.number, made.target, made.size) == ("v6", False, "v6", "rooms", (64, 96))
    assert made.recipe.stages[0].epochs == 20 and made.truncated is None
    assert made.stages[0].data[0].frames == {"train": 8, "val": 4}
    assert made.stages[0].data[0].validated is False
    told = "\n".join(made.inferred)
    for part in (
        "v6 (Cornerstone)",
        "small (domain rooms): 8 frames to train",
        "NOT VALIDATED",
        "4 of 8 frames have classes",
        "becomes  v6",
    ):
        assert part in told
    assert "probability 0.0039" in told  # (1 - 4/8) ** 8


def test_without_pretrained_weights_the_scratch_rates_are_used(ws: Workspace) -> None:
    rates = planned(ws, recipe="v6", domain="rooms", encoder_weights="none", allow_unvalidated=True).recipe.optimizer
    assert (rates.encoder_lr, rates.decoder_lr, rates.freeze_encoder_epochs, rates.batch_size) == (1e-3, 1e-3, 0, 8)


def test_pretrained_weights_keep_the_recipes_rates_and_their_frozen_share(ws: Workspace) -> None:
    made = planned(ws, recipe="v6", domain="rooms", allow_unvalidated=True)
    assert made.start.kind == "imagenet"
    rates = made.recipe.optimizer
    assert (rates.encoder_lr, rates.decoder_lr, rates.freeze_encoder_epochs, rates.batch_size) == (3e-5, 3e-4, 5, 16)
    short = planned(ws, recipe="v6", domain="rooms", epochs=40, allow_unvalidated=True)
    assert short.recipe.optimizer.freeze_encoder_epochs == 1


def test_lr_sets_the_decoders_rate_and_a_tenth_for_the_encoder(ws: Workspace) -> None:
    rates = planned(ws, recipe="v6", domain="rooms", lr=1e-3, batch_size=4, allow_unvalidated=True).recipe.optimizer
    assert (rates.encoder_lr, rates.decoder_lr, rates.batch_size) == (pytest.approx(1e-4), 1e-3, 4)


def test_a_recipes_own_datasets_are_asked_for_by_name(ws: Workspace) -> None:
    with pytest.raises(VortexError, match=r"not in this workspace: sunrgbd, diode, nyu \(datasets here: small\)") as caught:
        planned(ws, recipe="v6", allow_unvalidated=True)
    assert "--domain" in caught.value.hint


def test_a_recipe_whose_datasets_exist_runs_stage_by_stage_as_published(ws: Workspace) -> None:
    for name in ("sunrgbd", "diode", "nyu"):
        publish(ws, name, domain=name)
    made = planned(workspaces.load(ws.root), recipe="v6", allow_unvalidated=True)
    assert [[data.name for data in stage.data] for stage in made.stages] == [["sunrgbd", "diode", "nyu"], ["nyu"]]
    assert [stage.last_epoch for stage in made.stages] == [38, 154]
    assert made.target == "nyu" and made.truncated == "pretrain stopped at 38/50 epochs, nyu stopped at 154/200 epochs"
    whole = planned(workspaces.load(ws.root), recipe="v6", epochs=3, allow_unvalidated=True)
    assert [stage.last_epoch for stage in whole.stages] == [3, 3] and whole.truncated is None


def test_data_that_has_not_passed_is_refused_until_it_has(ws: Workspace) -> None:
    from pipelines.data.datasets import resolve
    from pipelines.validate.gate_run import validate

    with pytest.raises(GateRefused, match="small has not been validated") as caught:
        planned(ws, recipe="v6", domain="rooms", encoder_weights="none")
    assert "vortex validate small" in caught.value.hint
    report = validate(ws, resolve(ws, name_or_manifest="small"))
    if report.passed:
        assert planned(ws, recipe="v6", domain="rooms", encoder_weights="none").stages[0].data[0].validated is True
    else:
        with pytest.raises(GateRefused, match="small failed validation"):
            planned(ws, recipe="v6", domain="rooms", encoder_weights="none")


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({}, UsageError, "neither a recipe nor --from"),
        ({"recipe": "v6", "from_version": "v6", "domain": "rooms"}, UsageError, "both a recipe and --from"),
        ({"from_version": "v6"}, UsageError, "needs data"),
        ({"from_version": "v6", "domain": "rooms", "encoder_weights": "none"}, UsageError, "--encoder-weights does not fit --from"),
        ({"recipe": "v6", "domain": "rooms", "limit": 1}, UsageError, "--limit 1"),
        ({"recipe": "v6", "domain": "rooms", "lr": 0.0}, UsageError, "--lr 0 is not a learning rate"),
        ({"recipe": "v6", "domain": "rooms", "lr": float("nan")}, UsageError, "--lr nan"),
        ({"recipe": "v6", "domain": "rooms", "lr": 1e9}, UsageError, r"--lr 1e\+09"),
        ({"recipe": "v6", "domain": "rooms", "batch_size": 10**20}, UsageError, "allowed: 1 to 4096"),
        ({"recipe": "v6", "domain": "rooms", "seed": 10**20}, UsageError, "--seed 1000"),
        ({"recipe": "v6", "manifest": ("small", "small")}, VortexError, "small is named twice"),
        ({"recipe": "v6", "domain": "rooms", "batch_size": 1, "size": (32, 32)}, UsageError, "one frame of 32x32"),
        ({"recipe": "v6", "domain": "rooms", "limit": 2, "workers": 4, "batch_size": 8}, UsageError, "2 training frames .* 4 workers"),
        ({"recipe": "v6", "domain": "rooms", "workers": 3}, UsageError, "16 cannot be divided among 3 workers"),
        ({"recipe": "v6", "domain": "rooms", "device": "tpu"}, UsageError, "unknown device 'tpu'"),
        ({"recipe": "v77", "domain": "rooms"}, VortexError, "unknown recipe 'v77'"),
        ({"recipe": "v6", "domain": "moon"}, VortexError, "unknown domain 'moon'.*rooms"),
        ({"recipe": "v6", "domain": "corridor"}, VortexError, "corridor.*small"),
        ({"recipe": "v6", "manifest": ("nothing",)}, VortexError, "nothing.*small"),
        ({"recipe": "v6", "domain": "rooms", "encoder_weights": "/no/such/file.pt"}, VortexError, "no such file"),
        ({"from_version": "v10", "domain": "rooms"}, VortexError, "v10"),
        ({"recipe": "v9", "domain": "rooms"}, VortexError, "v6 has no weights here"),
    ],
)
def test_what_does_not_fit_is_explained(ws: Workspace, options: dict[str, object], error: type[VortexError], told: str) -> None:
    with pytest.raises(VortexError, match=told) as caught:
        planned(ws, allow_unvalidated=True, **options)  # type: ignore[arg-type]
    assert isinstance(caught.value, error) and caught.value.hint


def test_from_a_recipe_that_was_never_trained_here_names_adopt(ws: Workspace) -> None:
    with pytest.raises(VortexError, match="v6 has no weights here") as caught:
        planned(ws, from_version="v6", domain="rooms", allow_unvalidated=True)
    assert "vortex adopt" in caught.value.hint and "vortex train v6" in caught.value.hint


def test_from_a_version_takes_its_weights_size_and_recipe(ws: Workspace, registry: Hub, tmp_path: Path) -> None:
    from models.checkpoint import save
    from models.student import Student, StudentConfig
    from pipelines.recipes import recipe

    checkpoint = tmp_path / "student.safetensors"
    save(checkpoint, Student(StudentConfig(size=(64, 96))), {})
    run = registry.store.start_run("test")
    artifact = registry.store.log_artifact(run, checkpoint, "checkpoint")
    config = recipe.load("v5").model_dump(mode="json")
    use = DataUse("small", "rooms", "room", "0", None, True, {})
    registry.register(NewVersion("v5", False, config, (), "rooms", (use,), (64, 96), run, "run", artifact), actor="test")
    made = planned(ws, from_version="v5", domain="rooms", allow_unvalidated=True)
    rates = made.recipe.optimizer
    assert (rates.encoder_lr, rates.decoder_lr, rates.batch_size, made.recipe.stages[0].epochs) == (3e-5, 3e-4, 8, 50)
    assert (made.size, made.derived, made.claim, made.number) == ((64, 96), True, None, "v10")
    assert [(parent.kind, parent.version) for parent in made.recipe.parents] == [("weights", "v5")]
    assert made.recipe.augmentation == recipe.load("v5").augmentation
    (ws.root / "mlruns" / "artifacts" / artifact.uri).unlink()
    with pytest.raises(VortexError):
        planned(ws, from_version="v5", domain="rooms", allow_unvalidated=True)


def test_a_version_without_weights_is_refused_naming_adopt(ws: Workspace, registry: Hub) -> None:
    run = registry.store.start_run("declared")
    gone = Artifact("nowhere/student.safetensors", "0" * 64, 1)
    registry.register(NewVersion("v5", False, {}, (), None, (), (240, 320), run, "declared", gone), actor="test")
    with pytest.raises(VortexError) as caught:
        planned(ws, from_version="v5", domain="rooms", allow_unvalidated=True)
    assert "vortex adopt" in caught.value.hint


def test_a_plan_survives_its_file(ws: Workspace) -> None:
    made = planned(ws, recipe="v6", domain="rooms", encoder_weights="none", allow_unvalidated=True)
    assert TrainPlan.model_validate_json(made.model_dump_json()) == made


def test_a_run_of_gpus_is_not_resumed_where_its_student_cannot_be_measured(ws: Workspace) -> None:
    made = planned(ws, recipe="v6", domain="rooms", encoder_weights="none", device="cpu", workers=2, allow_unvalidated=True)
    made = made.model_copy(update={"device": "cuda", "address": "ray://localhost:1"})
    made.folder(ws).mkdir(parents=True)
    (made.folder(ws) / PLAN).write_text(made.model_dump_json(exclude={"resumed"}))
    with pytest.raises(VortexError, match="was planned for a GPU, and no GPU is asked for"):
        resume(ws, made.run, gpus=0)


def test_resuming_an_unknown_run_lists_the_runs(ws: Workspace) -> None:
    made = planned(ws, recipe="v6", domain="rooms", encoder_weights="none", allow_unvalidated=True)
    folder = made.folder(ws)
    folder.mkdir(parents=True)
    (folder / PLAN).write_text(made.model_dump_json(exclude={"resumed"}))
    with pytest.raises(VortexError, match=f"unknown run 'nothing'.*{made.run}"):
        resume(ws, "nothing")
    assert resume(ws, made.run).resumed
    (ws.data / "small" / "rgb" / "000.png").write_bytes((ws.data / "small" / "rgb" / "001.png").read_bytes())
    with pytest.raises(VortexError, match="small has changed since this run began"):
        resume(ws, made.run)
    shutil.rmtree(ws.data / "small")
    with pytest.raises(VortexError, match="this run trains on small: unknown dataset 'small'"):
        resume(ws, made.run)
