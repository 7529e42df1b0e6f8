"""A run is reported as it is, whatever it last wrote: at work, waiting, ended or dead."""

from __future__ import annotations

import json
import os
import socket
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from core.errors import UsageError, VortexError
from core.files import locked
from pipelines.runs import listing
from pipelines.runs.events import Journal, TrainEvent
from pipelines.runs.listing import Condition, condition_of
from pipelines.runs.slurm.job import JobRecord
from pipelines.runs.state import EVENTS, Recorder, RunState, Status
from pipelines.workspace import Workspace


def begin(ws: Workspace, name: str, *, job: JobRecord | None = None) -> RunState:
    """What a run leaves that has begun to train in this process."""
    folder = ws.build / "runs" / name
    folder.mkdir(parents=True)
    stage = {"stage": {"name": "train", "epochs": 9}}
    (folder / "plan.json").write_text(json.dumps({"recipe": {"name": "v6"}, "stages": [stage]}))
    if job:
        job.write(folder)
    state = RunState(folder)
    state.begin()
    return state


@pytest.mark.parametrize(
    ("status", "job", "newer", "silent", "state"),
    [
        ("planned", None, False, True, "planned"),
        ("planned", "PENDING", True, True, "waiting"),
        ("planned", "RUNNING", True, True, "starting"),
        ("planned", "VANISHED", True, True, "dead"),
        ("planned", "CANCELLED", True, True, "cancelled"),
        ("training", "RUNNING", False, False, "training"),
        ("training", "FAILED", False, False, "dead"),
        ("training", "NODE_FAIL", False, False, "dead"),
        ("training", "VANISHED", False, True, "dead"),
        ("training", "CANCELLED by 0", False, True, "cancelled"),
        ("training", None, False, True, "dead"),
        ("training", None, False, False, "training"),
        ("stopped", None, False, True, "stopped"),
        ("stopped", "PENDING", False, True, "waiting"),
        ("stopped", "TIMEOUT", False, True, "stopped"),
        ("finished", "COMPLETING", False, True, "finished"),
        ("finished", "VANISHED", False, True, "finished"),
        ("truncated", "COMPLETED", False, True, "truncated"),
        ("truncated", "PENDING", True, True, "waiting"),
        ("failed", "RUNNING", False, True, "failed"),
        ("failed", "RUNNING", True, True, "starting"),
    ],
)
def test_what_a_run_wrote_is_held_against_what_slurm_says(
    status: Status, job: str | None, newer: bool, silent: bool, state: Condition
) -> None:
    assert condition_of(status, job, newer=newer, locked=False, silent=silent) == state
    assert condition_of(status, job, newer=newer, locked=True, silent=silent) == "training"


def test_a_run_is_at_work_while_its_lock_is_held_and_dead_after(workspace: Workspace) -> None:
    state = begin(workspace, "one")
    with locked(state.folder / ".lock"):
        assert listing.find(workspace, "one").state == "training"
    assert listing.find(workspace, "one").state == "dead"
    state.end("failed")
    assert listing.find(workspace, "one").state == "failed"


def test_a_silent_run_of_another_machine_is_dead_after_half_an_hour(workspace: Workspace) -> None:
    state = begin(workspace, "far")
    path = state.folder / "state.json"
    raw = json.loads(path.read_text()) | {"host": "another"}
    path.write_text(json.dumps(raw))
    assert listing.find(workspace, "far").state == "training"
    path.write_text(json.dumps(raw | {"updated": time.time() - listing.SILENCE - 1}))
    assert listing.find(workspace, "far").state == "dead"


def test_where_slurm_cannot_be_asked_no_job_is_called_dead(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = begin(workspace, "far", job=JobRecord("7", "gpu", None, 720, False, None, 0.0))
    path = state.folder / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "node7"}))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = listing.find(workspace, "far")
    assert (found.state, found.job, found.slurm) == ("training", "7", None)


