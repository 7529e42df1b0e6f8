"""`vortex validate`: run the data gate on a data set and remember the answer, which training asks for."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from core.files import write_atomic
from validation.checks import Check
from validation.gates import all_ignore_batch, data_checks
from validation.manifest import load_manifest
from validation.policies import load_policies

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from pipelines.workspace import Workspace

BATCH_SIZE = 16
"""The lineage's batch: what the probability of an all-ignore batch is shown for."""
VERSION = 1
"""Raise when a check changes its meaning: older records then no longer count."""


@dataclass(frozen=True)
class DataReport:
    """What the gate said about one data set, under which policy. `labelled` counts frames with at least one labelled pixel."""

    name: str
    digest: str
    kind: str
    frames: int
    labelled: int
    all_ignore_batch: float
    checks: tuple[Check, ...]
    passed: bool
    seconds: float
    manifest: str
    policies: str
    version: int = VERSION

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that said no."""
        return tuple(check for check in self.checks if not check.passed)


def validate(
    ws: Workspace, ref: DataRef, *, kind: str | None = None, progress: Callable[[int, int], None] | None = None, workers: int = 1
) -> DataReport:
    """Judge a data set by the bounds of its kind and keep the report in the workspace's build folder.

    `kind` judges by other bounds for once; such a report is kept apart and never lets the set into training. `progress` is
    called with the number of frames read so far and their total. Raises ManifestError for a malformed manifest before anything heavy is imported,
    and VortexError for an unknown kind; bad frames are failed checks.
    """
    started = time.perf_counter()
    policies = load_policies()
    judged_as = kind or ref.kind
    policies.data.kind(judged_as)
    frames = load_manifest(ref.manifest)
    judgement = data_checks(ref.root, frames, judged_as, policies, progress and (lambda done: progress(done, len(frames))), workers)
    report = DataReport(
        name=ref.name,
        digest=ref.digest,
        kind=judged_as,
        frames=judgement.frames,
        labelled=judgement.labelled,
        all_ignore_batch=all_ignore_batch(judgement.train_labelled, BATCH_SIZE),
        checks=judgement.checks,
        passed=judgement.passed,
        seconds=round(time.perf_counter() - started, 3),
        manifest=str(ref.manifest),
        policies=policies.data.digest,
    )
    write_atomic(_record(ws, ref, judged_as), json.dumps(asdict(report), indent=1, allow_nan=False) + "\n")
    return report


def passed(ws: Workspace, ref: DataRef) -> bool | None:
    """Whether this very content passed under today's policies and its own kind; None when it was never judged so."""
    try:
        record = json.loads(_record(ws, ref, ref.kind).read_text(encoding="utf-8"))
        current = (VERSION, ref.digest, ref.kind, load_policies().data.digest)
        known = (record["version"], record["digest"], record["kind"], record["policies"])
        answer = record["passed"]
    except (OSError, ValueError, KeyError, TypeError):
        # Derived files may be deleted or damaged at any time: then the answer is simply not known.
        return None
    return answer if known == current and isinstance(answer, bool) else None


def _record(ws: Workspace, ref: DataRef, kind: str) -> Path:
    name = ref.digest if kind == ref.kind else f"{ref.digest}-as-{kind}"
    return ws.build / "validation" / f"{name}.json"


def junit(report: DataReport) -> str:
    """The report as JUnit XML: one test case a check."""
    suite = ElementTree.Element(
        "testsuite",
        name=_printable(f"vortex validate {report.name}"),
        tests=str(len(report.checks)),
        failures=str(len(report.failed)),
        errors="0",
        skipped="0",
        time=f"{report.seconds:.3f}",
    )
    for check in report.checks:
        case = ElementTree.SubElement(suite, "testcase", classname=_printable(f"vortex.data.{report.name}"), name=check.name, time="0")
        if not check.passed:
            failure = ElementTree.SubElement(case, "failure", message=_printable(check.found), type="GateRefused")
            failure.text = _printable(f"asked: {check.asked}\nfound: {check.found}\nframes: {', '.join(check.frames) or '–'}")
    root = ElementTree.Element("testsuites", suite.attrib)
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def github(report: DataReport, base: Path) -> str:
    """The report as GitHub annotations, one a failed check and example frame, on the frame's line of the manifest.

    Paths are written relative to `base`, the folder of the checkout, as GitHub wants them.
    """
    manifest = Path(report.manifest)
    shown = manifest.relative_to(base).as_posix() if manifest.is_relative_to(base) else manifest.as_posix()
    lines = _lines(manifest, {name for check in report.failed for name in check.frames})
    annotations = []
    for check in report.failed:
        for name in check.frames or ("",):
            text = f"{f'{name}: ' if name else ''}asked {check.asked}; found {check.found}"
            place = f"file={_property(shown)},line={lines.get(name, 1)},title={_property(f'vortex {check.name}')}"
            annotations.append(f"::error {place}::{_escaped(text)}")
    if not annotations:
        annotations.append(f"::notice file={_property(shown)},line=1::{_escaped(f'{report.name}: all {len(report.checks)} checks passed')}")
    return "\n".join(annotations) + "\n"


def _lines(manifest: Path, wanted: set[str]) -> dict[str, int]:
    """Line numbers of frames by id, in a manifest that the reader has already accepted."""
    found: dict[str, int] = {}
    if wanted:
        for number, name in _names(manifest):
            if name in wanted:
                found.setdefault(name, number)
    return found


def _names(manifest: Path) -> Iterator[tuple[int, str]]:
    with open(manifest, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                row = json.loads(line)
                yield number, str(row.get("id", row.get("stem")))


def _escaped(text: str) -> str:
    return _printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")


def _printable(text: str) -> str:
    """Without control characters and surrogates, which no XML document may hold (a path may)."""
    return "".join("?" if unicodedata.category(char) in ("Cc", "Cs", "Cn") and char not in "\n\t" else char for char in text)
