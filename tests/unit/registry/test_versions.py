"""Names, what is recorded under them, and what a crash, a race or a move of the repository does to them: nothing."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import VortexError
from core.stages import STAGES
from registry.channels import Channel
from registry.edges import WeightsEdge
from registry.ledger import Ledger
from registry.records import Artifact, Export, Metrics, NewVersion, to_json
from registry.stages import StageJudgement, record_promotion
from registry.versions import Hub, append_registration

New = Callable[..., NewVersion]
CORRIDOR = Metrics("corridor", "femto-bolt", "val-pooled-10m/1", "corridor_eval", "ab" * 32, {"rmse": 0.382, "miou": 0.316}, 197)


def claim(ledger: Ledger, new: NewVersion) -> str:
    with ledger.transaction() as tx:
        return append_registration(tx, new, 1, actor="Ada")


def test_the_first_claim_of_a_recipe_takes_its_name_and_later_ones_the_next_number(ledger: Ledger, make_new: New) -> None:
    hub = Hub("", Path(), ledger)
    assert hub.next_name("v6", False) == "v6"
    asked = [("v6", False), ("v6", False), ("v9", True), ("v9", False), (None, False), ("v1", False), (None, True)]
    names = []
    for number, (recipe, derived) in enumerate(asked):
        forecast = hub.next_name(recipe, derived)
        names.append(claim(ledger, make_new(str(number), recipe=recipe, derived=derived)))
        assert names[-1] == forecast
    assert names == ["v6", "v10", "v11", "v9", "v12", "v1", "v13"]
    assert [summary.name for summary in hub.summaries()] == ["v1", "v6", "v9", "v10", "v11", "v12", "v13"]


def claim_many(url: str, news: list[NewVersion]) -> None:
    for new in news:
        claim(Ledger(url), new)


def test_processes_that_register_at_once_get_numbers_without_gap_or_repeat(ledger: Ledger, make_new: New) -> None:
    context = multiprocessing.get_context("fork")
    crowds = [[make_new(f"{worker}-{number}") for number in range(6)] for worker in range(4)]
    workers = [context.Process(target=claim_many, args=(ledger.url, news)) for news in crowds]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    assert [process.exitcode for process in workers] == [0] * 4
    assert [one.number for one in Hub("", Path(), ledger).summaries()] == [6, *range(10, 33)]
    ledger.verify()


def test_everything_that_was_registered_comes_back(hub: Hub, finished: New) -> None:
    new = finished(truncated="stopped at epoch 38 of 50")
    made = hub.register(new, actor="Ada <ada@example.org>", reason="first", commit="abc-dirty")
    assert (made.name, made.number, made.mlflow_version) == ("v6", 6, 1)
    assert (made.actor, made.reason, made.commit) == ("Ada <ada@example.org>", "first", "abc-dirty")
    for field in NewVersion.__dataclass_fields__:
        assert getattr(made, field) == getattr(new, field), field
    assert hub.get("v6") == made
    assert hub.versions() == [made]
    assert hub.artifacts.path(made.checkpoint).read_text() == new.run_id


def test_metrics_and_exports_are_added_and_the_newest_of_the_same_kind_counts(hub: Hub, finished: New) -> None:
    hub.register(finished(), actor="Ada")
    rooms = replace(CORRIDOR, domain="rooms", camera="kinect", values={"rmse": 0.9, "miou": float("nan"), "silog": float("inf")})
    hub.add_metrics("v6", CORRIDOR, rooms, actor="Ada")
    made = hub.add_metrics("v6", replace(CORRIDOR, values={"rmse": 0.371}), actor="Ada")
    assert [(one.domain, one.values["rmse"]) for one in made.metrics] == [("rooms", 0.9), ("corridor", 0.371)]
    assert str(made.metrics[0].values["miou"]) == "nan"
    assert made.metrics[0].values["silog"] == float("inf")
    assert made.headline is not None
    assert (made.headline.domain, made.headline.camera, made.headline.rmse) == ("corridor", "femto-bolt", 0.371)
    assert hub.summaries()[0].headline == made.headline
    onnx = Export(Artifact("x/student.onnx", "ef" * 32, 5), size=(120, 160), opset=20, parity_m=1.5e-5, class_agreement=1.0)
    hub.add_export("v6", onnx, actor="Ada")
    newer = replace(onnx, parity_m=1e-6)
    int8 = replace(onnx, precision="int8")
    hub.add_export("v6", newer, actor="Ada")
    assert hub.add_export("v6", int8, actor="Ada").exports == (newer, int8)


def test_stages_are_folded_into_versions(hub: Hub, finished: New) -> None:
    hub.register(finished(), actor="Ada")
    hub.register(finished(), actor="Ada")
    channel = Channel("host", "corridor")
    ladder = [StageJudgement(stage, True) for stage in STAGES]
    record_promotion(hub.ledger, channel, "v6", ladder, 0, actor="Grace")
    record_promotion(hub.ledger, channel, "v10", ladder[:2], 3, actor="Grace")
    assert hub.get("v6").stages == (("host/corridor", "production"),)
    assert [one.stages for one in hub.summaries()] == [(("host/corridor", "production"),), (("host/corridor", "staging"),)]
    assert [one.stages for one in hub.versions()] == [one.stages for one in hub.summaries()]


def test_an_unknown_version_is_answered_with_those_that_exist(hub: Hub, ledger: Ledger, make_new: New) -> None:
    with pytest.raises(VortexError, match="there is no version yet"):
        hub.get("v6")
    for number in range(30):
        claim(ledger, make_new(str(number)))
    with pytest.raises(VortexError, match=r"there are: v6, v10, .* v38$"):
        hub.get("v40")
    with pytest.raises(VortexError, match="versions are written v6, v10"):
        hub.get("6")
    for call in (lambda: hub.add_metrics("v40", CORRIDOR, actor="Ada"), lambda: hub.add_export("v40", None, actor="Ada")):  # type: ignore[arg-type]
        with pytest.raises(VortexError, match="'v40' is not registered"):
            call()
    assert len(hub.ledger.entries()) == 30


def test_what_cannot_be_claimed_or_derived_is_refused_before_mlflow_is_touched(hub: Hub, make_new: New) -> None:
    with pytest.raises(VortexError, match="'mine' is not a shipped recipe"):
        hub.register(make_new(recipe="mine"), actor="Ada")
    with pytest.raises(VortexError, match="names no weights"):
        hub.register(make_new(derived=True), actor="Ada")
    with pytest.raises(VortexError, match="'v12' is not registered"):
        hub.register(make_new(derived=True, parents=(WeightsEdge("v12"),)), actor="Ada")
    assert "store" not in vars(hub)
    assert hub.ledger.entries() == []


def test_a_run_is_registered_once(hub: Hub, finished: New) -> None:
    new = finished()
    first = hub.register(new, actor="Ada")
    assert hub.register(new, actor="Ada") == first
    assert hub.next_name("v6", False) == "v10"


@pytest.mark.parametrize("moment", ["before the ledger", "inside its transaction"])
def test_a_kill_after_mlflow_and_before_the_ledgers_commit_leaves_no_version(hub: Hub, finished: New, moment: str) -> None:
    new = finished()

    def die() -> None:
        own = Hub(hub.tracking_uri, hub.artifact_root, Ledger(hub.ledger.url))
        if moment == "before the ledger":
            own.ledger.transaction = lambda: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,method-assign]
            own.register(new, actor="Ada")
        with own.ledger.transaction() as tx:
            append_registration(tx, new, own.store.register_model(new.run_id, {}), actor="Ada")
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert hub.summaries() == []
    assert hub.next_name("v6", False) == "v6"
    made = hub.register(new, actor="Ada")
    assert (made.name, made.mlflow_version) == ("v6", 1), "the model version that was left behind is taken up"


def test_an_artifact_that_was_changed_or_lost_is_not_handed_out(hub: Hub, finished: New) -> None:
    checkpoint = hub.register(finished(), actor="Ada").checkpoint
    path = hub.artifacts.path(checkpoint)
    content = path.read_bytes()
    path.write_bytes(content[::-1])
    with pytest.raises(VortexError, match="not what was registered"):
        hub.artifacts.path(checkpoint)
    assert hub.artifacts.path(checkpoint, verify=False) == path
    path.unlink()
    with pytest.raises(VortexError, match="is gone"):
        hub.artifacts.path(checkpoint)
    with pytest.raises(VortexError, match="leaves"):
        hub.artifacts.path(replace(checkpoint, uri="../../etc/passwd"))


def test_a_moved_repository_keeps_its_versions_and_artifacts(hub: Hub, finished: New, tmp_path: Path) -> None:
    made = hub.register(finished(), actor="Ada")
    there = tmp_path / "elsewhere"
    there.mkdir()
    for name in ("mlflow.db", "ledger.db", "artifacts"):
        shutil.move(tmp_path / name, there / name)
    moved = Hub.open(f"sqlite:///{there / 'mlflow.db'}", there / "artifacts", f"sqlite:///{there / 'ledger.db'}")
    assert moved.get("v6") == made
    assert moved.artifacts.path(made.checkpoint).is_relative_to(there)
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{there / 'mlflow.db'}")
    assert moved.store.experiment_id == client.get_run(made.run_id).info.experiment_id
    (folder,) = client.list_artifacts(made.run_id, "checkpoint")
    assert folder.path == f"checkpoint/{made.checkpoint.sha256}"
    assert client.list_artifacts(made.run_id, folder.path)[0].path == f"{folder.path}/best.safetensors"
    assert not (tmp_path / "artifacts").exists()


def test_mlflow_is_a_cache_whose_failure_does_not_undo_a_registration(
    hub: Hub, finished: New, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise VortexError("MLflow is away")

    new = finished()
    monkeypatch.setattr(hub.store, "set_version_tags", fail)
    assert hub.register(new, actor="Ada").name == "v6"
    assert "MLflow is away" in caplog.text
    assert [one.name for one in hub.summaries()] == ["v6"]


def test_numbers_that_json_does_not_know_are_kept() -> None:
    import numpy as np

    assert to_json({"a": float("nan"), "b": (np.float32(0.5), np.int64(3)), "c": Path("x")}) == {"a": "nan", "b": [0.5, 3], "c": "x"}
