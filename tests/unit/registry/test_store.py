"""What Vortex writes to MLflow, read back by a plain MLflow client."""

from __future__ import annotations

import dataclasses
import logging
import math
import multiprocessing
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from core.errors import VortexError
from registry.channels import Channel
from registry.records import Metrics, NewVersion
from registry.stages import StageJudgement, record_promotion
from registry.store import MODEL, MlflowStore
from registry.versions import Hub

New = Callable[..., NewVersion]


def test_any_client_reads_runs_metrics_inputs_artifacts_versions_and_aliases(hub: Hub, finished: New) -> None:
    from mlflow import MlflowClient

    new = finished()
    hub.store.log_params(new.run_id, {"recipe": {"optimizer": {"encoder_lr": 3e-5}}, "long": "x" * 9000} | {f"p{n}": n for n in range(150)})
    for step in range(3):
        hub.store.log_metrics(new.run_id, {"val/rmse": 1.0 / (step + 1), "train/δ": float("nan")}, step)
    hub.store.log_inputs(new.run_id, new.data)
    hub.register(new, actor="Ada")
    hub.add_metrics("v6", Metrics("corridor", "femto-bolt", "p/1", "corridor", "ab", {"rmse": 0.382}, 20), actor="Ada")
    channel = Channel("host", "corridor")
    record_promotion(hub.ledger, channel, "v6", [StageJudgement("candidate", True), StageJudgement("staging", True)], 0, actor="Ada")
    hub.refresh_aliases(channel)

    client = MlflowClient(hub.tracking_uri.reveal())
    run = client.get_run(new.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe.optimizer.encoder_lr"] == "3e-05"
    assert len(run.data.params["long"]) == 6000
    assert len(run.data.params) == 152
    assert [(one.step, one.value) for one in client.get_metric_history(new.run_id, "val/rmse")] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert math.isnan(run.data.metrics["train/δ"])
    assert run.data.metrics["corridor/femto-bolt/rmse"] == 0.382
    dataset = run.inputs.dataset_inputs[0]
    assert (dataset.dataset.name, dataset.dataset.digest) == ("corridor", new.data[0].dvc)
    assert {tag.key: tag.value for tag in dataset.tags}["vortex.digest"] == new.data[0].digest
    version = client.get_model_version_by_alias(MODEL, "staging-ON-host-FOR-corridor")
    assert version.run_id == new.run_id
    assert version.tags["vortex.version"] == "v6"
    assert version.tags["vortex.parent.recipe"] == "v5"
    assert [one.version for one in client.search_model_versions(f"name = '{MODEL}' and tags.`vortex.version` = 'v6'")] == [version.version]
    downloaded = Path(client.download_artifacts(new.run_id, f"checkpoint/{new.checkpoint.sha256}/best.safetensors"))
    assert downloaded.read_text() == new.run_id


def test_the_store_never_phones_home_nor_loads_pickles(hub: Hub) -> None:
    assert hub.store.experiment_id
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert logging.getLogger("alembic").level >= logging.ERROR


def open_store(folder: Path) -> None:
    store = MlflowStore(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    store.end_run(store.start_run("race"))


def test_processes_that_open_a_fresh_store_at_once_all_succeed(tmp_path: Path, migrated: Path) -> None:
    assert migrated.exists()  # MLflow is imported here, so that each fork need not
    context = multiprocessing.get_context("fork")
    crowd = [context.Process(target=open_store, args=(tmp_path,)) for _ in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    assert [process.exitcode for process in crowd] == [0] * 3
    store = MlflowStore(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    assert len(store._client.search_runs([store.experiment_id])) == 3


def test_artifacts_beyond_a_local_folder_keep_their_full_uri(tmp_path: Path, migrated: Path, make_new: New) -> None:
    import shutil

    from registry.store import EXPERIMENT

    shutil.copyfile(migrated, tmp_path / "mlflow.db")
    root = (tmp_path / "bucket").as_uri()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    from mlflow import MlflowClient

    MlflowClient(uri).rename_experiment(MlflowClient(uri).get_experiment_by_name(EXPERIMENT).experiment_id, "older")
    hub = Hub.open(uri, root, f"sqlite:///{tmp_path / 'ledger.db'}")
    run_id = hub.store.start_run("remote")
    file = tmp_path / "best.safetensors"
    file.write_bytes(b"weights")
    artifact = hub.store.log_artifact(run_id, file, "checkpoint")
    assert artifact.uri == f"{root}/{run_id}/artifacts/checkpoint/{artifact.sha256}/best.safetensors"
    made = hub.register(make_new(run_id, checkpoint=artifact), actor="Ada")
    assert hub.artifacts.path(made.checkpoint).read_bytes() == b"weights"


def test_a_store_whose_making_broke_off_is_made_anew(tmp_path: Path) -> None:
    # What a kill leaves of MLflow's migrations: with this table there the next one ends in an error.
    left_over = tmp_path / ".mlflow.db.new"
    with closing(sqlite3.connect(left_over)) as connection:
        connection.execute("CREATE TABLE _alembic_tmp_tags (key TEXT)")
    store = MlflowStore(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    assert store.runs() == []
    assert not left_over.exists()


def test_a_store_that_cannot_be_opened_says_so_in_one_line(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "broken.db").write_bytes(b"not a database" * 500)
    with pytest.raises(VortexError, match=r"broken.db: could not open: .*not a database"):
        MlflowStore(f"sqlite:///{tmp_path / 'broken.db'}", tmp_path / "artifacts")
    with pytest.raises(VortexError, match="could not end a run"):
        hub.store.end_run("f" * 32)
    with pytest.raises(VortexError, match="could not register"):
        hub.store.register_model("f" * 32, {})


def test_a_file_that_cannot_be_stored_leaves_nothing(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    file = tmp_path / "best.safetensors"
    file.write_bytes(b"weights")

    def full(_: object, to: object) -> None:
        Path(str(to)).write_bytes(b"we")
        raise OSError(28, "No space left on device")

    run_id = hub.store.start_run("full")
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(VortexError, match="no space left"):
        hub.store.log_artifact(run_id, file, "checkpoint")
    assert list((tmp_path / "artifacts" / run_id).rglob("*.*")) == []


def test_what_is_stored_is_never_overwritten(tmp_path: Path, hub: Hub) -> None:
    run_id, file = hub.store.start_run("twice"), tmp_path / "best.safetensors"
    file.write_bytes(b"first")
    first = hub.store.log_artifact(run_id, file, "checkpoint")
    stored = hub.artifacts.path(first)
    inode = stored.stat().st_ino
    assert hub.store.log_artifact(run_id, file, "checkpoint") == first and stored.stat().st_ino == inode
    file.write_bytes(b"second")
    second = hub.store.log_artifact(run_id, file, "checkpoint")
    assert first.sha256 in first.uri and second.sha256 in second.uri
    assert [hub.artifacts.path(artifact).read_bytes() for artifact in (first, second)] == [b"first", b"second"]
    stored.write_bytes(b"FIRST")
    file.write_bytes(b"first")
    with pytest.raises(VortexError, match="holds other bytes than those that it is named after"):
        hub.store.log_artifact(run_id, file, "checkpoint")
    assert stored.read_bytes() == b"FIRST"


def test_a_file_that_changes_while_it_is_stored_is_not_stored(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    file = tmp_path / "best.safetensors"
    file.write_bytes(b"weights")
    monkeypatch.setattr(shutil, "copyfile", lambda _, to: Path(to).write_bytes(b"others!"))
    run_id = hub.store.start_run("changed")
    with pytest.raises(VortexError, match="was changed while it was stored"):
        hub.store.log_artifact(run_id, file, "checkpoint")
    assert list((tmp_path / "artifacts" / run_id).rglob("*.*")) == []


def test_a_store_is_made_in_a_folder_whose_path_has_any_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a?b #1 50% [x] 'q' \"d\" ü $HOME; &c:d"
    folder.mkdir()
    monkeypatch.chdir(folder)
    store = MlflowStore(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}", folder / "mlruns" / "artifacts")
    run_id = store.start_run("odd")
    (folder / "file").write_bytes(b"weights")
    artifact = store.log_artifact(run_id, folder / "file", "checkpoint")
    assert (folder / "mlruns" / "artifacts" / artifact.uri).read_bytes() == b"weights"
    assert store.location(run_id) == (folder / "mlruns" / "artifacts" / run_id / "artifacts").as_uri()
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == ["file", "mlruns"]


def test_what_was_deleted_in_mlflow_is_named_with_the_command_that_restores_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    def restore(hint: str) -> None:
        """Run the command of a hint as a person would."""
        command = hint.partition("restore it with: ")[2].replace(" mlflow ", f" {sys.executable} -m mlflow ")
        subprocess.run(command, shell=True, check=True, capture_output=True)

    run_id = hub.store.start_run("one")
    hub.store._client.delete_run(run_id)
    with pytest.raises(VortexError, match=f"run {run_id} was deleted") as caught:
        hub.store.log_metrics(run_id, {"rmse": 1.0})
    restore(caught.value.hint)
    hub.store.log_metrics(run_id, {"rmse": 1.0})
    number = hub.store.register_model(run_id, {})
    hub.store._client.delete_model_version("vortex-student", str(number))
    with pytest.raises(VortexError, match=f"version {number} of MLflow's model 'vortex-student' was deleted"):
        hub.store.set_alias("rooms-host-staging", number)
    hub.store._client.delete_experiment(hub.store.experiment_id)
    with pytest.raises(VortexError, match="experiment 'vortex' was deleted") as caught:
        MlflowStore(hub.tracking_uri, hub.artifact_root)
    restore(caught.value.hint)
    assert MlflowStore(hub.tracking_uri, hub.artifact_root).experiment_id == hub.store.experiment_id


def test_a_run_that_has_not_ended_is_brought_whole_however_often_it_grew(hub: Hub, tmp_path: Path, migrated: Path) -> None:
    run = hub.store.start_run("killed")
    hub.store.log_params(run, {"lr": 3e-4})
    hub.store.log_metrics(run, {"loss": 2.0, "odd": float("nan")}, 1)
    shutil.copyfile(migrated, tmp_path / "elsewhere.db")
    elsewhere = MlflowStore(f"sqlite:///{tmp_path}/elsewhere.db", tmp_path / "artifacts")
    assert elsewhere.import_run(dataclasses.replace(hub.store.export_run(run), params={}, metrics=()))  # broke off after its beginning
    assert elsewhere.import_run(hub.store.export_run(run)) and not elsewhere.import_run(hub.store.export_run(run))
    hub.store.log_metrics(run, {"loss": 1.0}, 2)
    assert elsewhere.import_run(hub.store.export_run(run)) and elsewhere.steps(run, "loss") == {1, 2}
    assert elsewhere.has_run(run) and not elsewhere.has_run("0" * 32)
