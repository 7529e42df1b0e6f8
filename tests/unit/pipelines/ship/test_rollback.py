from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines.hub.open import hub
from pipelines.ship.rollback import rollback
from pipelines.workspace import load
from registry import stages
from registry.channels import Channel
from registry.stages import channel_state
from registry.versions import Hub
from tests.unit.pipelines.ship.conftest import Arena

CHANNEL = Channel("host", "rooms")


def alias(registry: Hub, stage: str = "production") -> str | None:
    """The version that an MLflow alias of the channel points at, by the run behind it."""
    run = registry.store.run_behind(CHANNEL.alias(stage))
    return next((version.name for version in registry.versions() if version.run_id == run), None)


@pytest.fixture(scope="module")
def held_template(exam_template: Path, random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel that v10, v11 and v12 held in turn, as the ledger and MLflow have it."""
    root = tmp_path_factory.mktemp("held") / "workspace"
    shutil.copytree(exam_template, root, symlinks=True)
    arena = Arena(load(root), random_checkpoint)
    registry = hub(arena.ws)
    for _ in range(3):
        record(registry, arena.register())
    registry.refresh_aliases(CHANNEL)
    return root


@pytest.fixture
def held(held_template: Path, random_checkpoint: Path, tmp_path: Path) -> tuple[Arena, Hub]:
    """A copy of it."""
    shutil.copytree(held_template, tmp_path / "workspace", symlinks=True)
    arena = Arena(load(tmp_path / "workspace"), random_checkpoint, 3)
    return arena, hub(arena.ws)


def record(registry: Hub, name: str) -> None:
    judgements = [stages.StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
    stages.record_promotion(registry.ledger, CHANNEL, name, judgements, channel_state(registry.ledger, CHANNEL).seq, actor="test")


def test_rollback_brings_the_one_before_back(held: tuple[Arena, Hub]) -> None:
    arena, registry = held
    report = rollback(arena.ws, reason="late braking")
    assert report.recorded and report.sentence() == "v11 is back in production on host/rooms; v12 left it"
    assert channel_state(registry.ledger, CHANNEL).production == "v11" and alias(registry) == "v11"
    assert rollback(arena.ws).version == "v10", "what was finished goes back further"
    with pytest.raises(VortexError, match="nothing to roll back to: v10 is its first"):
        rollback(arena.ws)


def test_a_named_rollback_happens_once(held: tuple[Arena, Hub]) -> None:
    arena, registry = held
    assert rollback(arena.ws, to="v10").sentence() == "v10 is back in production on host/rooms; v12 left it"
    end = registry.ledger.verify()
    again = rollback(arena.ws, to="v10")
    assert not again.recorded and (again.version, again.replaced) == ("v10", "v12") and registry.ledger.verify() == end
    assert "v10 is back in production on host/rooms already; v12 left it" in again.sentence()
    with pytest.raises(VortexError, match="nothing to roll back to: v10 is its first"):
        rollback(arena.ws, to="v11")
    record(registry, "v11")
    with pytest.raises(VortexError, match=r"v12 was not in production on host/rooms before v11; what it can go back to: v10$"):
        rollback(arena.ws, to="v12")
    assert rollback(arena.ws, to="v11").sentence() == "v11 is already in production on host/rooms: nothing changed"


def test_a_rollback_that_was_ended_within_is_finished_and_goes_no_further(held: tuple[Arena, Hub]) -> None:
    arena, registry = held
    stages.rollback(registry.ledger, CHANNEL, actor="test")  # and no more: its aliases were never set
    assert alias(registry) == "v12"
    report = rollback(arena.ws)
    assert (report.version, report.replaced, report.recorded) == ("v11", "v12", False)
    assert channel_state(registry.ledger, CHANNEL).production == "v11" and alias(registry) == "v11"
    assert rollback(arena.ws).version == "v10"


def test_without_mlflow_a_second_step_must_be_named(held: tuple[Arena, Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    arena, registry = held
    monkeypatch.setattr(Hub, "reach_store", lambda self: False)
    assert rollback(arena.ws).version == "v11"
    with pytest.raises(VortexError, match="rolled back from v12 to v11, and whether that was finished cannot be told") as caught:
        rollback(arena.ws)
    assert caught.value.hint.endswith("vortex rollback --device host --domain rooms --to VERSION")
    assert rollback(arena.ws, to="v10").version == "v10"
    assert alias(registry) == "v12", "the aliases wait for MLflow"


def test_a_store_that_cannot_be_opened_is_said_and_stops_no_rollback(held: tuple[Arena, Hub], caplog: pytest.LogCaptureFixture) -> None:
    arena, registry = held
    (arena.ws.root / "mlruns" / "mlflow.db").write_bytes(b"not a database" * 500)
    assert rollback(arena.ws).version == "v11" and channel_state(registry.ledger, CHANNEL).production == "v11"
    assert "MLflow cannot be opened, its aliases wait for the next promotion or rollback there" in caplog.text
    assert len(caplog.records) == 1


def test_nothing_is_in_production(arena: Arena) -> None:
    with pytest.raises(VortexError, match="nothing is in production on host"):
        rollback(arena.ws)


def test_asking_again_puts_aliases_right(held: tuple[Arena, Hub]) -> None:
    arena, registry = held
    registry.store.set_alias(CHANNEL.alias("production"), registry.get("v10").mlflow_version)
    registry.store.drop_alias(CHANNEL.alias("staging"))
    end = registry.ledger.verify()
    assert arena.promote("v12", dry_run=True).already and alias(registry) == "v10", "a dry run leaves all as it is"
    report = arena.promote("v12")
    assert report.already and not report.recorded and registry.ledger.verify() == end
    assert [alias(registry, stage) for stage in ("candidate", "staging", "production")] == ["v12"] * 3


def test_an_alias_of_a_stage_that_nothing_holds_is_taken_away(arena: Arena) -> None:
    registry, name = hub(arena.ws), arena.register()
    stages.record_promotion(registry.ledger, CHANNEL, name, [stages.StageJudgement("candidate", True)], 0, actor="test")
    registry.store.set_alias(CHANNEL.alias("production"), registry.get(name).mlflow_version)
    assert registry.aliases_stale(CHANNEL)
    registry.refresh_aliases(CHANNEL)
    assert (alias(registry, "candidate"), alias(registry)) == (name, None) and not registry.aliases_stale(CHANNEL)


def test_an_alias_follows_the_run_when_mlflow_counts_anew(held: tuple[Arena, Hub]) -> None:
    arena, registry = held
    registry.store._client.delete_registered_model("vortex-student")
    reopened = hub(arena.ws)
    newest = arena.register()  # MLflow's version 1, as v10 was
    assert reopened.get(newest).mlflow_version == reopened.get("v10").mlflow_version == 1
    assert arena.promote("v12").already and alias(reopened) == "v12"
    assert rollback(arena.ws, to="v10").recorded and alias(reopened) == "v10"
