"""A bundle on its way to a folder of this device: what is fetched of it, whether the disk has room for it, and whether it is whole there."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Final

from vortex_jetson.engines.engine import model_for
from vortex_jetson.errors import BadBundle, DiskFull, Untrusted
from vortex_jetson.files import flush, read_plain, remove_tree, write_whole, writing
from vortex_jetson.formats import bundle as bundles
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.formats.channel import Release
from vortex_jetson.formats.release_keys import LARGEST_STATEMENT, STATEMENT, ReleaseKeys, check_statement
from vortex_jetson.limits import LIMITS, Limits
from vortex_jetson.update import task, trust
from vortex_jetson.update.device import Device
from vortex_jetson.update.transfer import Transfer

CLUSTER_BYTES: Final = 4096
"""What a small file takes on a disk."""


def manifest(device: Device, release: Release, transfer: Transfer, keys: ReleaseKeys | None) -> tuple[Bundle, bytes]:
    """A release's manifest, read and as bytes; of these keys one has to have signed what it ships, where there are any.

    Raises Untrusted, BadDocument, TransferFailed, LibraryMissing, UsageError where the device's library takes none of its models.
    """
    content = transfer.known(_path(release.bundle), release.bundle, release.bytes)
    bundle = bundles.parse(content)
    if (bundle.version, bundle.channel) != (release.version, device.settings.channel):
        raise Untrusted(
            f"the bundle of {release.version} for {device.settings.channel} says that it is {bundle.version} for {bundle.channel}",
            trust.REPAIR,
        )
    model_for(task.library(device)[0], bundle)
    require_signed(bundle, transfer, keys)
    return bundle, content


def require_signed(bundle: Bundle, transfer: Transfer, keys: ReleaseKeys | None) -> None:
    """Raises Untrusted where none of these keys signed the statement about a bundle's models, before any of them is fetched."""
    if keys is None:
        return
    entry = bundle.files.get(STATEMENT)
    if entry is None or entry.bytes > LARGEST_STATEMENT:
        raise Untrusted(f"{bundle.version} comes without {STATEMENT}, and root names keys that sign one", trust.REPAIR)
    statement = transfer.known(_path(entry.sha256), entry.sha256, entry.bytes)
    check_statement(statement, {model.file: bundle.files[model.file].sha256 for model in bundle.models}, keys)


def fetch(device: Device, bundle: Bundle, transfer: Transfer) -> None:
    """Fetch what of a bundle's files is not there yet. Raises DiskFull before anything of it came, Untrusted, TransferFailed."""
    needed, free = missing_bytes(device, bundle), shutil.disk_usage(device.folder).free
    if free < needed:
        raise DiskFull(
            f"{device.folder}: {bundle.version} needs {needed:,} bytes, {free:,} are free; nothing was fetched",
            "free some space, and pull again",
        )
    for entry in bundle.files.values():
        transfer.file(_path(entry.sha256), entry.sha256, entry.bytes, device.files / entry.sha256[:2] / entry.sha256)


def missing_bytes(device: Device, bundle: Bundle) -> int:
    """Room that the files of a bundle take on the disk that are not there yet."""
    return sum(
        entry.bytes + CLUSTER_BYTES for entry in bundle.files.values() if not (device.files / entry.sha256[:2] / entry.sha256).exists()
    )


def fill(device: Device, folder: Path, bundle: Bundle, content: bytes) -> None:
    """Put a bundle and its manifest into a folder: hard links to the fetched files where the disk has them, else copies; flushed."""
    staging = folder.with_name(f".{folder.name}.staging")
    remove_tree(staging)
    remove_tree(folder)
    with writing(folder):
        for path, entry in bundle.files.items():
            place = staging / "bundle" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            _link(device.files / entry.sha256[:2] / entry.sha256, place)
        write_whole(staging / "manifest.json", content)
        for parent, folders, _ in os.walk(staging):
            for child in folders:
                flush(Path(parent, child))
        flush(staging)
        os.rename(staging, folder)
        flush(folder.parent)


def verified(folder: Path, digest: str, limits: Limits = LIMITS) -> Bundle:
    """The bundle of a folder that `fill` filled, which is what the manifest with this digest says. Raises BadBundle and BadDocument."""
    bundle = read_manifest(folder, digest, limits)
    bundles.verify(folder / "bundle", bundle)
    return bundle


def read_manifest(folder: Path, digest: str, limits: Limits = LIMITS) -> Bundle:
    """What such a folder should hold. Raises BadBundle and BadDocument."""
    try:
        content = read_plain(folder / "manifest.json", limits.manifest_bytes)
    except OSError as error:
        raise BadBundle(f"{folder / 'manifest.json'}: cannot be read ({error.strerror})", "pull again") from error
    if bundles.digest(content) != digest:
        raise BadBundle(f"{folder / 'manifest.json'}: is not the one that was pulled", "pull again")
    return bundles.parse(content)


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, place)
        flush(place)


def _path(sha256: str) -> str:
    return f"files/{sha256[:2]}/{sha256}"
