"""A candidate beside what runs: what the agent brings and drops, what a process of its own compares, and what it takes from nobody."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vortex_jetson import child
from vortex_jetson.errors import RobotError
from vortex_jetson.live.budget import Budget
from vortex_jetson.live.comparison import Comparison, compare
from vortex_jetson.live.shadow import Candidate, Shadow
from vortex_jetson.live.shadow_process import step_back
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception.perception import UNTAUGHT, Seen
from vortex_jetson.update import agent, candidate, health
from vortex_jetson.update.device import Device

from tests.unit.jetson.models import picture
from tests.unit.jetson.publisher import Publisher
from tests.unit.jetson.versions import perception

FRAME_S = 1 / 30


def test_a_frame_is_taken_where_the_next_one_cannot_come_before() -> None:
    budget = Budget(need_s=0.010)
    budget.came(0.0)
    assert not budget.fits(0.0), "one frame says nothing of their pace"
    budget.came(0.030)
    assert budget.fits(0.030 + 0.017) and not budget.fits(0.030 + 0.018), "a quarter more than the run took"
    budget.came(0.050)  # a camera that is faster than it was
    assert not budget.fits(0.050 + 0.010)
    budget.took(0.012)
    assert budget.fits(0.050 + 0.004) and not budget.fits(0.050 + 0.006)


def test_one_that_was_slow_once_gets_another_chance_and_one_that_is_always_slow_none() -> None:
    once, always = Budget(need_s=0.005), Budget(need_s=0.200)
    once.took(0.200)
    for number in range(300):
        for budget in (once, always):
            budget.came(number * FRAME_S)
        fits = once.fits(number * FRAME_S)
        assert not always.fits(number * FRAME_S)
        if fits:
            break
    assert 10 < number < 250, "2 % a frame"


def seen(depth: list[float], classes: list[int], confidence: int = 100) -> Seen:
    return Seen("v9", np.array([depth], np.float32), np.array([classes], np.uint8), np.full((1, len(depth)), confidence, np.uint8), 1.0, "")


def test_what_is_counted_is_what_both_guessed() -> None:
    live = seen([1.0, 2.0, 4.0, 0.0], [2, 2, 1, UNTAUGHT])
    counts = compare(live, seen([1.05, 2.5, 4.0, 3.0], [2, 1, 1, 0]), glass=2)
    assert counts._asdict() == {
        "pixels": 3, "close": 2, "near": 1, "near_difference": pytest.approx(0.05), "classes": 3, "alike": 2, "glass_both": 1, "glass_any": 2,
    }  # fmt: skip
    assert compare(live, live, glass=None)[-2:] == (0, 0)
    measured = seen([1.0, 2.0, 4.0, 0.0], [2, 2, 1, 0], confidence=200)
    comparison = Comparison("v10", "v9", skipped=1)
    comparison.add(compare(measured, measured, None), 0.01)
    with pytest.raises(RobotError, match="v10 was compared with v9 on 1 frames without a guessed pixel, 1 were skipped for want of time"):
        comparison.report(device="robot-7", checkpoint_sha256="1" * 64, export_sha256="2" * 64, made_by="a test", source="a camera")


@pytest.fixture(autouse=True)
def health_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the child does it, without starting Python each time; `test_agent` has the real one."""
    monkeypatch.setattr(child, "run", lambda command, _: subprocess.CompletedProcess(command, 0, health.main(*command[3:]).encode(), b""))


@pytest.fixture
def shadowing(device: Device, publisher: Publisher) -> Device:
    """A device that runs v8 and has v9, whose depth is half, as its candidate."""
    device = replace(device, settings=replace(device.settings, shadow=True))
    publisher.publish(publisher.bundle("v8"), shadow=publisher.bundle("v9", padding=1))
    assert agent.pull(device).reason == "v8 runs; v9 is its shadow"
    return device


def lying(device: Device) -> Path:
    folder = candidate.proven(device)
    assert folder is not None
    return folder


def of(device: Device) -> Candidate:
    return Candidate("v9", lying(device), lying(device).name, "onnxruntime", 0.5, "1" * 64, "2" * 64)


def test_it_sees_what_the_version_at_work_sees_and_nobody_waits_for_it(shadowing: Device) -> None:
    live = perception("v8")
    shadow = Shadow(of(shadowing), beside="v8", patient=True)
    frames = [Frame(str(number), number * FRAME_S, picture(number), None, None) for number in range(3)]
    metres = np.linspace(1, 2, 24 * 16, dtype=np.float32).reshape(24, 16)
    tof = Frame("3", 3 * FRAME_S, np.repeat(picture(3), 2, axis=0), metres, np.ones((24, 16), np.float32))
    try:
        assert not shadow.offer(frames[0], replace(live.see(frames[0].rgb), version="v7")), "another version is at work meanwhile"
        for frame in (*frames, tof):
            assert shadow.offer(frame, live.see(frame.rgb, frame.tof, frame.confidence))
        comparison = shadow.take()
        # The candidate's scale is a half where the ToF camera gives none; where it gives every pixel, nothing was guessed.
        assert (comparison.frames, comparison.counts.close, comparison.counts.alike) == (4, 0, comparison.counts.classes)
        answers = [live.see(frame.rgb).depth for frame in frames]
        assert comparison.counts.pixels == sum(int((answer > 0).sum()) for answer in answers)
        near = np.concatenate([answer[(answer > 0) & (answer <= 1.5)] for answer in answers])
        assert comparison.counts.near_difference == pytest.approx(float(near.sum()) / 2, rel=1e-4)
        assert shadow.take().frames == 0
        os.kill(shadow.pid, signal.SIGSTOP)
        shadow.patient = False
        started = time.monotonic()
        answered = [shadow.offer(replace(frame, at=time.monotonic()), live.see(frame.rgb)) for frame in frames * 2]
        assert sum(answered) <= 1 and time.monotonic() - started < 0.5
        assert shadow.take().skipped >= 5
        os.kill(shadow.pid, signal.SIGSEGV)
        os.kill(shadow.pid, signal.SIGCONT)
        end = time.monotonic() + 10
        while shadow.failure is None and time.monotonic() < end:
            assert not shadow.offer(frames[0], live.see(frames[0].rgb))
            time.sleep(0.01)
        assert shadow.take().failure == "its process died of SIGSEGV"
    finally:
        shadow.close()


