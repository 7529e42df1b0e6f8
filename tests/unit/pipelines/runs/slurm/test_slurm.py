"""What is asked of SLURM: the batch script, whole; limits, partitions and GPUs as SLURM writes them; a machine without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.trainings.processes import alive, until
from core.errors import UsageError, VortexError
from pipelines import submit as submitting
from pipelines import workspace as workspaces
from pipelines.runs import listing
from pipelines.runs.events import Journal
from pipelines.runs.slurm import job, queue, segment, stamps
from pipelines.runs.slurm.job_options import JobOptions
from pipelines.runs.slurm.limits import parse_limit, show_limit
from pipelines.runs.slurm.script import Request, script, warning_seconds
from pipelines.runs.slurm.segment import progress
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import tiny
from vortex_cli.app import app

GOLDEN = Path(__file__).parents[4] / "golden"
CASES = {
    "requeued": (
        "from-v6-corridor-20261121-120000-0a1b",
        "/home/ada/robots/build/runs/from-v6-corridor-20261121-120000-0a1b",
        Request("gpu", 720, "gpu:a100:2", "perception", 8, "32G", True),
    ),
    "plain": ("v1-rooms-20261121-120000-2c3d", "/data/my robots/build/runs/v1-rooms-20261121-120000-2c3d", Request("open")),
}
SHOWN = (
    "PartitionName=short AllowGroups=ALL Default=YES QoS=N/A DefaultTime=NONE MaxTime=00:30:00 Nodes=one State=UP JobDefaults=(null)\n"
    "PartitionName=long AllowGroups=ALL Default=NO QoS=N/A DefaultTime=01:00:00 MaxTime=2-00:00:00 Nodes=one State=UP TRES=cpu=2,mem=1M\n"
    "PartitionName=open AllowGroups=ALL Default=NO QoS=N/A DefaultTime=NONE MaxTime=UNLIMITED Nodes=one State=UP\n"
)


@pytest.mark.parametrize("name", CASES)
def test_the_batch_script_is_the_golden_one(name: str) -> None:
    run, folder, request = CASES[name]
    assert script(run, Path(folder), request, python="/opt/vortex/.venv/bin/python") == (GOLDEN / f"{name}.sbatch").read_text()


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("30:00", 30), ("30:01", 31), ("12:00:00", 720), ("12:00:30", 721), ("1-0", 1440), ("1-12", 2160), ("2-00:30", 2910),
     ("1-00:00:01", 1441), ("UNLIMITED", None), ("infinite", None), ("NONE", None)],
)  # fmt: skip
def test_limits_are_read_as_slurm_reads_them(text: str, minutes: int | None) -> None:
    assert parse_limit(text) == minutes


@pytest.mark.parametrize("text", ["", "12h", "1:2:3:4", "-5", "1-", "1-2-3", "12:", "١٢", "9999999", "1.5"])
def test_other_words_are_no_limit(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time limit"):
        parse_limit(text)


@pytest.mark.parametrize(("minutes", "text"), [(720, "12:00:00"), (90, "01:30:00"), (2910, "2-00:30:00"), (None, "UNLIMITED")])
def test_limits_are_shown_as_slurm_shows_them(minutes: int | None, text: str) -> None:
    assert show_limit(minutes) == text and parse_limit(text) == minutes


def test_partitions_have_limits_and_an_unknown_one_is_refused() -> None:
    found = queue.parse_partitions(SHOWN)
    assert {name: (one.minutes, one.max_minutes) for name, one in found.items()} == {
        "short": (30, 30),
        "long": (60, 2880),
        "open": (None, None),
    }
    assert queue.choose(found, None).name == "short"
    with pytest.raises(UsageError, match=r"unknown partition 'gpu'; this cluster has: long, open, short"):
        queue.choose(found, "gpu")
    with pytest.raises(UsageError, match=r"which partition\?.*: long"):
        queue.choose({"long": found["long"]}, None)


@pytest.mark.parametrize(
    ("gres", "gpus"), [(None, 0), ("gpu", 1), ("gpu:2", 2), ("gpu:a100", 1), ("gpu:a100:4,shard:8", 4), ("shard:3", 0)]
)
def test_gpus_are_counted_in_gres(gres: str | None, gpus: int) -> None:
    assert Request("gpu", gres=gres).gpus == gpus


def test_the_warning_comes_after_the_beginning_even_when_it_is_a_minute_early() -> None:
    assert [warning_seconds(minutes) for minutes in (None, 720, 12, 4, 2)] == [180, 180, 180, 60, 30]
    assert warning_seconds(submitting.LEAST_MINUTES) + 60 < 60 * submitting.LEAST_MINUTES


def programs(folder: Path, *names: str) -> None:
    """Stand-ins for commands of SLURM: `scontrol` knows the partitions of SHOWN, the others can be found."""
    (folder / "partitions").write_text(SHOWN)
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\n{shutil.which('cat')} {folder}/partitions\n" if name == "scontrol" else "")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ((), "no scontrol and no sbatch and no srun"),
        (("scontrol",), "no sbatch and no srun"),
        (("scontrol", "sbatch"), "no srun"),
        (("scontrol", "srun"), "no sbatch"),
    ],
)
def test_a_machine_without_slurm_or_a_part_of_it_is_told_what_is_missing_and_where(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, present: tuple[str, ...], missing: str
) -> None:
    programs(tmp_path, *present)
    monkeypatch.setenv("PATH", f"{tmp_path}:{tmp_path}/more")
    words = ["submit", str(ws.root / "tiny.yaml"), "--domain", "rooms", "--allow-unvalidated", "--workspace", str(ws.root)]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, VortexError)
    assert error.message == f"this machine cannot submit to SLURM: {missing} in the folders of PATH ({tmp_path}, {tmp_path}/more)"
    assert "login node" in error.hint and not (ws.build / "runs").exists()


def test_without_slurm_nothing_is_known_of_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert queue.job_states(["7"]) is None and queue.job_states([]) == {}


def test_an_sbatch_that_does_not_start_leaves_no_run(ws: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs(tmp_path, "scontrol", "sbatch", "srun")
    monkeypatch.setenv("PATH", str(tmp_path))
    request = submitting.request_of(ws, JobOptions(partition="short"))
    with pytest.raises(OSError, match="Exec format error: 'sbatch'"):
        submitting.submit(ws, tiny(ws), request)
    assert request.minutes == 30 and listing.runs(ws) == []


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed: Invalid partition name specified\n",
         "Batch job submission failed: Invalid partition name specified"),
        ("scontrol: fatal: Could not establish a configuration source\n", "Could not establish a configuration source"),
        ("", "it gave no reason"),
    ],
)  # fmt: skip
def test_of_a_complaint_the_reason_is_repeated(stderr: str, line: str) -> None:
    assert queue.complaint(stderr) == line


def test_a_damaged_record_of_a_job_is_named(tmp_path: Path) -> None:
    assert job.read_record(tmp_path) is None
    made = job.JobRecord("7", "gpu", "gpu:1", 720, True, None, 1.5)
    made.write(tmp_path)
    assert job.read_record(tmp_path) == made
    (tmp_path / job.FILE).write_text('{"job_id": 7')
    with pytest.raises(VortexError, match=r"slurm\.json: not readable"):
        job.read_record(tmp_path)


def test_a_job_says_why_it_waits_where_that_is_more_than_its_turn() -> None:
    shown = "1|PENDING|PartitionConfig\n2|PENDING|Priority\n3|RUNNING|None\n4|FAILED|NonZeroExitCode\n5|PENDING|Nodes required for job are DOWN\n"
    found = queue.parse_states(shown + "6|PENDING|BeginTime\n\n")
    assert {job: state.word for job, state in found.items()} == dict(zip("123456", ["PENDING", "PENDING", "RUNNING", "FAILED", "PENDING", "PENDING"], strict=True))  # fmt: skip
    assert {job: state.reason for job, state in found.items() if state.reason} == {
        "1": "PartitionConfig",
        "5": "Nodes required for job are DOWN",
    }


def test_a_line_keeps_its_time() -> None:
    before = time.time()
    at, text = stamps.read(stamps.stamped("  two words"))
    assert at is not None and before - 0.002 <= at <= time.time() and text == "  two words"
    assert [stamps.read(line) for line in ("plain", "2026-13-40T99:00:00.000+00:00  x")] == [
        (None, "plain"),
        (None, "2026-13-40T99:00:00.000+00:00  x"),
    ]


def test_a_requeue_is_asked_for_again_while_the_controller_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\ntest $(wc -l < {tmp_path}/asked) -ge 3\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(segment, "PAUSE_S", 0.01)
    job = segment.Segment(tmp_path, tmp_path, True)
    job._requeue("7")
    assert (tmp_path / "asked").read_text().count("asked") == 3 and not (tmp_path / "events.jsonl").exists()
    (tmp_path / "asked").unlink()
    monkeypatch.setattr(segment, "ASKING_S", 0.0)
    job._requeue("7")
    (event,) = Journal(tmp_path / "events.jsonl").read()
    assert event.message.startswith("job 7 could not be put back into the queue") and "vortex submit --resume" in event.hint
    assert job._times("7") == {}  # it trains without them


def test_a_training_ends_with_the_job_that_started_it() -> None:
    code = """
