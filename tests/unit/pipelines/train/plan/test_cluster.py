"""Which Ray clusters are joined: an address that answers, with room for the workers, whose machines see what is trained on."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from core.errors import UsageError, VortexError
from pipelines import workspace as workspaces
from pipelines.runs.orders import Orders, Superseded
from pipelines.train.driver import ray_cluster
from pipelines.train.plan import cluster
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import publish, recipe_file


@pytest.mark.parametrize("address", ["foo", "ray://", "host:0", "host:70000", "http://host:80", "ray://host"])
def test_a_word_that_is_no_address_is_refused_with_those_that_are(address: str) -> None:
    with pytest.raises(UsageError, match="allowed: local, auto, HOST:PORT, ray://HOST:PORT"):
        cluster.require_cluster(address, 2, "cpu")


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "ray://localhost:{}"])
def test_a_port_where_nothing_listens_is_refused_at_once(form: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = form.format(closed.getsockname()[1])
        started = time.monotonic()
        with pytest.raises(VortexError, match=f"no Ray cluster answers at {address}") as refused:
            cluster.require_cluster(address, 2, "cpu")
    assert "ray start --head" in refused.value.hint
    assert time.monotonic() - started < cluster.CONNECT_S + 1


def test_a_listener_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 3.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(VortexError, match="did not answer within 3 s") as refused:
            cluster.require_cluster(f"127.0.0.1:{silent.getsockname()[1]}", 2, "cpu")
    assert "RAY_AUTH_TOKEN_PATH" in refused.value.hint
    assert time.monotonic() - started < 30  # of which Ray's import takes most where the machine is busy


def test_a_busy_machine_is_given_the_time_that_importing_ray_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    loading, asking = cluster._ASK.split("ray.init", 1)
    answer = "print('{\"CPU\": 2}', flush=True); import os; os._exit(0)\n"
    monkeypatch.setattr(cluster, "ANSWER_S", 1.0)
    monkeypatch.setattr(cluster, "_ASK", f"import time; time.sleep(1.5)\n{loading}{answer}")
    cluster.require_cluster(cluster.AUTO, 2, "cpu")
    monkeypatch.setattr(cluster, "_ASK", f"{loading}import time; time.sleep(30)\nray.init{asking}")
    with pytest.raises(VortexError, match="no Ray cluster that this machine is a node of answered within 1 s") as refused:
        cluster.require_cluster(cluster.AUTO, 2, "cpu")
    assert refused.value.hint == "start one with: ray start --head"


def test_more_workers_than_there_is_room_for_are_refused() -> None:
    cluster.require_room({"CPU": 4.0, "GPU": 2.0}, 2, "cuda", "the cluster")
    with pytest.raises(VortexError, match="3 workers need a GPU each, and the cluster has 2"):
        cluster.require_room({"CPU": 4.0, "GPU": 2.0}, 3, "cuda", "the cluster")
    with pytest.raises(VortexError, match="2 workers need a CPU each, and the cluster has 0"):
        cluster.require_room({"memory": 1e9}, 2, "cpu", "the cluster")


def test_a_machine_names_what_it_does_not_see(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "packs").mkdir()
    orders = Orders.give(tmp_path / "run")
    places = [str(tmp_path / "packs"), str(tmp_path / "data")]
    assert ray_cluster.look(places[:1], orders) == []
    assert ray_cluster.look(places, orders) == [places[1]]
    # A folder of the same name on a disk of its own is not the run's.
    assert ray_cluster.look(places[:1], Orders(tmp_path / "run", "another")) == [str(tmp_path / "run")]
    assert ray_cluster.look(places[:1], Orders(tmp_path / "nowhere", "x")) == [str(tmp_path / "nowhere")]


def test_workers_of_an_earlier_driver_are_superseded(tmp_path: Path) -> None:
    first = Orders.give(tmp_path)
    assert not first.stop_requested()
    first.stop()
    assert first.stop_requested()
    second = Orders.give(tmp_path)
    assert not second.stop_requested()
    with pytest.raises(Superseded):
        first.stop_requested()


def test_options_that_do_not_fit_a_team_are_refused(workspace: Workspace) -> None:
    publish(workspace, "small")
    ws = workspaces.load(workspace.root)
    recipe = str(recipe_file(ws.root / "tiny.yaml"))

    def plan(**options: object) -> object:
        given = {"recipe": recipe, "domain": "rooms", "encoder_weights": "none", "device": "cpu", "allow_unvalidated": True}
        return planned(ws, **(given | options))  # type: ignore[arg-type]

    with pytest.raises(UsageError, match="--address auto is where workers run, and there are none"):
        plan(address="auto")
    with pytest.raises(UsageError, match="--sync-batch-norm joins the batches of several workers"):
        plan(workers=1, sync_batch_norm=True)
    with pytest.raises(UsageError, match="--sync-batch-norm needs GPUs"):
        plan(workers=2, sync_batch_norm=True)


def test_the_code_that_machines_compare_is_not_a_teacher_s_environment(tmp_path: Path) -> None:
    package = tmp_path / "models" / "teachers"
    package.mkdir(parents=True)
    (package / "da3.py").write_text("A = 1\n")
    digest = ray_cluster.code_digest(tmp_path)
    environment = package / "da3_process" / ".venv" / "lib"
    environment.mkdir(parents=True)
    (environment / "other.py").write_text("B = 2\n")
    assert ray_cluster.code_digest(tmp_path) == digest
    (package / "da3.py").write_text("A = 2\n")
    assert ray_cluster.code_digest(tmp_path) != digest
