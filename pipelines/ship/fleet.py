"""Enrolled devices: their keys, what they report, and what a rollout to some of them came to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, ValidationError
from vortex_jetson.formats.channel import Rollout

from core import strict_yaml
from core.errors import VortexError
from core.files import read_regular
from core.printable import one_line
from core.stream_order import natural
from pipelines.hub import evidence
from pipelines.hub.open import actor, commit, hub
from pipelines.lineage.device_runs import asked_of
from pipelines.ship.publish import publish_after
from pipelines.workspace import Workspace, check_name
from registry import devices, signature
from registry.channels import Channel, ChannelState
from registry.events.channel import ChannelHeld
from registry.records import DeviceStatus, EnrolledDevice, Outcome
from registry.stages import bundles, channel_states, held, newest_production_move
from registry.versions import Hub
from validation.strict import Strict

if TYPE_CHECKING:
    from securesystemslib.signer import Key

LARGEST_REPORT: Final = 1_000_000
MOST_REPORTS: Final = 100_000
"""Files of a folder that are looked at."""
SILENCE: Final = timedelta(hours=24)
"""How long a device of a rollout may say nothing before that counts as a failure: a robot pulls several times a day."""
_SHA256: Final = r"^[0-9a-f]{64}$"
_VERSION: Final = r"^v[1-9][0-9]{0,8}$"


class StatusReport(Strict):
    """What a device says after a pull, as `vortex_jetson.update.outbox` writes it."""

    format: Literal[1]
    kind: Literal["device-status"]
    device: str = Field(max_length=63)
    channel: str = Field(max_length=130)
    version: str | None = Field(pattern=_VERSION)
    bundle: str | None = Field(pattern=_SHA256)
    slot: Literal["a", "b"] | None
    outcome: Outcome
    reason: str | None = Field(max_length=2000)
    engine: str | None = Field(max_length=200)
    about: str | None = Field(default=None, pattern=_SHA256)
    at: str = Field(max_length=40)
    counter: int = Field(ge=1, le=2**53)


@dataclass(frozen=True)
class Collected:
    """What became of one report: `taken`, `old` (it, or a newer one, was taken before) or `refused`, and why."""

    file: str
    outcome: Literal["taken", "old", "refused"]
    text: str


@dataclass(frozen=True)
class Collection:
    """All reports of a folder, the rollouts that were stopped because of them, and what the robots' folder came to."""

    reports: tuple[Collected, ...]
    stopped: tuple[str, ...]
    published: tuple[str, ...]

    def sentence(self) -> str:
        """The outcome in words."""
        counts = {outcome: sum(report.outcome == outcome for report in self.reports) for outcome in ("taken", "old", "refused")}
        return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count) or "no report"


@dataclass(frozen=True)
class DeviceLine:
    """An enrolled device with where it stands: what its channel has for it, and its health in a word."""

    device: EnrolledDevice
    wanted: str | None
    health: str


def enroll(ws: Workspace, name: str, key_file: Path, channel: str, *, reason: str = "") -> bool:
    """Know a device by its public key, and say which channel it pulls; False where that was so already.

    Raises VortexError for a channel that is none of the workspace, a key that is none, and one that another device has.
    """
    check_name("device", name)
    target = Channel.parse(channel)
    ws.device(target.device)
    ws.domain(target.domain)
    text = signature.read(key_file)
    key = signature.public_key(text, str(key_file))
    return devices.enroll(hub(ws).ledger, name, target, key.keyid, text, actor=actor(), reason=reason, commit=commit(ws))


def revoke(ws: Workspace, name: str, *, reason: str) -> None:
    """Let what a device says count no more. Raises VortexError without a reason, and where it is not enrolled."""
    if not reason.strip():
        raise VortexError("a device is revoked without a reason", "say why with --reason: it is kept in the ledger")
    devices.revoke(hub(ws).ledger, name, actor=actor(), reason=reason, commit=commit(ws))


def fleet(ws: Workspace) -> list[DeviceLine]:
    """Every enrolled device that was not revoked, by its name, with what its channel has for it."""
    registry = hub(ws)
    states = {str(state.channel): state for state in channel_states(registry.ledger)}
    return [
        _line(registry, device, states.get(str(device.channel)))
        for device in sorted(devices.devices(registry.ledger).values(), key=lambda device: natural(device.name))
        if device.revoked_at is None
    ]


