"""What is believed of what a publishing folder says. TUF says which metadata is signed, whole and fresh; this adds what TUF forgets.

python-tuf protects against old metadata as long as its own folder is whole. So the highest versions that were believed stand in a file apart,
the floor, and below them nothing is believed again, whatever became of that folder. The decisions are functions of values alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Signed
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from vortex_jetson.errors import RobotError, Stale, TransferFailed, Untrusted, WrongClock
from vortex_jetson.files import read_plain, reading, write_whole, writing
from vortex_jetson.formats import channel as channels
from vortex_jetson.formats import release_keys
from vortex_jetson.formats.channel import Channel
from vortex_jetson.formats.document import LARGEST_COUNT, SHA256, canonical, read
from vortex_jetson.formats.release_keys import ReleaseKeys
from vortex_jetson.update.transfer import NotThere, Transfer

FORMAT: Final = 1
LARGEST_FLOOR: Final = 10_000
ROLES: Final = ("root", "timestamp", "snapshot", "targets")
EARLIEST: Final = datetime(2026, 11, 1, tzinfo=timezone.utc).timestamp()
"""No Vortex published for a device before: a clock before it has never been set."""
CLOCK_SLACK_S: Final = 86_400.0
"""A clock may be set back so far, as by a correction, before its word on expiry is not taken any more."""
REPAIR: Final = "what runs is kept; tell who publishes, since somebody may be serving other files under that address"


@dataclass(frozen=True)
class Floor:
    """The highest versions that were believed, and the latest time at which metadata was believed (seconds since 1970)."""

    root: int = 0
    timestamp: int = 0
    snapshot: int = 0
    targets: int = 0
    seen: float = 0.0
    seqs: Mapping[str, int] = field(default_factory=dict)
    """Of the documents of channels, by their names."""


@dataclass(frozen=True)
class Belief:
    """What the metadata says, once TUF has accepted it."""

    versions: tuple[int, int, int, int]
    """Of root, timestamp, snapshot and targets."""
    expires: float
    """When the first of the four expires (seconds since 1970)."""
    channel: Channel
    release_keys: ReleaseKeys | None = None
    """Who has to have signed what is shipped; None where root names nobody, as roots of before did."""


def check_clock(now: float, floor: Floor) -> None:
    """Raises WrongClock where the clock stands before what was seen: then it can say nothing about expiry either."""
    earliest = max(EARLIEST, floor.seen - CLOCK_SLACK_S)
    if now < earliest:
        raise WrongClock(
            f"the clock says {_day(now)}, and it was {_day(max(EARLIEST, floor.seen))} already: it is wrong, nothing has expired",
            "set the clock (timedatectl), and pull again; what runs is kept. Where it is right, and was ahead before, pulls go on from"
            f" {_day(earliest)}",
        )


def check_floor(belief: Belief, floor: Floor) -> None:
    """Raises Untrusted where a version is below what was believed before."""
    for role, version, lowest in (
        *zip(ROLES, belief.versions, (floor.root, floor.timestamp, floor.snapshot, floor.targets), strict=False),
        ("channel", belief.channel.seq, floor.seqs.get(belief.channel.channel, 0)),
    ):
        if version < lowest:
            raise Untrusted(f"{role} is offered in version {version}, and {lowest} was seen before: an old state is served again", REPAIR)


def raised(floor: Floor, belief: Belief, now: float) -> Floor:
    """The floor after a belief that was checked against it."""
    return Floor(*belief.versions, max(floor.seen, now), {**floor.seqs, belief.channel.channel: belief.channel.seq})


def refresh(folder: Path, root: bytes, name: str, transfer: Transfer, now: float) -> Belief:
    """Believe what a source says of a channel, or raise: `folder` is the device's, which holds tuf/ and floor.json.

    Raises Untrusted (an attack or a broken publishing folder), Stale (expired), WrongClock, TransferFailed, DiskFull.
    """
    floor = read_floor(folder / "floor.json")
    check_clock(now, floor)
    belief = _believed(folder / "tuf", root, name, transfer, now)
    check_floor(belief, floor)
    write_whole(folder / "floor.json", dump_floor(raised(floor, belief, now)))
    return belief


def dump_floor(floor: Floor) -> bytes:
    """The floor as it is written down."""
    return canonical({"format": FORMAT, **asdict(floor)})


def read_floor(path: Path) -> Floor:
    """The floor that was written down; the lowest where nothing was. Raises BadDocument, and RobotError where it cannot be read."""
    try:
        with reading(path, "what runs is kept; where you trust what serves this device today, remove it, and pull: a new one begins there"):
            return _floor(read_plain(path, LARGEST_FLOOR))
    except FileNotFoundError:
        return Floor()


def _floor(content: bytes) -> Floor:
    fields = read(content, LARGEST_FLOOR, "floor.json")
    fields.format(FORMAT)
    seqs = fields.part("seqs")
    root, timestamp, snapshot, targets = map(fields.count, ROLES)
    floor = Floor(
        root, timestamp, snapshot, targets, fields.number("seen", 0, LARGEST_COUNT), {name: seqs.count(name) for name in seqs.document}
    )
    fields.end()
    return floor


def check_root(content: bytes) -> int:
    """The version of a root that a device is to be given as its anchor. Raises Untrusted where it is none, or is not signed by its own keys."""
    try:
        metadata: Metadata[Root] = Metadata[Root].from_bytes(content)
        metadata.verify_delegate(Root.type, metadata)
    except Exception as error:  # python-tuf lets errors of each part pass: ValueError, KeyError, RepositoryError
        raise Untrusted(f"root.json is no signed root of TUF ({error})", "take metadata/1.root.json of the publishing folder") from error
    return int(metadata.signed.version)


def _believed(metadata_folder: Path, root: bytes, name: str, transfer: Transfer, now: float) -> Belief:
    limit = transfer.limits.metadata_bytes
    config = UpdaterConfig(
        max_root_rotations=transfer.limits.root_rotations,
        root_max_length=limit,
        timestamp_max_length=limit,
        snapshot_max_length=limit,
        targets_max_length=limit,
    )
    with writing(metadata_folder):
        metadata_folder.mkdir(parents=True, exist_ok=True)
        for leftover in metadata_folder.glob("tmp*"):
            leftover.unlink()
    fetcher = _Fetcher(transfer)
    target = channels.target_name(name)
    try:
        with writing(metadata_folder):
            updater = Updater(str(metadata_folder), "metadata/", fetcher=fetcher, config=config, bootstrap=root)
            updater.refresh()
            info = updater.get_targetinfo(target)
        if info is None:
            raise RobotError(f"nothing is published for {name}", "promote a version to it, or correct the channel in device.toml")
        if info.length > transfer.limits.channel_bytes:
            raise Untrusted(f"{target} has {info.length:,} bytes, allowed: {transfer.limits.channel_bytes:,}", REPAIR)
        # The digest becomes part of a path.
        if not re.fullmatch(SHA256, info.hashes.get("sha256", "")):
            raise Untrusted(f"{target} has no SHA-256 that is one", REPAIR)
        folder, _, file = target.rpartition("/")
        content = transfer.known(f"targets/{folder}/{info.hashes['sha256']}.{file}", info.hashes["sha256"], info.length)
        signed = [_signed(metadata_folder / f"{role}.json") for role in ROLES]
    except exceptions.ExpiredMetadataError as error:
        raise Stale(
            f"what is published has expired by {_day(now)}, as this clock says ({_plain(error)}): it may be an old state that is served again",
            "what runs is kept; refresh the publishing folder with: vortex keys refresh",
        ) from error
    except exceptions.DownloadLengthMismatchError as error:
        raise Untrusted(f"metadata does not end ({_plain(error)})", REPAIR) from error
    except exceptions.DownloadError as error:
        if fetcher.failure is not None:
            raise fetcher.failure from error
        raise TransferFailed(f"metadata could not be fetched ({_plain(error)})", "it is asked again later") from error
    except exceptions.RepositoryError as error:
        raise Untrusted(f"metadata was refused ({_plain(error)})", REPAIR) from error
    channel = channels.parse(content)
    if channel.channel != name:
        raise Untrusted(f"the document of {name} speaks of {channel.channel}", REPAIR)
    versions = (signed[0].version, signed[1].version, signed[2].version, signed[3].version)
    expires = min(each.expires.timestamp() for each in signed)
    return Belief(versions, expires, channel, release_keys.parse(signed[0].unrecognized_fields))


def _signed(path: Path) -> Signed:
    """What the updater has verified and written: version, expiry and fields of a role's metadata."""
    metadata: Metadata[Any] = Metadata.from_bytes(path.read_bytes())
    signed: Signed = metadata.signed
    return signed


class _Fetcher(FetcherInterface):
    """Lets python-tuf read metadata through a transfer, with its bounds and its patience."""

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self.failure: TransferFailed | None = None
        """Why the newest file did not come, in the agent's own words."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            return iter([self.transfer.small(url, self.transfer.limits.metadata_bytes)])
        except NotThere as error:
            self.failure = error
            raise exceptions.DownloadHTTPError(error.message, 404) from error
        except TransferFailed as error:
            self.failure = error
            raise exceptions.DownloadError(error.message) from error


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"
