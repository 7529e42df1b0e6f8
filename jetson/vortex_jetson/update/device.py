"""A device as it lies on its disk: who it is, whom it trusts, its slots, and what it remembers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from vortex_jetson.engines.engine import SETTINGS
from vortex_jetson.errors import BadDocument, RobotError, Untrusted, UsageError
from vortex_jetson.files import locked, point, read_plain, reading, write_all, write_whole, writing
from vortex_jetson.formats.document import CHANNEL, NAME, Fields
from vortex_jetson.limits import LIMITS, Limits
from vortex_jetson.update import slots as slot_states
from vortex_jetson.update.slots import Name, Slots
from vortex_jetson.update.transfer import is_web
from vortex_jetson.update.trust import check_root

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STATE: Final = Path("/var/lib/vortex")
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
LARGEST_SETTINGS: Final = 10_000
LARGEST_ROOT: Final = 512_000


@dataclass(frozen=True)
class Settings:
    """device.toml."""

    device: str
    channel: str
    url: str
    """Of the publishing folder: http, https, or a folder."""
    runtime: str = "onnxruntime"
    """Of `engines.engine.SETTINGS`."""
    shadow: bool = False
    """Whether this device fetches the channel's candidates, and lets them run beside production in the time that is left."""


@dataclass(frozen=True)
class Device:
    """A state folder and its settings. `now` and `boot_id` are what the machine says of its clock and of its boot."""

    folder: Path
    settings: Settings
    limits: Limits = LIMITS
    now: Callable[[], float] = time.time
    boot_id: Callable[[], str] = lambda: BOOT_ID.read_text().strip()

    @property
    def files(self) -> Path:
        """Verified files by digest."""
        return self.folder / "files"

    @property
    def engines(self) -> Path:
        """Engines that were built here."""
        return self.folder / "engines"

    @property
    def key(self) -> Path:
        """The private key that signs reports."""
        return self.folder / "device.key"

    def slot_folder(self, name: Name) -> Path:
        """Of one of the two slots."""
        return self.folder / "slots" / name

    def root(self) -> bytes:
        """The root of TUF that is pinned on this device. Raises RobotError where it is not there whole."""
        path, hint = self.folder / "root.json", "copy it there again, from whom you trust; what runs is kept"
        try:
            content = read_plain(path, LARGEST_ROOT)
            check_root(content)
        except OSError as error:
            raise RobotError(f"{path}: cannot be read ({error.strerror})", hint) from error
        except Untrusted as error:
            raise RobotError(f"{path} is damaged: {error.message}", hint) from error
        return content

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One agent at a time. Raises RobotError where another one is at work."""
        with locked(self.folder / "lock"):
            yield

    def slots(self) -> Slots:
        """What was written down; empty slots on a new device. Raises BadDocument, and RobotError where it cannot be read."""
        path = self.folder / "state.json"
        try:
            with reading(path, "remove it, and pull: what runs is fetched anew, and what was rolled back here is forgotten"):
                return slot_states.parse(read_plain(path, slot_states.LARGEST))
        except FileNotFoundError:
            return Slots()

    def write(self, slots: Slots) -> Slots:
        """Write the state down, and let `current` lead to what runs."""
        write_whole(self.folder / "state.json", slot_states.dump(slots))
        self.settle(slots)
        return slots

    def settle(self, slots: Slots) -> None:
        """Let `current` lead to what runs: the state says so, and a kill may have come before the link was swapped."""
        if slots.running is not None:
            point(self.folder / "current", f"slots/{slots.running}")

    def journal(self, event: str, **detail: Any) -> None:
        """Add a line to what happened, with the time as the clock says; one that the disk does not take is lost, for what happened has happened."""
        with suppress(RobotError):
            self._journal(event, detail)

    def _journal(self, event: str, detail: dict[str, Any]) -> None:
        path = self.folder / "journal.jsonl"
        line = json.dumps({"at": stamp(self.now()), "event": event, **detail}).encode() + b"\n"
        with writing(path):
            if path.exists() and path.stat().st_size > self.limits.journal_bytes:
                lines = path.read_bytes().splitlines(keepends=True)
                write_whole(path, b"".join(lines[len(lines) // 2 :]))
            torn = path.exists() and not path.read_bytes().endswith(b"\n")
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                # A line that a kill tore ends before the next one begins.
                write_all(descriptor, (b"\n" if torn else b"") + line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def stamp(seconds: float) -> str:
    """A time as documents spell it."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def load(folder: Path) -> Device:
    """The device of a state folder. Raises UsageError where its settings are absent or off."""
    path = folder / "device.toml"
    try:
        content = read_plain(path, LARGEST_SETTINGS).decode()
        document = tomllib.loads(content)
    except FileNotFoundError as error:
        raise UsageError(f"{folder}: holds no device", "set it up with: vortex-jetson init, or name another folder with --state") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{path}: cannot be read ({error})", "correct it, or remove it and set the device up with: vortex-jetson init"
        ) from error
    return Device(folder, _settings(document, str(path)))


def _settings(document: dict[str, Any], where: str) -> Settings:
    try:
        fields = Fields({"runtime": "onnxruntime", "shadow": False, **document}, where)
        settings = Settings(
            fields.text("device", NAME),
            fields.text("channel", CHANNEL),
            fields.line("url"),
            fields.text("runtime", "|".join(SETTINGS)),
            fields.flag("shadow"),
        )
        fields.end()
    except BadDocument as error:
        raise UsageError(error.message, "correct it") from error
    return settings


def init(folder: Path, settings: Settings, root: Path) -> Device:
    """Set a device up: its settings, its key, and the root that it trusts. Raises UsageError where there is one already, Untrusted, DiskFull.

    The settings are written last, so that a device is there whole or not at all.
    """
    path = folder / "device.toml"
    if path.exists():
        raise UsageError(f"{folder}: holds a device already", f"correct {path} by hand, or name another folder with --state")
    _settings(vars(settings), "the settings")
    is_web(settings.url)
    try:
        content = read_plain(root, LARGEST_ROOT)
    except OSError as error:
        raise UsageError(f"{root}: cannot be read ({error.strerror})", "name the root.json that whoever publishes gave you") from error
    check_root(content)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    device = Device(folder, settings)
    with device.locked():
        write_whole(folder / "root.json", content)
        if not device.key.exists():
            private, public = _new_key()
            write_whole(device.key, private, 0o600)
            write_whole(folder / "device.pub", public)
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in vars(settings).items())
        write_whole(path, "".join(lines).encode())
    return load(folder)


def _new_key() -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = Ed25519PrivateKey.generate()
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
