"""Reports of what a device runs: signed, kept until somebody has taken them, and never a reason to change what runs.

A report is a file `COUNTER.json`, a DSSE envelope signed with the device's key. A counter never comes back, so that whoever collects them
takes each of them once, also where one was sent and the device lost its power before it could strike it off.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import urllib3

from vortex_jetson.errors import RobotError, TransferFailed, plain
from vortex_jetson.files import read_plain, write_whole, writing
from vortex_jetson.formats.document import LONGEST_LINE, canonical
from vortex_jetson.update import connections
from vortex_jetson.update.device import Device, stamp
from vortex_jetson.update.transfer import is_web

TYPE: Final = "application/vnd.vortex.device-report+json"
LARGEST: Final = 1_000_000
"""Bytes of a report."""
REFUSED: Final = (400, 413, 415, 422)
"""Answers that speak of this one report and not of the server."""
THERE: Final = 409
"""What a server answers that has this very report already: it was sent before, and the device lost its power before it could strike it off."""


def sign(device: Device, document: dict[str, Any]) -> bytes:
    """The envelope over a document, signed with the device's key. Raises RobotError where there is no key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    try:
        key = load_pem_private_key(read_plain(device.key, LARGEST), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("it is no ed25519 key")
    except (OSError, ValueError, TypeError) as error:
        raise RobotError(f"{device.key}: is no key to sign with ({error})", "set the device up again, and enroll its new key") from error
    envelope = Envelope(canonical(document), TYPE, {})
    envelope.sign(CryptoSigner(key))
    return json.dumps(envelope.to_dict()).encode()


def add(
    device: Device,
    outcome: str,
    reason: str | None,
    version: str | None,
    bundle: str | None,
    engine: str | None = None,
    *,
    about: str | None = None,
) -> None:
    """Keep the report of a pull: `version` and `bundle` run, and `about` is the bundle that it was to run, by the digest of its manifest.

    Where the newest one that waits says the same, it gives way: a silent server costs one report, not many.
    """
    reason = None if reason is None else plain(reason, LONGEST_LINE)
    status = {
        "format": 1, "kind": "device-status", "device": device.settings.device, "channel": device.settings.channel, "version": version,
        "bundle": bundle, "slot": device.slots().running, "outcome": outcome, "reason": reason, "engine": engine,
        "about": about,
    }  # fmt: skip
    put(device, status, replaces=lambda payload: {**payload, "at": 0, "counter": 0} == {**status, "at": 0, "counter": 0})


def add_evidence(device: Device, document: dict[str, Any]) -> Path:
    """Keep a measurement, which is evidence of a version in the workspace: it is signed as it is, by the schema of its kind."""
    return _write(device, _next(device), document)


def put(device: Device, document: dict[str, Any], replaces: Callable[[dict[str, Any]], bool] | None = None) -> Path:
    """Sign a document, with the time and the next counter in it, and keep it until it is sent."""
    counter = _next(device)
    earlier = waiting(device)
    path = _write(device, counter, {**document, "at": stamp(device.now()), "counter": counter})
    if replaces is not None and earlier and replaces(_payload(earlier[-1])):
        with writing(earlier[-1]):
            earlier[-1].unlink()
    return path


def _write(device: Device, counter: int, document: dict[str, Any]) -> Path:
    path = device.folder / "outbox" / f"{counter:09d}.json"
    write_whole(path, sign(device, document))
    for path_of_old in waiting(device)[: -device.limits.outbox_reports]:
        with writing(path_of_old):
            path_of_old.unlink()
    return path


def waiting(device: Device) -> list[Path]:
    """The reports that were not sent yet, oldest first."""
    return sorted((device.folder / "outbox").glob("[0-9]*.json"))


def send(device: Device, place: str | None = None) -> int:
    """Send what waits, oldest first, to the server or folder that was named, else to that of the settings; how many were sent.

    Raises TransferFailed where the server does not take them: they wait on. Raises UsageError for an address of another kind.
    """
    address = place or device.settings.url
    web = is_web(address)
    if not web and not Path(address).is_dir():
        # A folder is never made: what is not there may be a stick that was pulled out.
        raise TransferFailed(f"{address}: is no folder; reports wait", "they are sent by the next pull or: vortex-jetson report")
    count = 0
    for path in waiting(device):
        try:
            content = read_plain(path, LARGEST)
        except OSError as error:
            raise RobotError(f"{path}: cannot be read ({error.strerror})", "remove it") from error
        if web:
            _put(device, f"{address.rstrip('/')}/reports/{_name(device, path, content)}", content)
        else:
            write_whole(Path(address) / "reports" / _name(device, path, content), content)
        with writing(path):
            path.unlink()
        count += 1
    return count


def _name(device: Device, path: Path, content: bytes) -> str:
    """What a report is called where it is delivered: nobody can take the place of one that they have not read."""
    return f"{device.settings.device}-{path.stem}-{hashlib.sha256(content).hexdigest()[:16]}.json"


def _put(device: Device, url: str, content: bytes) -> None:
    try:
        with connections.pool(device.limits) as pool:
            response = pool.request(
                "PUT", url, body=content, headers={"Content-Type": "application/json"}, redirect=False, preload_content=False
            )
            response.close()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise TransferFailed(f"{url}: does not answer; reports wait", "they are sent by the next pull or: vortex-jetson report") from error
    if response.status == THERE:
        return
    if not 200 <= response.status < 300 and response.status not in REFUSED:
        raise TransferFailed(
            f"{url}: the server answers {response.status}; reports wait",
            "have it take PUT, or collect them with: vortex-jetson report --to FOLDER",
        )
    if response.status in REFUSED:
        device.journal("report refused", status=response.status)


def _payload(path: Path) -> dict[str, Any]:
    """What a waiting report says, as far as it can be read: nothing rests on its signature here."""
    try:
        payload = json.loads(base64.b64decode(json.loads(read_plain(path, LARGEST))["payload"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # a torn disk: it does not say the same
        return {}
    return payload if isinstance(payload, dict) else {}


def _next(device: Device) -> int:
    """A counter that was never used: written down before the report is."""
    path = device.folder / "counter"
    try:
        counter = int(read_plain(path, 20)) + 1
    except FileNotFoundError:
        counter = 1
    except (OSError, ValueError) as error:
        raise RobotError(f"{path}: is no counter ({error})", "write the number of the newest collected report into it") from error
    write_whole(path, b"%d\n" % counter)
    return counter
