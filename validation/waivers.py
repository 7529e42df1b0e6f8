"""`waivers.yaml`: who lets which failure of which dataset pass, why, and until when. Thresholds are never loosened in any other way."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

from core import strict_yaml
from core.errors import VortexError
from core.files import read_text_of_user
from validation.checks import Check

FILE: Final = "waivers.yaml"
LONGEST: Final = 366
"""Days that a waiver may last from today: one without an end would be a threshold loosened in silence."""
NEVER: Final = {
    "files-present": "a frame without its file cannot be trained on",
    "files-readable": "a frame that does not decode cannot be trained on",
    "sizes-agree": "pixels of maps of other sizes belong to other places",
    "units-metric": "relative depth as metres is what spoilt the first version; correct the unit in the manifest",
    "depth-finite": "one NaN makes every weight NaN",
    "tof-finite": "one NaN makes every weight NaN",
    "teacher-finite": "one NaN makes every weight NaN",
    "teacher-to-sensor": "it is the one check that catches every wrong unit and scale; its bounds are wide on purpose",
    "tof-to-depth": "it is the one check that catches every wrong unit and scale; its bounds are wide on purpose",
    "label-ids": "an unknown class id has no place in the network's output",
}
"""Checks that nobody can waive, each with the reason: training on such data computes nonsense, however good the excuse."""


def _day(value: object) -> datetime.date:
    """A date, or its ISO text; never a number, which would be taken for seconds since 1970."""
    if type(value) is datetime.date:
        return value
    if isinstance(value, str):
        return datetime.date.fromisoformat(value)
    raise ValueError(f"found {value!r}, allowed: a day as YYYY-MM-DD")


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class Waiver(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: _Text
    check: _Text
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=300)]
    owner: _Text
    expires: Annotated[datetime.date, BeforeValidator(_day)]
    """The last day on which it holds."""


@dataclass(frozen=True)
class Waived:
    """A waiver of the dataset at hand. `expires` is an ISO date; `state` says what became of it."""

    dataset: str
    check: str
    reason: str
    owner: str
    expires: str
    state: Literal["used", "unused", "expired"]


def load_waivers(path: Path, checks: tuple[str, ...], today: datetime.date) -> tuple[Waiver, ...]:
    """The waivers of a file, none where there is no file. `checks` are the names of those that there are.

    Raises VortexError listing every fault: a key that is missing, unknown or there twice, a check that does not exist or cannot be
    waived, two waivers for one failure, an end that is too far away.
    """
    try:
        text = read_text_of_user(path)
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise VortexError(f"{path}: cannot be read ({error})", "mend or remove the file") from error
    try:
        raw = strict_yaml.parse(text)
    except ValueError as error:
        raise VortexError(f"{path}: not readable as YAML ({error})", "mend the line it names") from error
    if raw is None:
        return ()
    if not isinstance(raw, list):
        raise VortexError(f"{path}: found a {type(raw).__name__}, allowed: a list of waivers", _HINT)
    faults: list[str] = []
    waivers: list[Waiver] = []
    for number, entry in enumerate(raw, 1):
        waiver = _entry(number, entry, faults)
        if waiver is None:
            continue
        if waiver.check not in checks:
            faults.append(f"waiver {number}: there is no check {waiver.check!r}, allowed: {', '.join(checks)}")
        elif waiver.check in NEVER:
            faults.append(f"waiver {number}: {waiver.check} cannot be waived: {NEVER[waiver.check]}")
        if (waiver.expires - today).days > LONGEST:
            faults.append(f"waiver {number}: expires {waiver.expires}, allowed: within {LONGEST} days from today")
        if any((other.dataset, other.check) == (waiver.dataset, waiver.check) for other in waivers):
            faults.append(f"waiver {number}: {waiver.dataset} {waiver.check} is waived already, allowed: once")
        waivers.append(waiver)
    if faults:
        summary = faults[0] if len(faults) == 1 else f"{len(faults)} faults, the first: {faults[0]}"
        raise VortexError(f"{path}: {summary}", _HINT, faults if len(faults) > 1 else ())
    return tuple(waivers)


def apply(
    checks: tuple[Check, ...], waivers: tuple[Waiver, ...], dataset: str, today: datetime.date
) -> tuple[tuple[Check, ...], tuple[Waived, ...]]:
    """The checks with the failures that are waived marked so, and what became of each waiver of this dataset."""
    ours = [waiver for waiver in waivers if waiver.dataset == dataset]
    holding = {waiver.check: waiver for waiver in ours if waiver.expires >= today}
    marked = tuple(
        replace(check, waiver=_words(holding[check.name])) if not check.passed and check.name in holding else check for check in checks
    )
    used = {check.name for check in marked if check.waiver}
    outcomes = tuple(
        Waived(
            waiver.dataset,
            waiver.check,
            waiver.reason,
            waiver.owner,
            waiver.expires.isoformat(),
            "expired" if waiver.expires < today else "used" if waiver.check in used else "unused",
        )
        for waiver in ours
    )
    return marked, outcomes


_HINT: Final = "each waiver has five keys: dataset, check, reason (ten letters or more), owner, expires (YYYY-MM-DD); mend the file, nothing was judged"


def _words(waiver: Waiver) -> str:
    return f"{waiver.reason} ({waiver.owner}, until {waiver.expires.isoformat()})"


def _entry(number: int, entry: Any, faults: list[str]) -> Waiver | None:
    try:
        return Waiver.model_validate(entry)
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            place = ".".join(map(str, fault["loc"]))
            faults.append(f"waiver {number}{f', {place}' if place else ''}: {fault['msg']}")
        return None
