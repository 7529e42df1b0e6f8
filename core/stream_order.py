"""The order of a stream by the names of its frames: numbers count, and a time stamp with a decimal point is one number.

`398.1` is later than `398.05`. Yet `0.10` may be frame 10 of sequence 0, and `17.5000000` five milliseconds of nanoseconds that nobody
padded: what stands behind the point is told from the names together, by which reading lets them follow each other more evenly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import pairwise
from statistics import median
from typing import Final, TypeAlias

Key: TypeAlias = list[tuple[int, int | Decimal, str]]

_TOKEN: Final = re.compile(
    r"(?P<dotted>[0-9]+(?:\.[0-9]+){2,})"  # 1.2.3 is no decimal number
    # A minus behind a letter or a digit joins; an exponent has a sign, as every printf writes it: `3e5` may be part of a name.
    r"|(?P<number>(?:(?<![^\W_])-)?[0-9]+(?:\.[0-9]+)?(?:[eE][+-][0-9]{1,3}(?![^\W_]))?)"
)
_NOT_WHOLE: Final = re.compile(r"[0-9](?:\.[0-9]|[eE][+-][0-9])")
_LAST_WHOLE: Final = re.compile(r"((?:(?<![^\W_])-)?[0-9]+)[^0-9]*\Z")


def stream_key(names: Iterable[str]) -> Callable[[str], Key]:
    """The sorting key of these names: frame2 before frame10, 398.05 before 398.1, -1 before 1, 9e-01 before 1e+00."""
    decimal = _decimal([name for name in names if _NOT_WHOLE.search(name)])
    return lambda name: _key(name, decimal)


def natural(name: str) -> Key:
    """The sorting key of a name by itself, as of a folder: what stands behind a point is a fraction."""
    return _key(name, True)


def stream_numbers(names: Sequence[str]) -> list[int | Decimal | None]:
    """The number that each name ends in (a frame number or a time stamp), None where it has none; in the order of `stream_key`."""
    others = [name for name in names if _NOT_WHOLE.search(name)]
    if not others:  # spares a million names the tokens
        return [int(match[1]) if (match := _LAST_WHOLE.search(name)) else None for name in names]
    decimal = _decimal(others)
    return [_last(name, decimal) for name in names]


def seconds(stamps: Sequence[str]) -> list[float]:
    """Time stamps `SEC.FRACTION` of one recorder as seconds, whether its fractions are decimals or counts that were not padded."""
    longest = _longest(stamps)
    decimal = _decimal(stamps)
    return [float(stamp if decimal else _padded(stamp, longest)) for stamp in stamps]


def _key(name: str, decimal: bool) -> Key:
    parts: Key = []
    end = 1 if name.startswith("_-") else 0  # a frame's id cannot begin with a minus: ingest puts an underscore before it
    for match in _TOKEN.finditer(name):
        if match.start() > end:
            parts.append((1, 0, name[end : match.start()]))
        parts += [(0, number, "") for number in _numbers(match, decimal)]
        end = match.end()
    if end < len(name):
        parts.append((1, 0, name[end:]))
    return parts


def _numbers(match: re.Match[str], decimal: bool) -> list[int | Decimal]:
    text = match[0]
    if match["dotted"] or not decimal:
        return [int(part) for part in text.split(".")] if not _exponent(text) else [Decimal(text)]
    return [int(text)] if text.lstrip("-").isdigit() else [Decimal(text)]


def _last(name: str, decimal: bool) -> int | Decimal | None:
    last = None
    for match in _TOKEN.finditer(name):
        last = match
    if last is None:
        return None
    numbers = _numbers(last, decimal)
    if len(numbers) == 2 and not last["dotted"]:  # whole and count: one number, in which the count never reaches the next whole
        return numbers[0] * 10**9 + numbers[1]
    return numbers[-1]


def _exponent(text: str) -> bool:
    return "e" in text or "E" in text


def _decimal(names: Sequence[str]) -> bool:
    """Whether what stands behind the last point of these names is a fraction, and no count of its own."""
    stamps = [stamp for name in names if (stamp := _stamp(name)) is not None]
    if len({len(stamp.partition(".")[2]) for stamp in stamps}) < 2:
        return True  # both readings give one order
    longest = _longest(stamps)
    return _unevenness([Decimal(stamp) for stamp in stamps]) <= _unevenness([Decimal(_padded(stamp, longest)) for stamp in stamps])


def _stamp(name: str) -> str | None:
    """The last number of a name that has a point and no exponent."""
    stamps = [match[0] for match in _TOKEN.finditer(name) if match["number"] and "." in match[0] and not _exponent(match[0])]
    return stamps[-1] if stamps else None


def _longest(stamps: Sequence[str]) -> int:
    return max((len(stamp.partition(".")[2]) for stamp in stamps), default=0)


def _padded(stamp: str, digits: int) -> str:
    """The stamp with its count as a fraction: 17.5000000 of nine digits is 17.005000000."""
    whole, _, count = stamp.partition(".")
    return f"{whole}.{count.zfill(digits)}" if count else whole


def _unevenness(times: Iterable[Decimal]) -> float:
    """Mean distance of the steps from the usual one, as a share of it; a pause counts as one step, however long, and so does a standstill."""
    steps = [float(after - before) for before, after in pairwise(sorted(times))]
    usual = median(steps)
    return sum(min(abs(step / usual - 1), 1.0) for step in steps) / len(steps) if usual > 0 else 2.0