def test_memory_that_is_short_for_a_frame_skips_that_one_alone(shadowing: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    shadow, live = Shadow(of(shadowing), beside="v8", patient=True), perception("v8")
    frames = [Frame(str(number), number * FRAME_S, picture(number), None, None) for number in range(2)]
    try:
        with monkeypatch.context() as patch:
            patch.setattr(mmap, "mmap", short)
            assert not shadow.offer(frames[0], live.see(frames[0].rgb))
        assert shadow.offer(frames[1], live.see(frames[1].rgb))
        comparison = shadow.take()
        assert (comparison.frames, comparison.skipped, comparison.failure) == (1, 1, None)
    finally:
        shadow.close()


def test_its_process_runs_when_no_other_one_wants_to() -> None:
    pid = os.fork()
    if not pid:
        step_back()
        os._exit(os.sched_getscheduler(0))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == os.SCHED_IDLE


def test_the_agent_brings_what_the_channel_names_and_never_lets_it_serve(shadowing: Device, publisher: Publisher, tmp_path: Path) -> None:
    device, v8 = shadowing, publisher.bundle("v8")
    v9, bad, other = publisher.bundle("v9", padding=1), publisher.bundle("v10", "constant"), publisher.bundle("v11", padding=2)
    assert agent.status(device).shadow == "v9" and os.readlink(device.folder / "current") == "slots/a"
    assert agent.pull(device).received < 3000

    publisher.publish(v8, shadow=bad)
    words = "v8 runs; no shadow: v10: its depth is constant: it spreads over 0.0 mm at most"
    assert [agent.pull(device).reason for _ in range(2)] == [words, words]
    assert list(device.slots().barred) == [bad.bundle] and candidate.proven(device) is None and agent.status(device).shadow is None

    publisher.publish(v8, shadow=other)
    assert agent.pull(device).reason == "v8 runs; v11 is its shadow"
    publisher.publish(v8, shadow=bad)
    assert agent.pull(device).reason == words and not list(candidate.folder_of(device).iterdir()), "nor does the one before it stay"
    publisher.publish(v8, shadow=other)
    assert agent.pull(device).reason == "v8 runs; v11 is its shadow"
    publisher.publish(v8, shadow=v9, hold="for now")
    assert agent.pull(device).reason == "v8 runs on: devices hold, for now; v11 is its shadow"
    publisher.publish(v8, shadow=v9, hold="for now", barred=(other.bundle,))
    assert agent.pull(device).reason == "v8 runs on: devices hold, for now; no shadow: devices hold, for now"
    publisher.publish(v8, shadow=v9)
    assert agent.pull(device).reason == "v8 runs; v9 is its shadow"
    card = lying(device) / "bundle/card.md"
    card.unlink()
    card.write_bytes(b"# v9\ny")
    assert agent.pull(device).reason == "v8 runs; v9 is its shadow" and card.read_bytes() == b"# v9\nx"

    publisher.publish(v9)
    pulled = agent.pull(device)
    assert pulled.reason == "v9 runs, after v8" and pulled.received < 5000, "its files are here, only its manifest comes again"
    assert candidate.proven(device) is None and agent.status(device).version == "v9"
    publisher.publish(v9, shadow=v8)
    assert agent.pull(device).reason == "v9 runs; v8 is its shadow"
    off = replace(device, settings=replace(device.settings, shadow=False))
    assert agent.pull(off).reason == "v9 runs" and not list(candidate.folder_of(device).iterdir())


def test_a_candidate_that_cannot_be_had_leaves_the_pull_as_it_was(device: Device, publisher: Publisher) -> None:
    device = replace(device, settings=replace(device.settings, shadow=True))
    v8, v9 = publisher.bundle("v8"), publisher.bundle("v9", padding=1)
    (publisher.folder / "files" / v9.bundle[:2] / v9.bundle).unlink()
    publisher.publish(v8, shadow=v9)
    pulled = agent.pull(device)
    assert (pulled.outcome, pulled.changed) == ("committed", True) and pulled.reason.startswith("v8 runs; no shadow: ")
    assert pulled.reason.endswith("is not there") and device.slots().barred == {}
    publisher.publish(None, shadow=v9)
    assert (
        agent.pull(device).reason
        == "v8 runs on: nothing is in production for this device; no shadow: " + pulled.reason.partition("no shadow: ")[2]
    )


def test_a_candidate_gives_way_where_the_disk_is_short(shadowing: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next version comes before it."""
    usage = shutil.disk_usage(shadowing.folder)

    def room_for_two_cards(_: Path) -> object:
        cards = [path for path in shadowing.files.glob("??/*") if path.read_bytes().startswith(b"# v")]
        return usage._replace(free=5000 * (2 - len(cards)))

    monkeypatch.setattr(shutil, "disk_usage", room_for_two_cards)
    publisher.publish(publisher.bundle("v10", padding=7), shadow=publisher.bundle("v9", padding=1))
    assert agent.pull(shadowing).reason.endswith("v9 needs 4,102 bytes, 0 are free; nothing was fetched")
    assert shadowing.slots().current.version == "v10" and not list(candidate.folder_of(shadowing).iterdir())
