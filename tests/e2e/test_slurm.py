"""Trainings as jobs of a real SLURM: to the end, over the wall and on, killed, cancelled and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from core.errors import GateRefused, UsageError, VortexError
from core.files import locked
from models.tensors import read_tensors
from pipelines import submit as submitting
from pipelines import workspace as workspaces
from pipelines.hub.open import hub
from pipelines.profile.measurement import profile
from pipelines.profile.record import latest
from pipelines.runs import listing
from pipelines.runs.slurm.job import JobRecord
from pipelines.runs.slurm.job_options import JobOptions
from pipelines.runs.slurm.script import script
from pipelines.train.driver.run import lay_out, train
from pipelines.train.plan.resume import resume
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace
from tests.unit.pipelines import slurm_node
from tests.unit.pipelines.slurm_node import Cluster
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import publish, recipe_file
from vortex_cli.app import app

PATIENCE = 240.0
"""Seconds that a job may take to do what a test waits for; the machine can be busy with other tests."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm_node.serve(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def ws(cluster: Cluster, workspace: Workspace) -> Workspace:
    publish(workspace, "small")
    recipe_file(workspace.root / "tiny.yaml")
    return workspaces.load(workspace.root)


def submitted(ws: Workspace, *, epochs: int, **asked: Any) -> str:
    """Submit a tiny training; the run's name."""
    request = submitting.request_of(ws, JobOptions(**asked))
    plan = tiny(ws, epochs)
    job = submitting.submit(ws, plan, request)
    written = plan.folder(ws) / "slurm" / f"{job.job_id}_submission.sh"
    assert written.read_text() == script(plan.run, plan.folder(ws), request)
    return plan.run


def tiny(ws: Workspace, epochs: int) -> TrainPlan:
    options = {"recipe": str(ws.root / "tiny.yaml"), "domain": "rooms", "encoder_weights": "none", "device": "cpu"}
    return planned(ws, **options, epochs=epochs, allow_unvalidated=True)  # type: ignore[arg-type]


