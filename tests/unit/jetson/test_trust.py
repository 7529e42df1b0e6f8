"""What a device believes: seven attacks on the metadata, expiry, and clocks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile, Snapshot, TargetFile, Targets, Timestamp
from vortex_jetson.errors import BadDocument, RobotError, Stale, TransferFailed, Untrusted, WrongClock
from vortex_jetson.formats import channel as channels
from vortex_jetson.formats.channel import Channel, Release
from vortex_jetson.update import trust
from vortex_jetson.update.device import Device
from vortex_jetson.update.transfer import FolderSource, Transfer
from vortex_jetson.update.trust import Belief, Floor

from tests.unit.jetson.publisher import CHANNEL, Publisher

V8, V9 = Release("v8", "8" * 64, 4000), Release("v9", "9" * 64, 4312)


def refresh(device: Device, publisher: Publisher) -> Belief:
    transfer = Transfer(FolderSource(publisher.folder), device.limits)
    return trust.refresh(device.folder, device.root(), CHANNEL, transfer, device.now())


def test_what_is_published_is_believed_and_followed(device: Device, publisher: Publisher) -> None:
    first = publisher.publish(V8)
    assert refresh(device, publisher).channel == first
    publisher.rotate_root()
    second = publisher.publish(V9, hold="v9 is in quarantine")
    belief = refresh(device, publisher)
    assert belief.channel == second and belief.versions == (2, 2, 2, 2)
    assert 6.9 < (belief.expires - device.now()) / 86400 < 7.1
    floor = trust.read_floor(device.folder / "floor.json")
    assert (floor.root, floor.timestamp, floor.snapshot, floor.targets, dict(floor.seqs)) == (2, 2, 2, 2, {CHANNEL: 2})


def older(publisher: Publisher, saved: Path) -> None:
    """The whole folder of yesterday."""
    shutil.rmtree(publisher.folder)
    shutil.copytree(saved, publisher.folder)


def mixed(publisher: Publisher, saved: Path) -> None:
    """Today's timestamp and snapshot, with yesterday's targets under today's name."""
    publisher.publish(V9)
    newest = publisher.versions["targets"] - 1
    shutil.copy(saved / f"metadata/{newest - 2}.targets.json", publisher.folder / f"metadata/{newest}.targets.json")


def endless(publisher: Publisher, saved: Path) -> None:
    with open(publisher.folder / "metadata/timestamp.json", "ab") as stream:
        stream.truncate(1 << 40)  # a hole: read as zeros, for as long as somebody reads


def tampered(publisher: Publisher, saved: Path) -> None:
    publisher.publish(V9)
    path = publisher.folder / f"metadata/{publisher.versions['targets'] - 1}.targets.json"
    document = json.loads(path.read_bytes())
    next(iter(document["signed"]["targets"].values()))["length"] += 1
    path.write_text(json.dumps(document))


def other_document(publisher: Publisher, saved: Path) -> None:
    """The signed metadata is right, the channel's document is not."""
    publisher.publish(V9)
    for path in (publisher.folder / "targets/channels/orin").iterdir():
        path.write_bytes(channels.dump(Channel(CHANNEL, 99, V8)))


def wrong_key(publisher: Publisher, saved: Path) -> None:
    publisher.signers |= {role: CryptoSigner.generate_ed25519() for role in ("timestamp", "snapshot", "targets")}
    publisher.publish(V9)


def frozen(publisher: Publisher, saved: Path) -> None:
    """Yesterday's word, which was good for a day, is served for ever."""
    publisher.days = -1
    publisher.publish(V8)


def fast_snapshot(publisher: Publisher, saved: Path) -> None:
    """A new timestamp names a snapshot that takes targets back."""
    snapshot = Snapshot(meta={"targets.json": MetaFile(1)}, expires=publisher.expiry(7))
    publisher.sign("snapshot", snapshot)
    publisher.sign("timestamp", Timestamp(snapshot_meta=MetaFile(snapshot.version), expires=publisher.expiry(7)))


