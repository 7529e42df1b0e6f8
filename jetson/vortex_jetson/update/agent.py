"""What a device does: pull what its channel asks for, try it out, run it or go on with what it has, and say so.

Each step is written down before the next one begins, and whatever a kill interrupts is finished or dropped by the next call.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from vortex_jetson.engines import builds
from vortex_jetson.errors import (
    DiskFull,
    EngineFailed,
    HealthFailed,
    Interrupted,
    LibraryMissing,
    MemoryShort,
    RobotError,
    TransferFailed,
    UsageError,
    WrongClock,
)
from vortex_jetson.files import STAGING, read_plain, reading, remove_tree, write_whole, writing
from vortex_jetson.formats import bundle as bundles
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.formats.channel import Channel, Release
from vortex_jetson.formats.document import LARGEST_COUNT, canonical, read
from vortex_jetson.formats.release_keys import ReleaseKeys
from vortex_jetson.update import candidate, delivery, health, outbox, task, trust
from vortex_jetson.update.device import Device, stamp
from vortex_jetson.update.slots import Name, Slots
from vortex_jetson.update.transfer import Transfer, source_of

FORMAT: Final = 1
Outcome = Literal["committed", "held", "rolled back", "failed"]
_OF_THE_MOMENT: Final = (Interrupted, WrongClock)
"""Errors that say nothing about a version, and are over with the next pull."""


@dataclass(frozen=True)
class Keep:
    """A device goes on with what it has. `held` says that it was told to, or has to; else it has what is asked for."""

    reason: str
    held: bool = True


@dataclass(frozen=True)
class Pulled:
    """How a pull ended; `changed` says that another bundle runs now."""

    outcome: Outcome
    reason: str
    changed: bool = False
    received: int = 0
    """Bytes that came."""
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Attempt:
    """What a pull is about: the manifest of the release that was asked for, or is on trial, once that is known."""

    bundle: str | None = None
    belief: trust.Belief | None = None
    """What the channel says, and which keys sign what is shipped."""


def decide(channel: Channel, slots: Slots, device: str) -> Release | Keep:
    """What a device does about its channel's document: the release that it takes, or why it keeps what it runs."""
    release = channel.release_for(device)
    current = slots.current
    runs = f"{current.version} runs on" if current.version else "nothing runs"
    # First of all: a hold that follows from this very rollback would be told as its reason, by a device that has a better one.
    if release and release.bundle in slots.barred and release.bundle != current.bundle:
        return Keep(f"{runs}: rolled back here was {slots.barred[release.bundle]}")
    if channel.hold is not None:
        return Keep(f"{runs}: devices hold, {channel.hold}")
    if release is None:
        return Keep(f"{runs}: nothing is in production for this device")
    if release.bundle in channel.barred:
        return Keep(f"{runs}: {release.version} is barred")
    if release.bundle == current.bundle:
        return Keep(f"{release.version} runs", held=False)
    return release


def pull(device: Device, place: str | None = None) -> Pulled:
    """Do what the channel asks for; `place` is another publishing folder or address than that of the settings, as a USB stick.

    Raises RobotError of every kind: whatever it is, what runs goes on running. HealthFailed says that a bundle was rolled back.
    """
    with device.locked():
        transfer = Transfer(source_of(place or device.settings.url, device.limits), device.limits)
        attempt = _Attempt()
        try:
            pulled = _pull(device, transfer, attempt)
            pulled = _beside(device, attempt.belief, transfer, pulled)
        except HealthFailed as error:
            _tell(device, Pulled("rolled back", error.message), attempt.bundle)
            raise
        except RobotError as error:
            # A server that is away for a while says nothing about a version either, and a channel stops a rollout where one failed.
            if not isinstance(error, _OF_THE_MOMENT) and (not isinstance(error, TransferFailed) or error.final):
                with _best_effort(device):
                    _tell(device, Pulled("failed", error.message), attempt.bundle)
            raise
        return _tell(device, pulled, attempt.bundle)