def test_the_listing_is_newest_first_and_one_damaged_run_hides_no_other(workspace: Workspace) -> None:
    for name in ("first", "second", "third"):
        begin(workspace, name).end("stopped")
        time.sleep(0.02)
    (workspace.build / "runs" / "second" / "state.json").write_text("{")
    best = workspace.build / "runs" / "third" / "1-train" / "latest"
    best.mkdir(parents=True)
    (best / "progress.json").write_text('{"best": 0.25}')
    found = listing.runs(workspace)
    assert [(run.run, run.state) for run in found] == [("third", "stopped"), ("second", "unreadable"), ("first", "stopped")]
    assert (found[0].recipe, found[0].stage, found[0].epochs, found[0].best_rmse) == ("v6", "train", 9, 0.25)
    assert found[2].best_rmse is None
    # What a run has said since its newest checkpoint goes before that.
    state = RunState.read(workspace.build / "runs" / "third")
    Recorder(state).hear(TrainEvent("epoch", stage="train", epoch=2, epochs=9, values={"best/rmse": 0.125}))
    said = listing.find(workspace, "third")
    assert (said.epoch, said.best_rmse) == (2, 0.125)


@pytest.mark.parametrize("name", ["none", "../runs/one", "", "x" * 300])
def test_an_unknown_run_is_refused_with_those_there_are(workspace: Workspace, name: str) -> None:
    begin(workspace, "one")
    with pytest.raises(VortexError, match=r"unknown run .*: one"):
        listing.find(workspace, name)


@pytest.mark.parametrize("record", ["garbage", "{}", '{"job_id": 7}'])
def test_a_damaged_record_of_a_job_costs_its_own_row_alone(workspace: Workspace, record: str) -> None:
    for name in ("one", "other"):
        begin(workspace, name).end("stopped")
        time.sleep(0.02)
    (workspace.build / "runs" / "one" / "slurm.json").write_text(record)
    assert [(run.run, run.state) for run in listing.runs(workspace)] == [("other", "stopped"), ("one", "unreadable")]
    assert listing.find(workspace, "one").state == "unreadable" and list(listing.log(workspace, "one")) == []


def test_a_run_without_its_state_is_not_taken_for_one_that_never_began(workspace: Workspace) -> None:
    (begin(workspace, "one").folder / "state.json").unlink()
    assert listing.find(workspace, "one").state == "unreadable"


def test_who_trains_a_run_is_named_to_the_next_that_would(workspace: Workspace) -> None:
    state = begin(workspace, "one")
    listing.require_idle(workspace, "one")
    with locked(state.folder / ".lock"):
        for check in (listing.require_untrained, listing.require_idle):
            with pytest.raises(UsageError, match=rf"^one is training already \(pid {os.getpid()} on {socket.gethostname()}\)$") as caught:
                check(workspace, "one")
            assert caught.value.hint == "vortex logs one -f"


def at(seconds: float, line: str) -> bytes:
    when = datetime.fromtimestamp(seconds, timezone(timedelta(hours=5)))
    return f"{when.isoformat(timespec='milliseconds')}  {line}\n".encode()


def test_a_log_tells_events_and_prints_of_every_segment_in_their_order(workspace: Workspace) -> None:
    state = begin(workspace, "one")
    state.end("stopped")
    journal = Journal(state.folder / EVENTS)
    for epoch, when in ((1, 20.0), (2, 50.0)):
        journal.write(TrainEvent("epoch", stage="train", epoch=epoch, epochs=9, at=when))
    prints = state.folder / "slurm"
    prints.mkdir()
    # Two segments in one file; SLURM's own words have no time.
    (prints / "7_0_log.err").write_bytes(at(10, "plan") + at(30, "stopped") + b"requeued\n" + at(40, "plan") + b"cancelled\nhalf of a li")
    (prints / "7_0_log.out").write_bytes(b"\xff\n")
    os.utime(prints / "7_0_log.err", (60, 60))
    os.utime(prints / "7_0_log.out", (5, 5))
    reader = listing._Reader(state.folder)
    assert [(one.source, one.at, one.event.epoch if one.event else one.text) for one in reader.read()] == [
        ("stdout", 5.0, "\ufffd"),
        ("stderr", 10.0, "plan"),
        ("event", 20.0, 1),
        ("stderr", 30.0, "stopped"),
        ("stderr", 40.0, "requeued"),
        ("stderr", 40.0, "plan"),
        ("event", 50.0, 2),
        ("stderr", 60.0, "cancelled"),
    ]
    with open(prints / "7_0_log.err", "ab") as stream:
        stream.write(b"ne\n")
    assert [one.text for one in reader.read()] == ["half of a line"]
    assert list(reader.read()) == []
    assert len(list(listing.log(workspace, "one", follow=True))) == 9
