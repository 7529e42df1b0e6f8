"""When a job printed a line: written before it, so that what was printed can be told between the events of the training."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

_STAMPED: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d)  (.*)", re.ASCII | re.DOTALL)


def stamped(line: str) -> str:
    """The line with the present time before it, to the millisecond and with the zone: nodes need not share the reader's."""
    return f"{datetime.now().astimezone().isoformat(timespec='milliseconds')}  {line}"


def read(line: str) -> tuple[float | None, str]:
    """When a line was printed (Unix time), and what it says; None for one without a time."""
    match = _STAMPED.fullmatch(line)
    if match is None:
        return None, line
    try:
        return datetime.fromisoformat(match[1]).timestamp(), match[2]
    except ValueError:  # no such day or hour
        return None, line