def _pull(device: Device, transfer: Transfer, attempt: _Attempt) -> Pulled:
    slots = recover(device)
    try:
        belief = trust.refresh(device.folder, device.root(), device.settings.channel, transfer, device.now())
    except RobotError:
        # Without word from outside, what was begun with it is still finished.
        if slots.trial:
            attempt.bundle = slots.trial.bundle
            prove(device, slots)
            attempt.bundle = None
        raise
    attempt.belief = belief
    _remember(device, belief)
    channel = belief.channel
    release = channel.release_for(device.settings.device)
    attempt.bundle = release.bundle if release else None
    if slots.trial and (channel.hold is not None or slots.trial.bundle in channel.barred):
        slots = device.write(slots.clear())
    decision = decide(channel, slots, device.settings.device)
    if isinstance(decision, Keep) and not decision.held and _is_damaged(device, slots):
        decision = channel.release_for(device.settings.device) or decision
    if slots.trial and isinstance(decision, Release) and decision.bundle == slots.trial.bundle:
        return _proven(device, slots, transfer)
    if isinstance(decision, Keep):
        if slots.trial:
            slots = device.write(slots.clear())
        warnings = [*_renew(device, slots), *_swept(device, slots)]
        word: Outcome = "held" if decision.held else "committed"
        rolled_back = decision.held and release and release.bundle in slots.barred
        return Pulled("rolled back" if rolled_back else word, decision.reason, received=transfer.received, warnings=warnings)
    slots = stage(device, slots, decision, transfer, belief.release_keys)
    return _proven(device, slots, transfer)


def _beside(device: Device, belief: trust.Belief | None, transfer: Transfer, pulled: Pulled) -> Pulled:
    """See to the channel's candidate, and say what came of it. Whatever that is, the pull stays as it ended."""
    if belief is None or not (device.settings.shadow or candidate.folder_of(device).exists()):
        return pulled
    try:
        words = candidate.follow(device, belief.channel, device.slots(), transfer, belief.release_keys)
    except RobotError as error:
        words = f"no shadow: {error.message}"
    pulled.warnings.extend(_swept(device, device.slots()))
    return replace(pulled, reason=f"{pulled.reason}; {words}" if words else pulled.reason, received=transfer.received)


def _proven(device: Device, slots: Slots, transfer: Transfer) -> Pulled:
    before = slots.current
    slots = prove(device, slots)
    version = slots.current.version
    if slots.current == before:
        slots = device.write(slots.clear())  # nobody goes back to the damaged slot
        reason = f"{version} runs, fetched anew: its files here were damaged"
    else:
        after = "in a new bundle" if version == before.version else f"after {before.version}"
        reason = f"{version} runs, {after}" if before.version else f"{version} runs"
    return Pulled("committed", reason, changed=True, received=transfer.received, warnings=_swept(device, slots))


def recover(device: Device) -> Slots:
    """The state, with what a kill has left put right."""
    slots = device.slots()
    device.settle(slots)
    with writing(device.folder):
        folders = (
            device.folder,
            device.folder / "outbox",
            device.folder / "slots",
            candidate.folder_of(device),
            *device.engines.glob("*/*"),
        )
        for folder in folders:
            for leftover in folder.glob(f".*{STAGING}"):
                remove_tree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
    return slots


def stage(device: Device, slots: Slots, release: Release, transfer: Transfer, keys: ReleaseKeys | None = None) -> Slots:
    """Bring a release into the spare slot, whole and verified, and on trial; of these keys one has to have signed it, where there are any.

    Raises Untrusted, BadDocument, BadBundle, TransferFailed, DiskFull, UsageError where the device's library takes none of its models.
    """
    spare = slots.slot(slots.spare)
    if spare.phase == "committed" and spare.bundle == release.bundle:
        try:
            bundle = verified(device, slots.spare, release.bundle)
        except RobotError as error:
            device.journal("slot damaged", slot=slots.spare, reason=error.message)
        else:
            delivery.require_signed(bundle, transfer, keys)
            return device.write(slots.try_out())
    bundle, manifest = delivery.manifest(device, release, transfer, keys)
    if delivery.missing_bytes(device, bundle) > shutil.disk_usage(device.folder).free and candidate.drop(device):
        sweep(device, slots)
    delivery.fetch(device, bundle, transfer)
    # From here on the spare slot holds nothing that counts, so that its folder may be in any state.
    slots = device.write(slots.clear())
    delivery.fill(device, device.slot_folder(slots.spare), bundle, manifest)
    verified(device, slots.spare, release.bundle)
    slots = device.write(slots.stage(release.version, release.bundle))
    device.journal("staged", version=release.version, bundle=release.bundle, slot=slots.spare)
    return device.write(slots.try_out())