def until(ws: Workspace, run: str, condition: Callable[[listing.Run], bool], what: str) -> listing.Run:
    """Wait for a run to be as a test wants it; shows what the job printed when it never is."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = listing.find(ws, run)
        if condition(found):
            return found
        if found.state == "failed":
            break
        time.sleep(0.1)
    printed = "\n".join(path.read_text() for path in (ws.build / "runs" / run / "slurm").glob("*_log.*"))
    raise AssertionError(f"{run} is not {what} but {listing.find(ws, run)}; its job printed:\n{printed}")


def ended(ws: Workspace, run: str, state: str) -> listing.Run:
    return until(ws, run, lambda found: found.state == state, state)


def training(ws: Workspace, run: str) -> listing.Run:
    return until(ws, run, lambda found: found.state == "training" and found.epoch >= 1, "past its first epoch")


def weights(ws: Workspace, name: str) -> dict[str, torch.Tensor]:
    registry = hub(ws)
    return read_tensors(registry.artifacts.path(registry.get(name).checkpoint))[0]


def test_a_job_trains_to_its_end_and_is_a_version(ws: Workspace) -> None:
    run = submitted(ws, epochs=1)
    finished = until(ws, run, lambda found: found.slurm == "COMPLETED", "a job that has completed")
    assert (finished.state, finished.epoch, finished.partition) == ("finished", 1, "short")
    assert finished.version is not None and hub(ws).get(finished.version).run == run


@pytest.mark.endurance
def test_a_job_that_meets_its_wall_is_requeued_and_ends_as_if_it_had_met_none(cluster: Cluster, ws: Workspace) -> None:
    run = submitted(ws, epochs=12, partition="long", time="30:00", requeue=True)
    assert listing.find(ws, run).state in ("waiting", "starting")
    job = training(ws, run).job
    cluster.run("scancel", "--batch", "--signal=USR2", str(job))  # what SLURM sends before the wall, to whom it sends it
    until(ws, run, lambda found: found.state == "waiting", "back in the queue")
    assert hub(ws).versions() == []
    whole = train(ws, tiny(ws, 12), lambda event: None).version  # a requeued job has to wait
    said = list(listing.log(ws, run, follow=True))  # until the run has ended
    finished = until(ws, run, lambda found: found.slurm == "COMPLETED", "a job that has completed")
    assert (finished.state, finished.job, finished.epoch, finished.epochs, finished.partition) == ("finished", job, 12, 12, "long")
    begun = [line.event.epoch for line in said if line.event and line.event.kind == "started"]
    assert begun[0] == 0 and len(begun) == 2 and 0 < begun[1] < 12
    assert [line.event.epoch for line in said if line.event and line.event.kind == "epoch"] == [*range(1, 13)]
    assert sum(f"resumes  {run}" in line.text for line in said if line.source == "stderr") == 2
    assert whole is not None and finished.version is not None
    made, (one, other) = hub(ws).get(finished.version), (weights(ws, name) for name in (finished.version, whole.name))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert made.run == run and made.metrics[0].values == whole.metrics[0].values and made.truncated is None
    assert finished.best_rmse == pytest.approx(made.metrics[0].values["rmse"], abs=1e-6)


@pytest.mark.endurance
def test_a_job_that_gets_nowhere_before_its_wall_is_not_requeued(cluster: Cluster, ws: Workspace) -> None:
    run = submitted(ws, epochs=2, requeue=True)
    job = listing.find(ws, run).job
    until(ws, run, lambda found: (ws.build / "runs" / run / ".lock").exists(), "begun by its job")
    cluster.run("scancel", "--batch", "--signal=USR2", str(job))
    # The signal ends a training that does not listen yet, and stops one that does: either way nothing was gained.
    until(ws, run, lambda found: found.state in ("dead", "stopped") and found.slurm == "FAILED", "given up")
    (failed,) = [line.event for line in listing.log(ws, run) if line.event and line.event.kind == "failed"]
    assert "without one step more than before" in failed.message and "--time" in failed.hint


@pytest.mark.endurance
def test_killed_and_cancelled_jobs_are_told_apart_and_can_go_on(cluster: Cluster, ws: Workspace) -> None:
    killed, cancelled = submitted(ws, epochs=40), submitted(ws, epochs=40)
    training(ws, killed)
    state = json.loads((ws.build / "runs" / killed / "state.json").read_text())
    os.kill(state["pid"], signal.SIGKILL)
    dead = ended(ws, killed, "dead")
    until(ws, killed, lambda found: found.slurm == "FAILED", "a failed job")
    said = list(listing.log(ws, killed))
    assert said[0].source == "stderr" and f"resumes  {killed}" in said[0].text, "the plan comes before what the training did"
    assert said[-1].event and "was ended by SIGKILL" in said[-1].event.message
    assert not any("submitit" in line.text for line in said)
    job = training(ws, cancelled).job
    cluster.run("scancel", str(job))
    gone = ended(ws, cancelled, "cancelled")
    assert gone.slurm == "CANCELLED" and dead.version is None is gone.version
    assert resume(ws, killed).resumed and resume(ws, cancelled).resumed
    assert hub(ws).versions() == []


def test_what_a_job_asks_for_is_the_commands_then_the_workspaces_then_the_clusters(ws: Workspace) -> None:
    assert submitting.request_of(ws, JobOptions()).partition == "short"
    assert [submitting.request_of(ws, JobOptions(partition=name)).minutes for name in ("short", "long", "open")] == [30, 60, None]
    again = submitting.request_of(ws, JobOptions(gres="gpu:1"), before=JobRecord("7", "long", "gpu:2", 60, True, "lab", 0.0))
    assert (again.partition, again.gres, again.requeue, again.account) == ("long", "gpu:1", True, "lab")
    settings = ws.root / "vortex.toml"
    settings.write_text(settings.read_text() + '\n[partitions.long]\ntime = "2:00:00"\ngres = "gpu:2"\ncpus = 1\n')
    with_settings = workspaces.load(ws.root)
    asked = submitting.request_of(with_settings, JobOptions(gres="gpu:1"))
    assert (asked.partition, asked.minutes, asked.gres, asked.gpus, asked.cpus) == ("long", 120, "gpu:1", 1, 1)
    with pytest.raises(UsageError, match=r"unknown partition 'gpu'; this cluster has: long, open, short"):
        submitting.request_of(ws, JobOptions(partition="gpu"))
    with pytest.raises(UsageError, match=r"--time 31: allowed in partition short: 00:02:00 to 00:30:00"):
        submitting.request_of(ws, JobOptions(time="31"))
    with pytest.raises(UsageError, match=r"--time 0: allowed in partition open: 00:02:00 to UNLIMITED") as caught:
        submitting.request_of(ws, JobOptions(partition="open", time="0"))
    assert "before it has begun" in caught.value.hint
    settings.write_text(settings.read_text().replace('"2:00:00"', '"two hours"'))
    with pytest.raises(UsageError, match=r"partitions\.long\.time: 'two hours' is not a time limit"):
        submitting.request_of(workspaces.load(ws.root), JobOptions())


def test_a_job_that_can_never_run_says_why_and_its_run_takes_no_second_one(ws: Workspace) -> None:
    run = submitted(ws, epochs=1, cpus=999)
    waiting = until(ws, run, lambda found: found.reason != "", "waiting for a reason")
    assert (waiting.state, waiting.slurm) == ("waiting", "PENDING")
    with pytest.raises(UsageError, match=f"{run} is waiting already as job {waiting.job}"):
        submitting.submit(ws, resume(ws, run), submitting.request_of(ws, JobOptions()))
    with pytest.raises(UsageError, match=f"{run} is waiting already as job {waiting.job}") as caught:
        listing.require_unqueued(ws, run, None)
    assert caught.value.hint.endswith(f"scancel {waiting.job}")
    listing.require_unqueued(ws, run, waiting.job)  # the job itself trains its run
    subprocess.run(["scancel", str(waiting.job)], check=True)


def test_what_slurm_refuses_is_said_and_leaves_nothing(ws: Workspace) -> None:
    with pytest.raises(VortexError, match=r"SLURM refused the job: .*gres") as caught:
        submitted(ws, epochs=1, gres="gpu:1")
    assert "scontrol show partition short" in caught.value.hint and list((ws.build / "runs").glob("*/plan.json")) == []


def test_a_job_that_slurm_has_forgotten_is_dead(ws: Workspace) -> None:
    plan = tiny(ws, 1)
    lay_out(plan, plan.folder(ws))
    assert listing.find(ws, plan.run).state == "planned"
    JobRecord("999999", "short", None, 30, False, None, time.time()).write(plan.folder(ws))
    found = listing.find(ws, plan.run)
    assert (found.state, found.slurm) == ("dead", listing.VANISHED)
    assert [(run.run, run.state) for run in listing.runs(ws)] == [(plan.run, "dead")]


def test_the_command_prints_its_script_and_refuses_a_run_that_is_at_work(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    place, options = ["--workspace", str(ws.root)], ["--domain", "rooms", "--encoder-weights", "none", "--allow-unvalidated"]
    app(["submit", str(ws.root / "tiny.yaml"), *options, "--time", "10:00", "--dry-run", *place], standalone_mode=False)
    out = capsys.readouterr().out
    assert out.startswith("#!/bin/bash") and "#SBATCH --time=10\n" in out and "#SBATCH --no-requeue\n" in out
    assert not (ws.build / "runs").exists()
    plan = tiny(ws, 1)
    lay_out(plan, plan.folder(ws))
    with locked(plan.folder(ws) / ".lock"), pytest.raises(UsageError, match=f"{plan.run} is training already"):
        app(["submit", "--resume", plan.run, *place], standalone_mode=False)
    with pytest.raises(UsageError, match="no other option"):
        app(["submit", "--resume", plan.run, "--epochs", "3", *place], standalone_mode=False)
    app(["submit", "--resume", plan.run, "--dry-run", *place], standalone_mode=False)
    assert f"#SBATCH --job-name={plan.run}\n" in capsys.readouterr().out
    made = train(ws, resume(ws, plan.run), lambda event: None).version
    app(["submit", "--resume", plan.run, *place], standalone_mode=False)
    assert made and capsys.readouterr().out == f"{plan.run} is finished and needs no job: it is {made.name}\n"
    assert listing.find(ws, plan.run).job is None


def test_a_partition_is_spared_a_training_that_would_leave_it_idle(ws: Workspace) -> None:
    settings = ws.root / "vortex.toml"
    settings.write_text(settings.read_text() + "\n[partitions.short]\nmin_utilisation = 1.0\n")
    demanding, said = workspaces.load(ws.root), []
    plan, asked = tiny(demanding, 1), submitting.request_of(demanding, JobOptions())
    made = profile(demanding, plan, seconds=0.2)  # is found again, as one that was measured on a node would be
    with pytest.raises(GateRefused, match=r"partition short asks for 100%"):
        submitting.require_utilisation(demanding, plan, asked, said.append)
    assert latest(demanding, plan) == made and said == []
    submitting.require_utilisation(ws, plan, asked, said.append)  # without a demand nothing is measured
    if not torch.cuda.is_available():
        elsewhere = plan.model_copy(update={"device": "cuda"})
        with pytest.raises(VortexError, match="no GPU to measure the training on") as caught:
            submitting.require_utilisation(demanding, elsewhere, replace(asked, gres="gpu:1"), said.append)
        assert "srun --partition short --gres gpu:1 vortex profile" in caught.value.hint
