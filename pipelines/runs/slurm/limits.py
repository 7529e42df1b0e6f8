"""SLURM's way of writing time limits, both ways."""

from __future__ import annotations

import math
import re
from typing import Final

from core.errors import UsageError

_LIMIT: Final = re.compile(r"(?:(?P<days>[0-9]{1,4})-)?(?P<clock>[0-9]{1,6}(?::[0-9]{1,2}){0,2})")
_NONE: Final = ("UNLIMITED", "INFINITE", "NONE")


def parse_limit(text: str) -> int | None:
    """Minutes of a limit such as 12:00:00, 90, 30:00 or 1-12; None where there is no limit. Seconds round up, as SLURM's own do.

    Without days the numbers are minutes, minutes:seconds or hours:minutes:seconds; after days they begin with hours. Raises UsageError.
    """
    if text.upper() in _NONE:
        return None
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a time limit, allowed: MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS", "for example 12:00:00")
    numbers = [int(each) for each in match["clock"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
        hours += 24 * int(match["days"])
    else:
        hours, minutes, seconds = {1: (0, *numbers, 0), 2: (0, *numbers), 3: tuple(numbers)}[len(numbers)]
    return 60 * hours + minutes + math.ceil(seconds / 60)


def show_limit(minutes: int | None) -> str:
    """A limit as SLURM shows it: 12:00:00, 2-00:00:00, UNLIMITED."""
    if not minutes:
        return "UNLIMITED"
    days, rest = divmod(minutes, 24 * 60)
    return f"{f'{days}-' if days else ''}{rest // 60:02d}:{rest % 60:02d}:00"