def prove(device: Device, slots: Slots) -> Slots:
    """Have what is on trial do its task: it runs, or HealthFailed is raised and what ran before goes on.

    Raises LibraryMissing, DiskFull and MemoryShort where this device cannot build or run any model now, which says nothing about this one; it
    is not barred.
    """
    trial, name = slots.trial, slots.spare
    if trial is None or trial.bundle is None:
        raise RobotError("nothing is on trial", "pull first: vortex-jetson pull")
    try:
        bundle = verified(device, name, trial.bundle)
    except RobotError:
        device.write(slots.clear())
        raise
    boot = device.boot_id()
    while True:
        try:
            result = task.tried(device, device.slot_folder(name), bundle)
        except (LibraryMissing, DiskFull, MemoryShort):
            device.write(slots.clear())
            raise
        if not result.crashed:
            break
        slots = device.write(slots.crash(boot))
        if slots.crashes_of(boot) >= device.limits.health_crashes:
            break
    if result.reason is None:
        slots = device.write(slots.commit())
        device.journal("committed", version=trial.version, bundle=trial.bundle, slot=name)
        return slots
    times = f" ({slots.crashes_of(boot)} times)" if result.crashed else ""
    slots = device.write(slots.reject(f"{result.reason}{times}"))
    device.journal("rolled back", version=trial.version, bundle=trial.bundle, reason=result.reason)
    _swept(device, slots)
    runs = f"{slots.current.version} runs on" if slots.current.version else "nothing runs"
    raise HealthFailed(
        f"{trial.version} does not do its task: {result.reason}{times}; {runs}", "it is barred here; promote another version"
    )


def build(device: Device, name: Name | None = None) -> tuple[Bundle, Path, bool]:
    """Build the engine of a slot's bundle, else of what runs, and have it do its task; the bundle, the engine, and whether it is new.

    What runs goes on meanwhile, and whatever comes of it: an engine that does not do the bundle's task is not kept. Raises RobotError.
    """
    with device.locked():
        slots = recover(device)
        name = name or slots.running
        if name is None:
            raise UsageError("nothing runs on this device", "pull first: vortex-jetson pull")
        slot = slots.slot(name)
        if slot.bundle is None:
            raise UsageError(f"slot {name} is empty", "leave --slot out for what runs")
        return _built(device, name, verified(device, name, slot.bundle))


def _built(device: Device, name: Name, bundle: Bundle) -> tuple[Bundle, Path, bool]:
    _, here = task.library(device)
    if here is None:
        raise UsageError(
            "this device runs ONNX Runtime, which needs no engine", 'to run TensorRT, write runtime = "tensorrt" into device.toml'
        )
    before = builds.proven(device.engines, bundle, here)
    result = task.tried(device, device.slot_folder(name), bundle)
    engine = builds.proven(device.engines, bundle, here)
    if result.reason is not None or engine is None:
        raise EngineFailed(f"{bundle.version} does not do its task on an engine for {here.key}: {result.reason}", "what runs goes on")
    if engine != before:
        device.journal("engine built", version=bundle.version, engine=builds.name(engine))
    return bundle, engine, engine != before


def _renew(device: Device, slots: Slots) -> list[str]:
    """Build what runs an engine where this machine has another power mode or library than when its engine was built; why not, where that failed.

    Raises RobotError where nothing that was built runs it on this machine.
    """
    _, here = task.library(device)
    if here is None or slots.running is None or slots.current.bundle is None:
        return []
    bundle = running(device, slots)
    engine = builds.proven(device.engines, bundle, here)
    if engine is not None and engine.parent.name == here.key:
        return []
    try:
        _built(device, slots.running, bundle)
    except RobotError as error:
        if engine is None:
            raise
        return [f"{bundle.version} runs on an engine of another power mode: {error.message}"]
    return []