import subprocess, sys
from pipelines.runs.slurm.segment import _end_with_parent
child = subprocess.Popen(["sleep", "600"], preexec_fn=_end_with_parent())
print(child.pid, flush=True)
child.wait()
"""
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    training = int(job.stdout.readline())
    assert alive(training)
    job.kill()
    job.wait()
    assert until(lambda: not alive(training), 10)


def test_a_workspace_that_slurm_would_misread_is_refused(ws: Workspace) -> None:
    moved = ws.root.parent / "100%j"
    ws.root.rename(moved)
    ws = workspaces.load(moved)
    with pytest.raises(VortexError, match=r"100%j/build/runs/.*: in a path SLURM takes % for a sign of its own"):
        submitting.submit(ws, tiny(ws), Request("gpu", 60))
    assert not list((moved / "build" / "runs").glob("*"))


def test_progress_changes_with_every_checkpoint(tmp_path: Path) -> None:
    assert progress(tmp_path) == []
    for name in ("epoch-0000-step-000002", "epoch-0001-step-000000"):
        (tmp_path / "1-train" / name).mkdir(parents=True)
    pointer = tmp_path / "1-train" / "latest"
    pointer.symlink_to("epoch-0000-step-000002")
    before = progress(tmp_path)
    pointer.unlink()
    pointer.symlink_to("epoch-0001-step-000000")
    assert before and progress(tmp_path) != before


def test_settings_of_partitions_are_checked_with_the_rest_of_the_file(workspace: Workspace) -> None:
    path = workspace.root / "vortex.toml"
    kept = path.read_text()
    path.write_text(kept + '\n[partitions.gpu]\ntime = "12:00:00"\nmin_utilisation = 0.5\n')
    assert workspaces.load(workspace.root).config.partitions["gpu"].min_utilisation == 0.5
    path.write_text(kept + "\n[partitions.gpu]\nmin_utilisation = 50\n")
    with pytest.raises(VortexError, match=r"partitions\.gpu\.min_utilisation"):
        workspaces.load(workspace.root)