def collect(ws: Workspace, folder: Path, *, now: datetime | None = None) -> Collection:
    """Take the signed reports in a folder, the newest state of each device into the ledger and measurements into the evidence.

    A report counts once, and none that is older than what was taken; whose signer is not enrolled is refused by name. Then rollouts are
    looked at: where a device that should have taken the version failed, or has said nothing for a day, the rollout is stopped.
    """
    registry = hub(ws)
    registry.ledger.verify()
    senders = _senders(registry)
    reports = [_take(ws, registry, path, senders) for path in _files(folder)]
    stopped = tuple(_stop_failing(ws, registry, now or datetime.now(UTC)))
    return Collection(tuple(reports), stopped, publish_after(ws) if stopped else ())


def rollout_failures(registry: Hub, state: ChannelState, now: datetime) -> tuple[list[str], list[str]]:
    """Of the devices that a rollout went to: what went wrong, a line each, and who has not committed it yet, within the deadline."""
    made = {bundled.bundle for bundled in bundles(registry.ledger, state.channel) if bundled.version == state.production}
    rollout = Rollout(state.share, f"{state.production}@{state.since}", None)
    move = newest_production_move(registry.ledger, state.channel)
    began = move.at if move else ""
    failures, waiting = [], []
    for device in devices.devices(registry.ledger).values():
        if device.revoked_at is not None or device.channel != state.channel or not rollout.takes(device.name):
            continue
        status = device.status
        # What is collected now may have been written before: a report that names another bundle says nothing of this one.
        status = status if device.seen_at is not None and device.seen_at >= began else None
        if status is not None and status.outcome == "committed" and status.bundle in made:
            continue
        if status is not None and status.outcome in ("rolled back", "failed") and (status.about is None or status.about in made):
            failures.append(f"{device.name} {status.outcome}{f': {status.because}' if status.because else ''}")
        elif now - max(datetime.fromisoformat(began), datetime.fromisoformat(device.enrolled_at)) > SILENCE:
            failures.append(f"{device.name} has said nothing of it for {SILENCE / timedelta(hours=1):.0f} h")
        else:
            waiting.append(device.name)
    return failures, waiting


def _stop_failing(ws: Workspace, registry: Hub, now: datetime) -> Iterator[str]:
    for state in channel_states(registry.ledger):
        if state.share >= 1 or state.production is None or held(registry.ledger, state):
            continue
        failures, _ = rollout_failures(registry, state, now)
        if failures:
            reason = "; ".join(failures)
            event = ChannelHeld(state.channel, state.production, state.seq)
            registry.ledger.append(event, actor=actor(), reason=reason, commit=commit(ws))
            yield f"the rollout of {state.production} on {state.channel} is stopped: {reason}"


def _files(folder: Path) -> Sequence[Path]:
    """The reports of a folder, or of its folder `reports`, in the order of their names, which count up."""
    if not folder.is_dir():
        raise VortexError(
            f"{folder}: is no folder with reports", "name the folder that the server or `vortex-jetson report --to` writes into"
        )
    inner = folder / "reports"
    paths = sorted((inner if inner.is_dir() else folder).glob("*.json"))
    if len(paths) > MOST_REPORTS:
        raise VortexError(f"{folder}: has {len(paths):,} reports, allowed: {MOST_REPORTS:,}", "collect them in parts")
    return paths


def _senders(registry: Hub) -> dict[str, tuple[EnrolledDevice, Key]]:
    """Id of the key → device, also of those that were revoked."""
    known = devices.devices(registry.ledger).values()
    return {device.keyid: (device, signature.public_key(device.key, f"device {device.name}")) for device in known}


def _take(ws: Workspace, registry: Hub, path: Path, senders: Mapping[str, tuple[EnrolledDevice, Key]]) -> Collected:
    try:
        device, payload = _opened(path, senders)
        kind = payload.get("kind")
        if kind != "device-status":
            return _take_evidence(ws, registry, path, str(kind), payload)
        status = _status(path, device, payload)
        # What was taken by an earlier call lies there for ever, and needs no transaction.
        old = device.status is not None and status.counter <= device.status.counter
        taken = not old and devices.report(registry.ledger, device.name, status, actor=f"device {device.name}")
        return Collected(path.name, "taken" if taken else "old", f"{device.name} {status.sentence}")
    except VortexError as error:
        return Collected(path.name, "refused", error.message)