def engine_name(device: Device, slots: Slots) -> str | None:
    """The name of the engine that was built for what runs; None where none was, as ONNX Runtime needs none."""
    if device.settings.runtime == "onnxruntime" or slots.running is None:
        return None
    try:
        engine = builds.newest(
            device.engines, delivery.read_manifest(device.slot_folder(slots.running), str(slots.current.bundle), device.limits)
        )
    except RobotError:  # what is damaged is told by whoever verifies it
        return None
    return None if engine is None else builds.name(engine)


def roll_back(device: Device, reason: str) -> Slots:
    """Go back to what ran before, by hand; what runs is barred here. Raises UsageError without a reason, and where there is nothing to go back to."""
    if not reason.strip():
        raise UsageError("a rollback without a reason", "say why with --reason: the report and the status of this device tell it")
    with device.locked():
        slots = recover(device)
        before, spare = slots.current, slots.slot(slots.spare)
        if spare.phase != "committed" or spare.bundle is None:
            raise UsageError(
                f"there is nothing to go back to: the other slot is {spare.phase}, allowed: committed",
                "promote the earlier version again: vortex rollback, then vortex-jetson pull",
            )
        verified(device, slots.spare, spare.bundle)
        slots = device.write(slots.roll_back(reason))
        device.journal("rolled back", version=before.version, bundle=before.bundle, reason=reason)
        _swept(device, slots)
        _tell(device, Pulled("rolled back", f"{before.version} was rolled back by hand: {reason}"), before.bundle)
        return slots


def check(device: Device) -> tuple[Bundle, health.Result]:
    """Have what is on trial, or else what runs, do its task.

    What runs is only judged, and `result.reason` says why it failed; what is on trial is committed or rolled back, as by a pull.
    """
    with device.locked():
        slots = recover(device)
        if slots.trial:
            slots = prove(device, slots)
        if slots.running is None:
            raise UsageError("nothing runs on this device", "pull first: vortex-jetson pull")
        bundle = running(device, slots)
        return bundle, task.tried(device, device.slot_folder(slots.running), bundle)


def running(device: Device, slots: Slots) -> Bundle:
    """The bundle that runs, verified now. Raises UsageError where nothing runs, BadBundle where it was changed."""
    if slots.running is None or slots.current.bundle is None:
        raise UsageError("nothing runs on this device", "pull first: vortex-jetson pull")
    return verified(device, slots.running, slots.current.bundle)


def _is_damaged(device: Device, slots: Slots) -> bool:
    """Whether what runs is not what was verified any more, so that no program of the robot would load it, and is to be fetched anew."""
    if slots.current.bundle in slots.barred:
        return False
    try:
        running(device, slots)
    except RobotError as error:
        device.journal("slot damaged", slot=slots.running, reason=error.message)
        return True
    return False


def verified(device: Device, name: Name, digest: str) -> Bundle:
    """The bundle of a slot, whose folder is what the manifest with this digest says. Raises BadBundle and BadDocument."""
    return delivery.verified(device.slot_folder(name), digest, device.limits)


def sweep(device: Device, slots: Slots) -> None:
    """Remove what no slot holds and no candidate: fetched files, the engines that were built of them, and folders that were on their way."""
    named = {entry.sha256 for bundle in candidate.manifests(device) for entry in bundle.files.values()}
    for name in ("a", "b"):
        slot = slots.slot("a" if name == "a" else "b")
        folder = device.folder / "slots" / name
        if slot.phase == "empty":
            remove_tree(folder)
            continue
        try:
            manifest = read_plain(folder / "manifest.json", device.limits.manifest_bytes)
            named |= {entry.sha256 for entry in bundles.parse(manifest).files.values()}
        except (OSError, RobotError):
            return
    with writing(device.files):
        for path in device.files.glob("??/*"):
            if path.name not in named:
                path.unlink()
    builds.sweep(device.engines, named)