ATTACKS: dict[str, tuple[Callable[[Publisher, Path], None], type[RobotError]]] = {
    "rollback": (older, Untrusted),
    "rollback within a snapshot": (fast_snapshot, Untrusted),
    "freeze": (frozen, Stale),
    "mix-and-match": (mixed, Untrusted),
    "endless data": (endless, Untrusted),
    "tamper": (tampered, Untrusted),
    "tamper with the document": (other_document, Untrusted),
    "wrong key": (wrong_key, Untrusted),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("emptied", [False, True], ids=["", "and the local metadata is emptied"])
def test_attacks_are_refused(attack: str, emptied: bool, device: Device, publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish(V8)
    saved = shutil.copytree(publisher.folder, tmp_path / "saved")
    publisher.publish(V9)
    believed = refresh(device, publisher)
    floor = (device.folder / "floor.json").read_bytes()
    if emptied:
        shutil.rmtree(device.folder / "tuf")
    change, refusal = ATTACKS[attack]
    change(publisher, saved)
    for _ in range(2):  # what was refused once is not believed because it was stored
        with pytest.raises(refusal):
            refresh(device, publisher)
    assert (device.folder / "floor.json").read_bytes() == floor
    assert believed.channel.production == V9


def test_after_an_attack_the_honest_state_is_believed_again(device: Device, publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish(V8)
    saved = shutil.copytree(publisher.folder, tmp_path / "saved")
    publisher.publish(V9)
    honest = shutil.copytree(publisher.folder, tmp_path / "honest")
    refresh(device, publisher)
    shutil.rmtree(device.folder / "tuf")
    older(publisher, saved)
    with pytest.raises(Untrusted, match="an old state is served again"):
        refresh(device, publisher)
    older(publisher, honest)
    assert refresh(device, publisher).channel.production == V9


def test_an_expired_root_stops_and_a_new_one_heals(device: Device, publisher: Publisher) -> None:
    publisher.rotate_root(expires_in_days=-1)
    publisher.publish(V9)
    with pytest.raises(Stale, match=r"Final root\.json is expired"):
        refresh(device, publisher)
    publisher.rotate_root()
    assert refresh(device, publisher).channel.production == V9


def test_a_clock_of_1970_is_told_from_expiry(device: Device, publisher: Publisher) -> None:
    publisher.publish(V9)
    with pytest.raises(WrongClock, match="1970-01-01 00:01 UTC"):
        refresh(replace(device, now=lambda: 60.0), publisher)
    refresh(device, publisher)
    two_days_ago = device.now() - 2 * 86400
    with pytest.raises(WrongClock, match="nothing has expired") as error:
        refresh(replace(device, now=lambda: two_days_ago), publisher)
    assert "Where it is right, and was ahead before, pulls go on from 20" in error.value.hint
    an_hour_ago = device.now() - 3600
    assert refresh(replace(device, now=lambda: an_hour_ago), publisher).channel.production == V9


def test_the_floor_knows_channels_apart_and_never_sinks() -> None:
    now = datetime(2026, 12, 1, tzinfo=timezone.utc).timestamp()
    belief = Belief((1, 5, 5, 3), now + 60, Channel(CHANNEL, 7, V9))
    floor = trust.raised(Floor(seqs={"orin/yard": 90}, seen=now + 50), belief, now)
    assert floor == Floor(1, 5, 5, 3, now + 50, {"orin/yard": 90, CHANNEL: 7})
    trust.check_floor(belief, floor)
    for lower in (
        replace(belief, versions=(0, 5, 5, 3)),
        replace(belief, versions=(1, 4, 5, 3)),
        replace(belief, versions=(1, 5, 4, 3)),
        replace(belief, versions=(1, 5, 5, 2)),
        replace(belief, channel=Channel(CHANNEL, 6, V8)),
    ):
        with pytest.raises(Untrusted):
            trust.check_floor(lower, floor)


def test_a_torn_floor_is_not_taken_for_none(device: Device, publisher: Publisher) -> None:
    publisher.publish(V9)
    refresh(device, publisher)
    (device.folder / "floor.json").write_bytes(b'{"format":1,"root":')
    with pytest.raises(BadDocument):
        refresh(device, publisher)


def test_another_channels_document_and_an_absent_one_are_told(device: Device, publisher: Publisher) -> None:
    publisher.publish_targets({channels.target_name(CHANNEL): channels.dump(Channel("orin/yard", 1, V9))})
    with pytest.raises(Untrusted, match="speaks of orin/yard"):
        refresh(device, publisher)
    publisher.publish_targets({})
    with pytest.raises(RobotError, match="nothing is published for orin/corridor"):
        refresh(device, publisher)
    shutil.rmtree(publisher.folder / "metadata")
    with pytest.raises(TransferFailed, match=r"timestamp\.json"):
        refresh(device, publisher)


def test_a_signed_digest_that_is_none_leads_nowhere(device: Device, publisher: Publisher) -> None:
    name = channels.target_name(CHANNEL)
    targets = Targets(expires=publisher.expiry(90), targets={name: TargetFile(1, {"sha256": "../../../device/device.key"}, name)})
    publisher.sign("targets", targets)
    publisher.sign("snapshot", snapshot := Snapshot(meta={"targets.json": MetaFile(targets.version)}, expires=publisher.expiry(7)))
    publisher.sign("timestamp", Timestamp(snapshot_meta=MetaFile(snapshot.version), expires=publisher.expiry(7)))
    with pytest.raises(Untrusted, match="has no SHA-256 that is one"):
        refresh(device, publisher)


def test_a_root_has_to_be_signed_by_itself(publisher: Publisher) -> None:
    assert trust.check_root(publisher.root) == 1
    other = json.loads(publisher.root)
    other["signed"]["version"] = 2
    for content in (b"", b"{}", json.dumps(other).encode(), publisher.folder.joinpath("metadata/1.root.json").read_bytes()[:-9]):
        with pytest.raises(Untrusted):
            trust.check_root(content)
