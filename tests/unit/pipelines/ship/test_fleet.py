"""Devices speak by their keys alone, once, and what they say of a rollout stops it or lets it go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from typer.testing import CliRunner

from core.errors import UsageError, VortexError
from core.stages import STAGES
from pipelines.hub.evidence import items
from pipelines.hub.open import hub
from pipelines.ship import fleet
from pipelines.ship.evidence import Request, gather
from pipelines.ship.key_files import write_private, write_public
from pipelines.ship.promote import promote
from pipelines.ship.rollback import rollback
from pipelines.workspace import Workspace
from registry import signature
from registry.channels import Channel
from registry.devices import devices, setbacks
from registry.events.channel import ChannelBundled
from registry.stages import StageJudgement, channel_state, held, record_promotion
from tests.unit.pipelines.ship.conftest import Arena
from tests.unit.pipelines.ship.test_publish import CHANNEL
from validation.promotion.evidence import DeviceRuns
from validation.promotion.gates.device_bench import FastOnDevice
from vortex_cli.app import app

BUNDLE = "ab" * 32


class Fleet:
    """Devices that sign reports into a folder."""

    def __init__(self, arena: Arena, folder: Path) -> None:
        arena.configure("\n[devices.orin]\n")
        self.arena, self.folder = arena, folder
        (folder / "reports").mkdir(parents=True)

    @property
    def ws(self) -> Workspace:
        return self.arena.ws

    def enroll(self, name: str) -> None:
        signer = CryptoSigner.generate_ed25519()
        write_private(self.folder / f"{name}.pem", signer)
        write_public(self.folder / f"{name}.pub", signer)
        fleet.enroll(self.ws, name, self.folder / f"{name}.pub", "orin/rooms")

    def report(self, name: str, counter: int, *, signer: str = "", **changes: object) -> None:
        said: dict[str, object] = {"format": 1, "kind": "device-status", "device": name, "channel": "orin/rooms", "version": "v10"}
        said |= {"bundle": BUNDLE, "slot": "a", "outcome": "committed", "reason": None, "engine": None}
        said |= {"at": "1970-01-01T00:00:07Z", "counter": counter, **changes}
        self.sign(f"{name}-{counter:09d}.json", said, signer or name)

    def sign(self, file: str, document: dict[str, object], signer: str) -> None:
        envelope = signature.sign(json.dumps(document).encode(), "application/vnd.vortex.device-report+json", self.folder / f"{signer}.pem")
        (self.folder / "reports" / file).write_text(json.dumps(envelope))

    def collect(self, **options: datetime) -> list[tuple[str, str]]:
        collection = fleet.collect(self.ws, self.folder, **options)
        return [(report.outcome, report.text) for report in collection.reports]

    def put(self, name: str, share: float, bundle: str = BUNDLE, stages: Sequence[str] = STAGES) -> None:
        """Have a version in production, or up to another stage, for a share of the devices, and its bundle."""
        ledger = hub(self.ws).ledger
        judgements = [StageJudgement(stage, True) for stage in stages]
        record_promotion(ledger, CHANNEL, name, judgements, channel_state(ledger, CHANNEL).seq, share=share, actor="test")
        ledger.append(ChannelBundled(CHANNEL, name, bundle, 1000, "cd" * 32), actor="test")

    @property
    def hold(self) -> str | None:
        ledger = hub(self.ws).ledger
        return held(ledger, channel_state(ledger, CHANNEL))


@pytest.fixture
def robots(arena: Arena, tmp_path: Path) -> Fleet:
    return Fleet(arena, tmp_path / "fleet")


def test_a_report_counts_once_and_only_by_the_key_of_its_own_device(robots: Fleet) -> None:
    for name in ("orin-07", "orin-08"):
        robots.enroll(name)
    write_private(robots.folder / "stranger.pem", CryptoSigner.generate_ed25519())
    robots.report("orin-07", 2)
    robots.report("orin-07", 1, outcome="failed")
    robots.report("orin-08", 1, signer="orin-07")
    robots.report("orin-09", 1, signer="stranger")
    robots.report("orin-08", 3, outcome="exploded")
    assert [outcome for outcome, _ in robots.collect()] == ["taken", "taken", "refused", "refused", "refused"]
    again = robots.collect()
    assert [outcome for outcome, _ in again] == ["old", "old", "refused", "refused", "refused"]
    texts = [text for _, text in again[2:]]
    assert "is about orin-08 on orin/rooms, and signed by orin-07" in texts[0]
    assert "outcome" in texts[1] and "calls itself 'orin-09'" in texts[2]
    status = devices(hub(robots.ws).ledger)["orin-07"].status
    assert status is not None and (status.counter, status.outcome, status.version) == (2, "committed", "v10")
    fleet.revoke(robots.ws, "orin-07", reason="stolen")
    robots.report("orin-07", 4)
    assert ("refused", "key of no enrolled device") in [(outcome, text.rpartition("is the ")[2]) for outcome, text in robots.collect()]
    with pytest.raises(VortexError, match="'orin-07' was revoked on"):
        fleet.revoke(robots.ws, "orin-07", reason="again")


def test_a_report_that_is_none_stops_no_other(robots: Fleet) -> None:
    robots.enroll("orin-07")
    robots.report("orin-07", 1, version="\n")
    robots.report("orin-07", 2, reason="a\nb")
    envelope = json.loads((robots.folder / "reports" / "orin-07-000000002.json").read_text())
    for number, odd in enumerate((envelope | {"payloadType": 7}, envelope | {"signatures": [{"keyid": 0.1, "sig": ""}]}, [])):
        (robots.folder / "reports" / f"odd-{number}.json").write_text(json.dumps(odd))
    assert [outcome for outcome, _ in robots.collect()] == ["refused", "refused", "refused", "refused", "taken"]
    status = devices(hub(robots.ws).ledger)["orin-07"].status
    assert status is not None and status.reason == "a b"


def test_a_key_is_one_devices_own(robots: Fleet) -> None:
    robots.enroll("orin-07")
    assert not fleet.enroll(robots.ws, "orin-07", robots.folder / "orin-07.pub", "orin/rooms")
    with pytest.raises(VortexError, match="is that of orin-07"):
        fleet.enroll(robots.ws, "orin-08", robots.folder / "orin-07.pub", "orin/rooms")
    with pytest.raises(VortexError, match="unknown device 'jetson'"):
        fleet.enroll(robots.ws, "orin-08", robots.folder / "orin-07.pub", "jetson/rooms")


def test_a_device_with_another_key_counts_anew(robots: Fleet) -> None:
    robots.enroll("orin-07")
    for counter in (5, 6):
        robots.report("orin-07", counter)
    assert [outcome for outcome, _ in robots.collect()] == ["taken", "taken"]
    assert [outcome for outcome, _ in robots.collect()] == ["old", "old"]
    for path in (robots.folder / "reports").iterdir():
        path.unlink()
    robots.enroll("orin-07")
    device = devices(hub(robots.ws).ledger)["orin-07"]
    assert (device.status, device.seen_at) == (None, None)
    robots.report("orin-07", 1)
    assert [outcome for outcome, _ in robots.collect()] == ["taken"]
    status = devices(hub(robots.ws).ledger)["orin-07"].status
    assert status is not None and status.counter == 1
    hub(robots.ws).ledger.verify()


def test_a_rollout_goes_on_when_its_devices_run_it_and_stops_when_one_does_not(robots: Fleet) -> None:
    name = robots.arena.version(0.4)
    for number in range(4):
        robots.enroll(f"orin-{number}")
    robots.put(name, 0.999999)  # takes all four, and is no whole rollout
    refused = promote(robots.ws, name, "production", device="orin")
    assert refused.undecided and "orin-0 has not said yet" in refused.refused.checks[0].found  # type: ignore[union-attr]
    for number in range(3):
        robots.report(f"orin-{number}", 1, version=name)
    robots.collect()
    assert held(hub(robots.ws).ledger, channel_state(hub(robots.ws).ledger, CHANNEL)) is None
    robots.collect(now=datetime.now(UTC) + timedelta(hours=25))
    reason = held(hub(robots.ws).ledger, channel_state(hub(robots.ws).ledger, CHANNEL))
    assert reason == "orin-3 has said nothing of it for 24 h"
    assert promote(robots.ws, name, "production", device="orin").refused
    lines = {line.device.name: (line.wanted, line.health) for line in fleet.fleet(robots.ws)}
    assert lines["orin-0"] == (name, "well") and lines["orin-3"] == (name, "never seen")
    with pytest.raises(UsageError, match="50% is less"):
        promote(robots.ws, name, "production", device="orin", share=0.5)
    wide = promote(robots.ws, name, "production", device="orin", override=True, reason="orin-3 is in the workshop")
    state = channel_state(hub(robots.ws).ledger, CHANNEL)
    assert wide.passed and (state.share, state.production, held(hub(robots.ws).ledger, state)) == (1.0, name, None)


def test_a_device_that_rolled_back_stops_the_rollout(robots: Fleet) -> None:
    name = robots.arena.version(0.4)
    robots.enroll("orin-0")
    robots.put(name, 0.999999)
    robots.report("orin-0", 1, version=None, bundle=None, outcome="rolled back", reason="RMSE 3.1 m on its health frames")
    stopped = fleet.collect(robots.ws, robots.folder).stopped
    assert stopped == (f"the rollout of {name} on orin/rooms is stopped: orin-0 rolled back: RMSE 3.1 m on its health frames",)


def test_a_candidate_does_not_let_a_stopped_rollout_go_on(robots: Fleet) -> None:
    name, other = robots.arena.version(0.4), robots.arena.version(0.3)
    for number in range(2):
        robots.enroll(f"orin-{number}")
    robots.put(name, 0.999999)
    robots.report("orin-0", 1, version=name)
    robots.report("orin-1", 1, version=None, bundle=None, outcome="failed", reason="the disk is full")
    robots.collect()
    assert robots.hold == "orin-1 failed: the disk is full"
    robots.put(other, 1.0, "cd" * 32, STAGES[:2])
    assert robots.hold == "orin-1 failed: the disk is full"
    refused = promote(robots.ws, name, "production", device="orin").refused
    assert refused and refused.checks[0].found == "stopped: orin-1 failed: the disk is full"
    robots.put(other, 1.0, "cd" * 32)
    assert robots.hold is None


def test_a_late_report_is_about_the_version_that_it_names(robots: Fleet) -> None:
    first, second = robots.arena.version(0.4), robots.arena.version(0.3)
    for number in range(2):
        robots.enroll(f"orin-{number}")
    robots.put(first, 1.0, "1" * 64)
    robots.put(second, 1.0, "2" * 64)
    rollback(robots.ws, device="orin")
    robots.put(first, 0.999999, "1" * 64)
    robots.report("orin-0", 1, version=first, bundle="1" * 64, outcome="rolled back", reason="constant", about="2" * 64)
    assert fleet.collect(robots.ws, robots.folder).stopped == (), "it does not stop what it is not about"
    robots.report("orin-1", 1, version=first, bundle="1" * 64, outcome="rolled back", reason="nothing more", about=None)
    assert len(fleet.collect(robots.ws, robots.folder).stopped) == 1
    found = [(setback.device, setback.version, setback.reason) for setback in setbacks(hub(robots.ws).ledger)]
    assert found == [("orin-0", second, "constant"), ("orin-1", first, "nothing more")]


def test_a_device_vouches_for_its_own_speed_and_for_nothing_else(robots: Fleet) -> None:
    name = robots.arena.version(0.4)
    robots.enroll("orin-0")
    registry = hub(robots.ws)
    version = registry.get(name)
    bench: dict[str, object] = {"format": 1, "kind": "device-bench", "checkpoint_sha256": version.checkpoint.sha256, "device": "orin-0"}
    bench |= {"export_sha256": version.exports[-1].artifact.sha256, "made_at": "2026-03-01T12:00:00Z", "made_by": "vortex-jetson"}
    bench |= {"runtime": "TensorRT", "precision": "fp32", "input_size": [240, 320], "frames": 1000}
    robots.sign("orin-0-1.json", bench | {"latency_ms": {"p50": 9.0, "p99": 12.5}, "throughput_fps": 100.0}, "orin-0")
    assert [outcome for outcome, _ in robots.collect()] == ["taken"]
    (item,) = items(robots.ws, registry, registry.get(name))
    assert (item.device, item.trust, item.fault) == ("orin-0", "unknown signer", "")

    def runs(channel: Channel) -> list[tuple[float, int, str]]:
        request = Request(robots.ws, registry, registry.get(name), None, channel, True, None, None)
        found = gather(request, [FastOnDevice(check="device-bench", p99_ms=33)])[0][DeviceRuns]
        assert isinstance(found, DeviceRuns)
        return [(run.p99_ms, run.frames, run.device) for run in found.runs]

    assert runs(CHANNEL) == [(12.5, 1000, "orin-0")]
    assert runs(Channel("host", "rooms")) == [(12.5, 1000, "")], "another kind of device is as fast as it is"
    registry.artifacts.path(item.record.artifact).write_text("{}")
    with pytest.raises(VortexError, match=f"evidence of {name}: "):
        runs(CHANNEL)


def test_recall_names_the_robots_that_run_what_came_of_it_and_those_that_may(robots: Fleet) -> None:
    def ask(*words: str) -> Any:
        answer = CliRunner().invoke(app, [*words, "--json", "--workspace", str(robots.ws.root)])
        assert answer.exception is None, answer.exception
        return json.loads(answer.stdout)

    first, second = robots.arena.version(0.4), robots.arena.version(0.3)
    for name in ("orin-1", "orin-2", "orin-3"):
        robots.enroll(name)
    robots.put(first, 1.0, "1" * 64)
    for name in ("orin-1", "orin-2"):
        robots.report(name, 1, version=first)
    robots.collect()
    robots.put(second, 1.0, "2" * 64)
    robots.report("orin-1", 2, version=second)
    robots.collect()
    came = ask("lineage", "rooms", "--down")
    words = {(run["device"], run["version"]): (run["reported"], run["until"] is None) for run in came["robots"]}
    assert words == {
        ("orin-1", second): (True, True),
        ("orin-2", first): (True, True),
        ("orin-2", second): (False, True),
        ("orin-3", second): (False, True),
        ("orin-1", first): (True, False),
        ("orin-3", first): (False, False),
    }
    assert {link["to"] for link in came["links"] if link["kind"] == "robot"} == {"robot:orin-1", "robot:orin-2", "robot:orin-3"}
    assert [node["name"] for node in ask("lineage", "orin-2")["nodes"] if node["kind"] == "version"] == [first, second]
    now = ask("history", "--at", "2100-01-01")["robots"]
    assert sorted(map(str, now)) == sorted(str(run) for run in came["robots"] if run["until"] is None)
    devices_of = [
        (each["version"], each["running"], each["silent"], each["asked"]) for each in ask("quarantine", second, "--reason", "x")["devices"]
    ]
    assert devices_of == [(second, ["orin-1"], ["orin-2", "orin-3"], None)]
    rollback(robots.ws, device="orin")
    assert ask("quarantine", first, "--reason", "y")["devices"][0]["running"] == ["orin-2"]