def _swept(device: Device, slots: Slots) -> list[str]:
    """Sweep, and say why not where that failed: what runs runs all the same."""
    with _best_effort(device) as faults:
        sweep(device, slots)
    return faults


def _remember(device: Device, belief: trust.Belief) -> None:
    """Note until when what was believed holds, and what the channel asked for, for `status`."""
    channel = belief.channel
    release = channel.release_for(device.settings.device)
    note = {
        "format": FORMAT, "at": stamp(device.now()), "expires": belief.expires, "seq": channel.seq,
        "hold": channel.hold, "asked": release.version if release else None,
        "barred": list(channel.barred),
    }  # fmt: skip
    write_whole(device.folder / "belief.json", canonical(note))


def _tell(device: Device, pulled: Pulled, about: str | None) -> Pulled:
    """Report how a pull ended that was `about` this bundle. Whatever becomes of the report, the pull stays as it ended."""
    slots = device.slots()
    current = slots.current
    with _best_effort(device) as faults:
        engine = engine_name(device, slots)
        outbox.add(device, pulled.outcome, pulled.reason, current.version, current.bundle, engine, about=about)
        outbox.send(device)
    pulled.warnings.extend(faults)
    return pulled


@contextmanager
def _best_effort(device: Device) -> Iterator[list[str]]:
    """Take an error for a warning: reporting and tidying never change what was done."""
    faults: list[str] = []
    try:
        yield faults
    except RobotError as error:
        faults.append(error.message)


@dataclass(frozen=True)
class Status:
    """What a device says of itself."""

    device: str
    channel: str
    version: str | None
    bundle: str | None
    slot: str | None
    engine: str | None
    """Name of the newest engine that was built for what runs; None without one, as ONNX Runtime needs none."""
    previous: str | None
    """Version of the other slot, which `rollback` goes back to."""
    trial: str | None
    shadow: str | None
    """Version of the candidate that `run` lets see what the robot sees."""
    hold: str | None
    asked: str | None
    """Version that the channel asked for, when it was last heard."""
    barred_by_channel: bool
    """What runs must not run any more, and there is nothing else."""
    heard_at: str | None
    expires_at: str | None
    metadata: Literal["fresh", "expired", "clock wrong", "never fetched"]
    rolled_back: dict[str, str]
    reports_waiting: int


def status(device: Device) -> Status:
    """What runs, what was asked for, and how fresh that word is. Reads alone."""
    slots, path, largest = device.slots(), device.folder / "belief.json", device.limits.metadata_bytes
    try:
        with reading(path, "pull: it is written anew"):
            fields = read(read_plain(path, largest), largest, "belief.json")
            fields.format(FORMAT)
    except FileNotFoundError:
        fields = None
    expires = fields.number("expires", 0, LARGEST_COUNT) if fields else None
    spare = slots.slot(slots.spare)
    return Status(
        device.settings.device,
        device.settings.channel,
        slots.current.version,
        slots.current.bundle,
        slots.running,
        engine_name(device, slots),
        spare.version if spare.phase == "committed" else None,
        slots.trial.version if slots.trial else None,
        next((bundle.version for bundle in candidate.manifests(device)), None) if candidate.proven(device) else None,
        fields.optional("hold", fields.line) if fields else None,
        fields.optional("asked", fields.line) if fields else None,
        bool(fields and slots.current.bundle in fields.items("barred", 0, LARGEST_COUNT)),
        fields.line("at") if fields else None,
        stamp(expires) if expires is not None else None,
        _freshness(device, expires),
        dict(slots.barred),
        len(outbox.waiting(device)),
    )


def _freshness(device: Device, expires: float | None) -> Literal["fresh", "expired", "clock wrong", "never fetched"]:
    if expires is None:
        return "never fetched"
    try:
        trust.check_clock(device.now(), trust.read_floor(device.folder / "floor.json"))
    except WrongClock:
        return "clock wrong"
    return "fresh" if device.now() < expires else "expired"
