"""The report of the data gate, and what is remembered of it for training, evaluation and promotion to ask."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.errors import VortexError
from core.files import sha256_file
from validation import waivers
from validation.checks import Check
from validation.policies import load_policies
from validation.questions import names
from validation.waivers import Waived

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from pipelines.workspace import Workspace
    from validation.profile import Drift

VERSION = 2
"""Raise when a check changes its meaning: older records then no longer count."""
Use = Literal["training", "evaluation"]


@dataclass(frozen=True)
class Reference:
    """The reference that a delivery was compared with. `digest` is of the set it was made from, `sha256` of its file."""

    name: str
    digest: str
    made: str
    frames: int
    path: str
    sha256: str


@dataclass(frozen=True)
class DataReport:
    """What the gate said about one dataset, under which policy.

    `use` is what a passed set may be used for: a set whose every frame is of split `test` is for evaluation only. `labelled` counts
    frames with at least one labelled pixel. `read` counts frames whose files were read now; of the others the statistics were kept.
    `statistics` is the table with one row a frame, "" where it could not be written. `unkept` says why the answer could not be
    kept (a read-only workspace, a full disk), "" when it was: training then asks for it again.
    """

    name: str
    domain: str
    digest: str
    kind: str
    use: Use
    frames: int
    labelled: int
    splits: dict[str, int]
    all_ignore_batch: float
    checks: tuple[Check, ...]
    drift: tuple[Drift, ...]
    reference: Reference | None
    waivers: tuple[Waived, ...]
    passed: bool
    seconds: float
    read: int
    manifest: str
    statistics: str
    policies: str
    version: int = VERSION
    unkept: str = ""

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that said no and are not waived."""
        return tuple(check for check in self.checks if not check.ok)

    @property
    def waived(self) -> tuple[Check, ...]:
        """The checks that said no, and that somebody answers for."""
        return tuple(check for check in self.checks if not check.passed and check.waiver)


@dataclass(frozen=True)
class Verdict:
    """What is remembered of a report: whether the set passed, what for, and the waivers that it passed with."""

    passed: bool
    use: Use
    waivers: tuple[Waived, ...]


def by_weight(checks: Iterable[Check]) -> list[Check]:
    """Failures first, then what is waived, then the rest; within each, the gate's own order."""
    return sorted(checks, key=lambda check: 2 if check.passed else 1 if check.waiver else 0)


def passed(ws: Workspace, ref: DataRef, *, use: Use = "training") -> bool | None:
    """Whether this very content passed under today's policies, reference and waivers, and its own kind; None when it was never judged so.

    A set that is for evaluation only never passes for training.
    """
    answer = verdict(ws, ref)
    return None if answer is None else answer.passed and (use == "evaluation" or answer.use == "training")


def verdict(ws: Workspace, ref: DataRef) -> Verdict | None:
    """The remembered answer, None when there is none that still holds: a waiver that expired or changed takes it away, and so does an edit."""
    try:
        record = json.loads(record_path(ws, ref, ref.kind).read_text(encoding="utf-8"))
        if record.pop("seal") != seal(record):
            return None
        reference = record["reference"] and record["reference"]["sha256"]
        recorded = (record["version"], record["digest"], record["kind"], record["policies"], reference)
        waived = tuple(Waived(**entry) for entry in record["waivers"])
        answer, use = record["passed"], record["use"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Derived files may be deleted or damaged at any time: then the answer is simply not known.
        return None
    current = (VERSION, ref.digest, ref.kind, load_policies().data.digest, reference_sha256(ws, ref.domain))
    if recorded != current or not isinstance(answer, bool) or use not in ("training", "evaluation"):
        return None
    used = tuple(waiver for waiver in waived if waiver.state == "used")
    return Verdict(answer, use, used) if not used or _still_waived(ws, used) else None


def record_text(report: DataReport) -> str:
    """The report as it is kept: sealed with the SHA-256 of all that it says."""
    record = json.loads(json.dumps(asdict(report), allow_nan=False))
    return json.dumps({**record, "seal": seal(record)}, indent=1) + "\n"


def seal(record: dict[str, object]) -> str:
    """SHA-256 of all that a record says."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def record_path(ws: Workspace, ref: DataRef, kind: str) -> Path:
    """Where the report on this content by the bounds of `kind` is kept."""
    name = ref.digest if kind == ref.kind else f"{ref.digest}-as-{kind}"
    return ws.build / "validation" / f"{name}.json"


def reference_path(ws: Workspace, domain: str) -> Path:
    """The reference of a domain: a small file that is committed, so that it is there where the frames are not."""
    return ws.root / "references" / f"{domain}.json"


def reference_sha256(ws: Workspace, domain: str) -> str | None:
    """SHA-256 of a domain's reference, None when it has none."""
    try:
        return sha256_file(reference_path(ws, domain))
    except OSError:
        return None


def today() -> datetime.date:
    """The day that waivers are measured by, in UTC: every machine agrees on it."""
    return datetime.datetime.now(datetime.UTC).date()


def _still_waived(ws: Workspace, used: tuple[Waived, ...]) -> bool:
    try:
        now = waivers.load_waivers(ws.root / waivers.FILE, names(), today())
    except VortexError:
        return False
    holding = {
        (waiver.dataset, waiver.check, waiver.reason, waiver.owner, waiver.expires.isoformat())
        for waiver in now
        if waiver.expires >= today()
    }
    return all((waiver.dataset, waiver.check, waiver.reason, waiver.owner, waiver.expires) in holding for waiver in used)