def _opened(path: Path, senders: Mapping[str, tuple[EnrolledDevice, Key]]) -> tuple[EnrolledDevice, dict[str, Any]]:
    """Which enrolled device signed a report, and what it says. Raises VortexError for any other, and for one that was revoked."""
    try:
        content = read_regular(path, LARGEST_REPORT)
    except OSError as error:
        raise VortexError(f"{path}: cannot be read ({error.strerror or error})", "look at the folder") from error
    keys = [key for device, key in senders.values() if device.revoked_at is None]
    signed = signature.inspect(content, evidence.DEVICE_TYPE, (), path.name, keys=keys)
    try:
        payload = json.loads(signed.payload)
    except (ValueError, RecursionError) as error:
        raise VortexError(f"{path.name} is no JSON", "it was not written by vortex-jetson") from error
    if not isinstance(payload, dict):
        raise VortexError(f"{path.name} is no report", "it was not written by vortex-jetson")
    if not signed.trusted:
        revoked = next((senders[keyid][0] for keyid in signed.signers if keyid in senders), None)
        if revoked is not None and revoked.revoked_at is not None:
            raise VortexError(
                f"{path.name} bears the key of {revoked.name}, which was revoked on {revoked.revoked_at[:10]}: what it signs counts no more",
                "leave it; a device that is to count again is set up anew, with a key that nobody else has",
            )
        named = one_line(str(payload.get("device")))[:63]
        raise VortexError(
            f"{path.name} calls itself {named!r} and is signed by {', '.join(keyid[:12] for keyid in signed.signers) or 'nobody'},"
            f" which is the key of no enrolled device",
            f"enroll it with: vortex devices enroll {named} --key PUB.pem --channel DEVICE/DOMAIN",
        )
    return senders[signed.trusted[0]][0], payload


def _status(path: Path, device: EnrolledDevice, payload: dict[str, Any]) -> DeviceStatus:
    """What a device reported. Raises VortexError for what is no status report, or is about another device or channel."""
    try:
        report = StatusReport.model_validate(payload)
    except ValidationError as error:
        raise VortexError(
            f"{path.name} is no status report: {strict_yaml.faults(error)[0]}", "it was not written by vortex-jetson"
        ) from error
    if (report.device, report.channel) != (device.name, str(device.channel)):
        raise VortexError(
            f"{path.name} is about {one_line(report.device)} on {one_line(report.channel)}, and signed by {device.name} of {device.channel}",
            "a device speaks for itself alone",
        )
    engine = None if report.engine is None else one_line(report.engine)
    texts = (report.version, report.bundle, report.slot, engine, one_line(report.reason or ""))
    return DeviceStatus(report.counter, one_line(report.at), report.outcome, *texts, report.about)


def _take_evidence(ws: Workspace, registry: Hub, path: Path, kind: str, payload: dict[str, Any]) -> Collected:
    """A measurement: it becomes evidence of the version whose checkpoint it names."""
    checkpoint = payload.get("checkpoint_sha256")
    version = next((each.name for each in registry.versions() if each.checkpoint.sha256 == checkpoint), None)
    if version is None:
        raise VortexError(f"{path.name} is about a checkpoint that no version here has", "collect it where the version was made")
    added = evidence.add(ws, version, path, kind)
    return Collected(path.name, "old" if added.already else "taken", f"{kind} of {version}: {added.item.record.summary}")


def _line(registry: Hub, device: EnrolledDevice, state: ChannelState | None) -> DeviceLine:
    wanted = asked_of(state, device.name) if state else None
    status = device.status
    if status is None:
        return DeviceLine(device, wanted, "never seen")
    if status.outcome in ("rolled back", "failed", "held"):
        return DeviceLine(device, wanted, status.outcome)
    return DeviceLine(device, wanted, "well" if status.version == wanted else "behind")
