"""The candidate that a channel has beside production: one more bundle on the disk, in a folder that no slot is, so that nothing acts on it.

    shadow/unproven     whole, and not tried out yet
    shadow/DIGEST       it has done its task: `run` may have it see what the robot sees, in a process of its own

There is one at most. It is verified as what runs is, held and barred likewise, and gives way where the disk is short of room for the next version.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vortex_jetson.errors import RobotError
from vortex_jetson.files import STAGING, flush, read_plain, remove_tree, writing
from vortex_jetson.formats import bundle as bundles
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.formats.channel import Channel, Release
from vortex_jetson.formats.document import SHA256
from vortex_jetson.formats.release_keys import ReleaseKeys
from vortex_jetson.update import delivery, task
from vortex_jetson.update.device import Device
from vortex_jetson.update.slots import Slots
from vortex_jetson.update.transfer import Transfer

UNPROVEN: Final = "unproven"


def proven(device: Device) -> Path | None:
    """The folder of the candidate that has done its task, which its manifest's digest names; None where there is none."""
    folders = (folder for folder in folder_of(device).glob("*") if re.fullmatch(SHA256, folder.name))
    return next(folders, None)


def folder_of(device: Device) -> Path:
    """Where candidates lie."""
    return device.folder / "shadow"


def manifests(device: Device) -> Iterator[Bundle]:
    """What lies there, by the manifests, which are not verified here. What cannot be read is left out: nothing rests on it."""
    for path in folder_of(device).glob("*/manifest.json"):
        try:
            yield bundles.parse(read_plain(path, device.limits.manifest_bytes))
        except (OSError, RobotError):
            continue


def unlike(candidate: Bundle, running: Bundle) -> str | None:
    """Why the answers of two versions cannot be compared pixel by pixel; None where they can."""
    for name, ours, theirs in (("size", candidate.size, running.size), ("classes", candidate.classes, running.classes)):
        if ours != theirs:
            return f"{candidate.version} has the {name} {_spelled(ours)}, {running.version} {_spelled(theirs)}"
    return None


def follow(device: Device, channel: Channel, slots: Slots, transfer: Transfer, keys: ReleaseKeys | None = None) -> str | None:
    """Have the candidate lie there that the channel names, beside what runs, or alone, to be timed before anything runs; what came of it in
    words, None where the channel has none.

    Raises RobotError of every kind, after which none may lie there.
    """
    release, folder = channel.shadow, proven(device)
    if folder is not None and (folder.name in channel.barred or folder.name in slots.barred):
        drop(device)
        folder = None
    if not device.settings.shadow or release is None or release.bundle == slots.current.bundle:
        drop(device)
        return None
    if release.bundle in channel.barred or release.bundle in slots.barred:
        drop(device)
        return f"no shadow: {slots.barred.get(release.bundle, f'{release.version} is barred')}"
    if folder is not None and (folder.name == release.bundle or channel.hold is not None):
        try:
            bundle = delivery.verified(folder, folder.name, device.limits)
            delivery.require_signed(bundle, transfer, keys)
            if task.is_ready(device, bundle):
                return f"{bundle.version} is its shadow"
        except RobotError as error:
            device.journal("shadow damaged", reason=error.message)
    drop(device)
    if channel.hold is not None:
        return f"no shadow: devices hold, {channel.hold}"
    return _take(device, slots, release, transfer, keys)


def drop(device: Device) -> bool:
    """Have no candidate lie there; whether there was one. Whoever looks meanwhile finds it whole or not at all."""
    there = sorted(folder_of(device).glob("[!.]*"))
    for folder in there:
        staging = folder.with_name(f".{folder.name}{STAGING}")
        remove_tree(staging)
        with writing(folder):
            os.rename(folder, staging)
            flush(folder.parent)
        remove_tree(staging)
    return bool(there)


def _take(device: Device, slots: Slots, release: Release, transfer: Transfer, keys: ReleaseKeys | None) -> str:
    bundle, content = delivery.manifest(device, release, transfer, keys)
    if slots.running is not None and slots.current.bundle is not None:
        difference = unlike(bundle, delivery.verified(device.slot_folder(slots.running), slots.current.bundle, device.limits))
        if difference is not None:
            return f"no shadow: {difference}"
    delivery.fetch(device, bundle, transfer)
    folder = folder_of(device) / UNPROVEN
    delivery.fill(device, folder, bundle, content)
    delivery.verified(folder, release.bundle, device.limits)
    result = task.tried(device, folder, bundle)
    for _ in range(device.limits.health_crashes - 1):
        if result.crashed:
            result = task.tried(device, folder, bundle)
    if result.reason is not None:
        slots = device.write(slots.refuse(release.version, release.bundle, result.reason))
        drop(device)
        device.journal("shadow refused", version=release.version, bundle=release.bundle, reason=result.reason)
        return f"no shadow: {slots.barred[release.bundle]}"
    with writing(folder):
        os.rename(folder, folder_of(device) / release.bundle)
        flush(folder.parent)
    device.journal("shadow", version=release.version, bundle=release.bundle)
    return f"{release.version} is its shadow"


def _spelled(value: tuple[object, ...]) -> str:
    return "x".join(map(str, value)) if all(isinstance(part, int) for part in value) else ", ".join(map(str, value))
