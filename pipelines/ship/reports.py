"""Reports of devices as a web server lists them: brought into a folder of the workspace, each once.

The server is any that takes PUT and lists a folder as nginx does with `autoindex_format json` (docs/ship.md). Nothing that it sends is
believed here: names are looked at, bytes are counted, and no redirect leads elsewhere. Signatures are asked for when reports are collected.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vortex_jetson.errors import RobotError, TransferFailed
from vortex_jetson.limits import Limits
from vortex_jetson.update.transfer import Transfer, is_web, source_of

from core.errors import VortexError
from core.files import write_atomic
from pipelines.ship.fleet import LARGEST_REPORT, MOST_REPORTS
from pipelines.workspace import Workspace

log = logging.getLogger("vortex.reports")

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}\.json")
"""Of a report: nothing that leads out of its folder or to another server."""
LARGEST_LISTING: Final = 32_000_000
"""Bytes; a line of nginx's has some 150."""
LARGEST_TOTAL: Final = 500_000_000
"""Bytes of all reports of a server."""
LONGEST_S: Final = 600.0
"""Of one call; the next one goes on."""
LIMITS: Final = Limits(attempts=3, slow_after_s=10.0, slowest_bytes_per_s=50_000.0)
AGAIN: Final = "what came is kept; collect again, and it goes on from there"


def folder_of(ws: Workspace, place: str) -> Path:
    """The folder with the reports of a place: itself, or of an address what lies below it in `reports/`, brought here.

    What is here is not asked for again, and what the server has no more is removed here too. Raises VortexError for an address of another
    kind, a server that does not answer or lists nothing that is a listing, and for more than is allowed.
    """
    with _for_people():
        if not is_web(place):
            return Path(place)
    address = place.rstrip("/")
    folder = ws.build / "reports" / hashlib.sha256(address.encode()).hexdigest()[:16]
    transfer, begun = Transfer(source_of(address, LIMITS), LIMITS), time.monotonic()
    with _for_people():
        listing = transfer.small("reports/", LARGEST_LISTING)
    names = _listed(address, listing)
    for path in folder.glob("*.json"):
        if path.name not in names:
            path.unlink(missing_ok=True)
    total = sum(path.stat().st_size for path in folder.glob("*.json"))
    for name in names:
        if (folder / name).exists():
            continue
        with _for_people():
            try:
                content = transfer.small(f"reports/{name}", LARGEST_REPORT)
            except TransferFailed as error:
                if not error.final:
                    raise
                log.warning("%s is left out: %s", name, error.message)  # one that may not be read keeps no other from being collected
                continue
        total += len(content)
        if total > LARGEST_TOTAL:
            raise VortexError(f"{address}: its reports have more than {LARGEST_TOTAL:,} bytes", "remove old ones at the server")
        if time.monotonic() - begun > LONGEST_S:
            raise VortexError(f"{address}: its reports take longer than {LONGEST_S:.0f} s", AGAIN)
        # One that is too long is kept as it was cut, and refused by name like any other that is none.
        write_atomic(folder / name, content)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _listed(address: str, listing: bytes) -> list[str]:
    """Names of reports in a listing, in their order; whatever else lies there is left out."""
    try:
        entries = json.loads(listing)
        names = sorted({entry["name"] for entry in entries if entry["type"] == "file" and NAME.fullmatch(entry["name"])})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise VortexError(
            f"{address}/reports/: is no listing of a folder in JSON",
            "have nginx write one: autoindex on; autoindex_format json; or fetch the folder, and collect that",
        ) from error
    if len(names) > MOST_REPORTS:
        raise VortexError(f"{address}: has {len(names):,} reports, allowed: {MOST_REPORTS:,}", "remove old ones at the server")
    return names


@contextmanager
def _for_people() -> Iterator[None]:
    """Raise an error of the robot's own means as one of the workspace's."""
    try:
        yield
    except RobotError as error:
        raise VortexError(error.message, error.hint) from error
