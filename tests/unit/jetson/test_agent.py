"""A device's life: pulls, trials, commits and ways back, on real files, with a real model in a real child process."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from vortex_jetson.errors import (
    BadBundle,
    BadDocument,
    DiskFull,
    HealthFailed,
    Interrupted,
    RobotError,
    TransferFailed,
    Untrusted,
    UsageError,
    WrongClock,
)
from vortex_jetson.formats.channel import Channel, Release, Rollout
from vortex_jetson.update import agent, outbox
from vortex_jetson.update import device as devices
from vortex_jetson.update.agent import Keep, decide
from vortex_jetson.update.device import Device, Settings
from vortex_jetson.update.slots import Slots

from tests.unit.jetson.publisher import CHANNEL, Publisher

A, B = Release("v8", "8" * 64, 1), Release("v9", "9" * 64, 1)
RUNS_8 = Slots().stage("v8", A.bundle).try_out().commit()


def reports(device: Device, publisher: Publisher) -> list[dict[str, object]]:
    from securesystemslib.dsse import Envelope

    paths = sorted((publisher.folder / "reports").glob("*.json"))
    return [json.loads(Envelope.from_dict(json.loads(path.read_bytes())).payload) for path in paths]


@pytest.mark.parametrize(
    ("channel", "slots", "words"),
    [
        (Channel(CHANNEL, 1), Slots(), "nothing runs: nothing is in production"),
        (Channel(CHANNEL, 1, A), RUNS_8, "v8 runs"),
        (Channel(CHANNEL, 1, B, hold="v9 is in quarantine"), RUNS_8, "v8 runs on: devices hold, v9 is in quarantine"),
        (Channel(CHANNEL, 1, B, barred=(B.bundle,)), RUNS_8, "v8 runs on: v9 is barred"),
        (Channel(CHANNEL, 1, A, barred=(A.bundle,)), RUNS_8, "v8 runs on: v8 is barred"),
        (Channel(CHANNEL, 1, B, rollout=Rollout(0, "s", None)), RUNS_8, "v8 runs on: nothing is in production for this device"),
        (Channel(CHANNEL, 1, B, rollout=Rollout(0, "s", A)), RUNS_8, "v8 runs"),
        (
            Channel(CHANNEL, 1, B),
            RUNS_8.stage("v9", B.bundle).try_out().reject("constant"),
            "v8 runs on: rolled back here was v9: constant",
        ),
        (
            Channel(CHANNEL, 1, B, hold="robot-7 rolled back: constant"),
            RUNS_8.stage("v9", B.bundle).try_out().reject("constant"),
            "v8 runs on: rolled back here was v9: constant",
        ),
    ],
)
def test_a_device_keeps_what_it_has_and_says_why(channel: Channel, slots: Slots, words: str) -> None:
    decision = decide(channel, slots, "robot-7")
    assert isinstance(decision, Keep) and decision.reason.startswith(words)
    assert decision.held == (words != "v8 runs")


def test_a_device_takes_what_is_asked_for() -> None:
    assert decide(Channel(CHANNEL, 1, B), RUNS_8, "robot-7") == B
    assert decide(Channel(CHANNEL, 1, B, rollout=Rollout(1, "s", A)), RUNS_8, "robot-7") == B


def test_a_life(device: Device, publisher: Publisher) -> None:
    """Two good versions, a broken one, the way back by the channel, and by hand."""
    v8, v9, bad = publisher.bundle("v8"), publisher.bundle("v9", padding=5000), publisher.bundle("v10", "constant")
    publisher.publish(v8)
    pulled = agent.pull(device)
    assert (pulled.outcome, pulled.reason, pulled.changed) == ("committed", "v8 runs", True)
    assert os.readlink(device.folder / "current") == "slots/a"
    assert (device.folder / "current/bundle/card.md").read_bytes() == b"# v8\n"

    again = agent.pull(device)
    assert (again.outcome, again.changed) == ("committed", False) and again.received < 3000

    publisher.publish(v9)
    assert agent.pull(device).reason == "v9 runs, after v8"
    assert os.readlink(device.folder / "current") == "slots/b"

    publisher.publish(bad)
    with pytest.raises(HealthFailed, match=r"v10 does not do its task: its depth is constant.*v9 runs on"):
        agent.pull(device)
    kept = agent.pull(device)
    assert kept.outcome == "rolled back" and "rolled back here was v10: its depth is constant" in kept.reason
    status = agent.status(device)
    assert (status.version, status.asked, status.previous, list(status.rolled_back)) == ("v9", "v10", None, [bad.bundle])
    assert os.readlink(device.folder / "current") == "slots/b"

    publisher.publish(v8, barred=(v9.bundle, bad.bundle))
    assert agent.pull(device).reason == "v8 runs, after v9"
    publisher.publish(v9, barred=())
    assert agent.pull(device).received < 3000, "what ran before lies in the other slot"
    back = agent.roll_back(device, "stops before doors")
    assert (back.current.version, back.barred[v9.bundle]) == ("v8", "v9: stops before doors")
    with pytest.raises(UsageError, match="nothing to go back to"):
        agent.roll_back(device, "again")

    events = [json.loads(line)["event"] for line in (device.folder / "journal.jsonl").read_text().splitlines()]
    assert events.count("committed") == 4 and events.count("rolled back") == 2
    sent = reports(device, publisher)
    assert [(report["outcome"], report["version"]) for report in sent] == [
        ("committed", "v8"),
        ("committed", "v8"),
        ("committed", "v9"),
        ("rolled back", "v9"),
        ("rolled back", "v9"),
        ("committed", "v8"),
        ("committed", "v9"),
        ("rolled back", "v8"),
    ]
    assert [report["about"] for report in sent] == [each.bundle for each in (v8, v8, v9, bad, bad, v8, v9, v9)]
    assert [report["counter"] for report in sent] == list(range(1, 9))
    digests = {path.name for path in device.files.glob("??/*")}
    manifest = json.loads((device.folder / "current/manifest.json").read_bytes())
    assert digests == {entry["sha256"] for entry in manifest["files"].values()}, "what no slot holds was removed"


def extra(slot: Path) -> None:
    (slot / "bundle/models/v9.onnx").write_bytes(b"another")


def flipped(slot: Path) -> None:
    content = bytearray((slot / "bundle/card.md").read_bytes())
    content[0] ^= 1
    (slot / "bundle/card.md").unlink()
    (slot / "bundle/card.md").write_bytes(content)


def other_manifest(slot: Path) -> None:
    (slot / "manifest.json").write_bytes((slot / "manifest.json").read_bytes() + b" ")


def test_what_lies_in_a_slot_is_verified_before_each_use(device: Device, publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish(publisher.bundle("v8"))
    agent.pull(device)
    assert agent.running(device, device.slots()).version == "v8"
    for change in (extra, flipped, other_manifest):
        damaged = replace(device, folder=shutil.copytree(device.folder, tmp_path / change.__name__, symlinks=True))
        change(damaged.folder / "current")
        with pytest.raises(BadBundle):
            agent.running(damaged, damaged.slots())
        with pytest.raises(BadBundle):
            agent.check(damaged)


@pytest.mark.parametrize("change", [extra, flipped, other_manifest])
def test_what_runs_is_fetched_anew_where_the_disk_has_changed_it(
    change: Callable[[Path], None], device: Device, publisher: Publisher
) -> None:
    """Else a pull says that it runs, while no program of the robot would load it."""
    v8 = publisher.bundle("v8")
    publisher.publish(v8)
    agent.pull(device)
    change(device.folder / "current")
    publisher.publish(v8, hold="for now")
    assert agent.pull(device).outcome == "held" and device.slots().running == "a"
    publisher.publish(v8)
    pulled = agent.pull(device)
    assert (pulled.outcome, pulled.reason, pulled.changed) == ("committed", "v8 runs, fetched anew: its files here were damaged", True)
    assert agent.running(device, device.slots()).version == "v8"
    assert device.slots() == Slots(b=replace(RUNS_8.a, bundle=v8.bundle), running="b") and not (device.folder / "slots/a").exists()
    assert (agent.pull(device).changed, device.slots().running) == (False, "b")


def test_a_damaged_file_of_the_device_names_the_way_on(device: Device, publisher: Publisher) -> None:
    v8 = publisher.bundle("v8")
    publisher.publish(v8)
    agent.pull(device)
    (device.folder / "belief.json").write_bytes(b"{}")
    with pytest.raises(BadDocument, match=r"belief\.json is damaged") as belief:
        agent.status(device)
    assert belief.value.hint == "pull: it is written anew"
    (device.folder / "state.json").write_bytes(b"{")
    with pytest.raises(BadDocument, match=r"state\.json is damaged") as state:
        agent.pull(device)
    assert state.value.hint.startswith("remove it, and pull: ")
    (device.folder / "state.json").unlink()
    assert agent.pull(device).reason == "v8 runs" and agent.status(device).asked == "v8"
    for spoil in (lambda path: path.write_bytes(b"{"), lambda path: (path.unlink(), path.mkdir())):
        spoil(device.folder / "floor.json")
        with pytest.raises(RobotError, match=r"floor\.json"):
            agent.pull(device)
        with pytest.raises(RobotError, match=r"floor\.json"):
            agent.status(device)


def test_a_hold_and_a_quarantine_come_before_a_trial(device: Device, publisher: Publisher) -> None:
    """A device that lost its power in the middle of a trial hears of the quarantine first."""
    v8, v9 = publisher.bundle("v8"), publisher.bundle("v9", padding=1)
    publisher.publish(v8)
    agent.pull(device)
    publisher.publish(v9)
    interrupted(device, v9, publisher)
    publisher.publish(v9, hold="v9 is in quarantine", barred=(v9.bundle,))
    assert agent.pull(device).reason == "v8 runs on: devices hold, v9 is in quarantine"
    assert device.slots() == replace(RUNS_8, a=replace(RUNS_8.a, bundle=v8.bundle))


def interrupted(device: Device, release: Release, publisher: Publisher) -> None:
    """Bring a device to where it is on trial, and lose the power there."""
    from vortex_jetson.update.transfer import FolderSource, Transfer

    agent.stage(device, device.slots(), release, Transfer(FolderSource(publisher.folder)))
    assert device.slots().trial is not None


def test_a_trial_is_finished_after_a_reboot_also_without_a_network(device: Device, publisher: Publisher) -> None:
    v8 = publisher.bundle("v8")
    publisher.publish(v8)
    interrupted(device, v8, publisher)
    shutil.move(publisher.folder, publisher.folder.with_name("away"))
    rebooted = replace(device, boot_id=lambda: "another boot")
    with pytest.raises(TransferFailed):
        agent.pull(rebooted)
    assert device.slots().current.version == "v8"
    assert len(outbox.waiting(device)) == 1, "the failed pull is told later"


def test_a_dead_or_refusing_place_for_reports_never_undoes_a_commit(device: Device, publisher: Publisher) -> None:
    publisher.publish(publisher.bundle("v8"))
    (publisher.folder / "reports").write_bytes(b"a file where a folder belongs")
    pulled = agent.pull(device)
    assert pulled.outcome == "committed" and pulled.warnings
    assert device.slots().current.version == "v8"
    for _ in range(3):
        assert agent.pull(device).outcome == "committed"
    assert len(outbox.waiting(device)) == 1, "the same word again takes the place of the one that waits"
    (publisher.folder / "reports").unlink()
    assert outbox.send(device) == 1
    assert outbox.send(device) == 0
    assert [report["counter"] for report in reports(device, publisher)] == [4]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"5", b'{"payload":1}', b'{"payload":"AAA"}', b'{"payload":"NQ=="}', b"[" * 100_000, b"\xff"]
)
def test_a_damaged_report_that_waits_stops_no_pull(content: bytes, device: Device) -> None:
    (device.folder / "outbox").mkdir()
    (device.folder / "outbox/000000000.json").write_bytes(content)
    outbox.add(device, "committed", "v8 runs", "v8", A.bundle)
    outbox.add(device, "committed", "v8 runs", "v8", A.bundle)
    assert [path.name for path in outbox.waiting(device)] == ["000000000.json", "000000002.json"]


def test_what_follows_a_commit_never_undoes_what_is_said_of_it(
    device: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for the journal, or that removes nothing, once the version runs."""

    def full(descriptor: int, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def stuck(device: Device, slots: Slots) -> None:
        raise RobotError("files: cannot be written (Read-only file system)")

    monkeypatch.setattr(devices, "write_all", full)
    monkeypatch.setattr(agent, "sweep", stuck)
    v8, v9 = publisher.bundle("v8"), publisher.bundle("v9", "half")
    publisher.publish(v8)
    pulled = agent.pull(device)
    assert (pulled.outcome, pulled.reason) == ("committed", "v8 runs")
    assert pulled.warnings == ["files: cannot be written (Read-only file system)"]
    publisher.publish(v9)
    with pytest.raises(HealthFailed, match="v9 does not do its task: depth is off"):
        agent.pull(device)
    publisher.publish(publisher.bundle("v10", padding=1))
    assert agent.pull(device).reason == "v10 runs, after v8"
    assert agent.roll_back(device, "stops before doors").current.version == "v8"
    assert [(report["outcome"], report["version"]) for report in reports(device, publisher)] == [
        ("committed", "v8"),
        ("rolled back", "v8"),
        ("committed", "v10"),
        ("rolled back", "v8"),
    ]


@pytest.mark.parametrize(
    ("step", "error"),
    [("task.tried", Interrupted("the health check was ended from outside")), ("trust.refresh", WrongClock("the clock says 1970"))],
)
def test_what_is_of_the_moment_is_reported_of_no_version(
    step: str, error: RobotError, device: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel would stop a rollout because somebody ended the agent, or because a clock was not set yet."""

    def fail(*_: object) -> None:
        raise error

    publisher.publish(publisher.bundle("v8"))
    with monkeypatch.context() as patch:
        patch.setattr(f"vortex_jetson.update.{step}", fail)
        with pytest.raises(type(error)):
            agent.pull(device)
    assert not reports(device, publisher) and not outbox.waiting(device)
    assert agent.pull(device).outcome == "committed"


def test_a_damaged_root_is_told_of_this_device_and_not_of_the_publisher(device: Device, publisher: Publisher) -> None:
    publisher.publish(publisher.bundle("v8"))
    root = device.folder / "root.json"
    for content in (b"", b"{}", root.read_bytes()[:-3]):
        root.write_bytes(content)
        with pytest.raises(RobotError, match=r"device/root\.json is damaged: ") as error:
            agent.pull(device)
        assert error.value.hint.startswith("copy it there again, from whom you trust")
    root.write_bytes(publisher.root)
    assert agent.pull(device).outcome == "committed"


def test_a_stick_is_verified_as_the_network_is(device: Device, publisher: Publisher, tmp_path: Path) -> None:
    settings = replace(device.settings, url="http://127.0.0.1:9/none")
    offline = replace(device, settings=settings)
    publisher.publish(publisher.bundle("v8"))
    stick = shutil.copytree(publisher.folder, tmp_path / "stick")
    pulled = agent.pull(offline, str(stick))
    assert pulled.outcome == "committed" and "does not answer" in pulled.warnings[0]
    assert outbox.send(offline, str(stick)) == 1
    publisher.publish(publisher.bundle("v9", padding=1))
    shutil.rmtree(stick)
    shutil.copytree(publisher.folder, stick)
    for path in (stick / "files").glob("??/*"):
        if path.read_bytes().startswith(b"# v9"):
            path.write_bytes(b"# v8\nx")
    with pytest.raises(Untrusted, match="the bytes that come are not those"):
        agent.pull(offline, str(stick))
    assert device.slots().current.version == "v8"


def test_a_version_that_is_sent_anew_is_told_from_another_one(device: Device, publisher: Publisher) -> None:
    publisher.publish(publisher.bundle("v8"))
    agent.pull(device)
    publisher.publish(publisher.bundle("v8", padding=1))
    assert agent.pull(device).reason == "v8 runs, in a new bundle"


def test_a_bundle_that_says_it_is_another_version_is_refused(device: Device, publisher: Publisher) -> None:
    publisher.publish(replace(publisher.bundle("v8"), version="v9"))
    with pytest.raises(Untrusted, match="says that it is v8"):
        agent.pull(device)
    assert device.slots() == Slots()


def test_a_bundle_that_does_not_fit_on_the_disk_is_not_fetched(
    device: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish(publisher.bundle("v8"))
    usage = shutil.disk_usage(device.folder)
    monkeypatch.setattr(agent.shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(DiskFull, match="nothing was fetched"):
        agent.pull(device)
    assert not list(device.files.glob("??/*"))


def test_two_agents_do_not_work_at_once(device: Device, publisher: Publisher) -> None:
    publisher.publish(publisher.bundle("v8"))
    with device.locked(), pytest.raises(RobotError, match="another vortex-jetson is at work"):
        agent.pull(device)


def test_an_expired_word_is_told_and_what_runs_is_kept(device: Device, publisher: Publisher) -> None:
    publisher.publish(publisher.bundle("v8"))
    agent.pull(device)
    assert agent.status(device).metadata == "fresh"
    later = replace(device, now=lambda: devices.time.time() + 8 * 86400)
    assert (agent.status(later).metadata, agent.status(later).version) == ("expired", "v8")
    earlier = replace(device, now=lambda: 60.0)
    assert (agent.status(earlier).metadata, agent.status(earlier).version) == ("clock wrong", "v8")


def test_a_device_is_set_up_whole_or_not_at_all(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(publisher.root)
    settings = Settings("robot-7", CHANNEL, "https://models.example/vortex")
    device = devices.init(tmp_path / "robot", settings, tmp_path / "root.json")
    assert device.settings == settings
    assert device.key.stat().st_mode & 0o777 == 0o600
    assert agent.status(device).metadata == "never fetched"
    with pytest.raises(UsageError, match="holds a device already"):
        devices.init(tmp_path / "robot", settings, tmp_path / "root.json")
    with pytest.raises(UsageError, match="channel is"):
        devices.init(tmp_path / "other", replace(settings, channel="orin"), tmp_path / "root.json")
    with pytest.raises(UsageError, match="a password") as refused:
        devices.init(tmp_path / "other", replace(settings, url="https://user:hunter2@models.example"), tmp_path / "root.json")
    assert "hunter2" not in refused.value.message + refused.value.hint
    assert not (tmp_path / "other/device.toml").exists()
    (tmp_path / "bad.json").write_bytes(b"{}")
    with pytest.raises(Untrusted):
        devices.init(tmp_path / "third", settings, tmp_path / "bad.json")
