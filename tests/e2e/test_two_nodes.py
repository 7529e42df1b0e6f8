"""Two workers on a real Ray cluster of two nodes: one worker is killed, then a whole node, and the run still becomes a version."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.trainings.processes import STARTING_S, command_of, descendants, end, epochs, events, until, workers
from core.errors import VortexError
from pipelines import workspace as workspaces
from pipelines.hub.open import hub
from pipelines.train.plan.cluster import require_cluster
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_set import publish, recipe_file

RAY = Path(sys.executable).with_name("ray")


class Node:
    """A node of a cluster as a person starts it. `kill` is what a power cut does: nothing of it is left, and it says no farewell."""

    def __init__(self, *options: str) -> None:
        # The head gives a node up after a second without an answer, so that a test need not wait for half a minute.
        patience = {"RAY_health_check_initial_delay_ms": "0", "RAY_health_check_period_ms": "200", "RAY_health_check_timeout_ms": "1000"}
        # And gRPC's handlers for fork() crash what the client server starts, once in some ten times on a busy machine.
        patience |= {"GRPC_ENABLE_FORK_SUPPORT": "0"}
        command = [str(RAY), "start", "--block", "--disable-usage-stats", *options]
        self.process = subprocess.Popen(
            command, env=os.environ | patience, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            end(pid)
        self.process.wait(10)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str, list[Node]]]:
    """A head and a node with room for two workers each, behind a token; the addresses of the head and of its client server.

    One CPU a node stays free, so that workers that start again are spread again before the places of those before them are cleared.
    """
    token = tmp_path / "token"
    token.write_text("a-token-of-this-test-alone")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    port, client = free_ports(2)
    nodes = [Node("--head", "--include-dashboard=false", f"--port={port}", f"--ray-client-server-port={client}", "--num-cpus=2")]
    try:
        assert until(lambda: reachable(port) and reachable(client)), "the head did not start"
        nodes.append(Node(f"--address=127.0.0.1:{port}", "--num-cpus=2"))
        assert until(lambda: any(b"RuntimeEnvAgent" in command_of(pid) for pid in descendants(nodes[1].process.pid))), "no second node"
        yield f"127.0.0.1:{port}", f"ray://127.0.0.1:{client}", nodes
    finally:
        for node in reversed(nodes):
            node.kill()


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def reachable(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.endurance
def test_a_run_outlives_a_worker_and_then_a_node(
    workspace: Workspace, cluster: tuple[str, str, list[Node]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(workspace, "small", train=24)
    recipe_file(workspace.root / "tiny.yaml")
    (address, client, (head, node)), folder, last = cluster, workspace.root, 6
    monkeypatch.setattr("pipelines.train.plan.cluster.ANSWER_S", STARTING_S)
    with pytest.raises(VortexError, match=r"5 workers need a CPU each, and the Ray cluster at ray://.* has 4"):
        require_cluster(client, 5, "cpu")
    words = f"tiny.yaml --domain rooms --encoder-weights none --device cpu --allow-unvalidated --epochs {last} --workers 2 --address"
    with open(tmp_path / "stderr", "w+") as stderr:
        command = [sys.executable, "-m", "vortex_cli.main", "train", *words.split(), address]
        driver = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr, env=os.environ | {"COLUMNS": "400"})
        try:
            assert until(lambda: epochs(folder) or driver.poll() is not None) and driver.poll() is None, "no epoch was trained"
            assert workers(head.process.pid) and workers(node.process.pid), "the workers were not spread over the nodes"
            end(workers(node.process.pid)[0])
            assert until(lambda: [event for event in events(folder) if event.kind == "started"][1:]), "training did not go on"
            before = len(epochs(folder))
            assert until(lambda: len(epochs(folder)) > before and workers(node.process.pid)), "no epoch was trained after the restart"
            node.kill()
            assert driver.wait(2 * STARTING_S) == 0, "the run did not finish"
        finally:
            driver.kill()
            stderr.seek(0)
            said = stderr.read()
            print(said)
    # What a loss cost was trained again, from the checkpoint before it, and nothing was left out.
    heard = epochs(folder)
    assert sorted(set(heard)) == list(range(1, last + 1)) and heard[-1] == last
    assert all(following <= epoch + 1 for epoch, following in pairwise(heard))
    assert len([event for event in events(folder) if event.kind == "started"]) == 3
    notes = [event.message for event in events(folder) if event.kind == "note"]
    assert len(notes) == 2 and all("training goes on from the newest checkpoint" in note and note in said for note in notes)
    assert [version.name for version in hub(workspaces.load(folder)).versions()] == ["v10"]
    assert "raylet" not in said.lower() and "Traceback" not in said
