"""The report for machines: JUnit XML for any CI, and annotations for GitHub's."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from pipelines.validate.validation_report import DataReport


def junit(reports: Sequence[DataReport]) -> str:
    """Reports as one JUnit document: a suite a dataset, a case a check; a failure that is waived is a skipped case that says by whom."""
    root = ElementTree.Element("testsuites", name="vortex validate")
    root.extend([_suite(report) for report in reports])
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(report: DataReport) -> ElementTree.Element:
    suite = ElementTree.Element(
        "testsuite",
        name=_printable(f"vortex validate {report.name}"),
        tests=str(len(report.checks)),
        failures=str(len(report.failed)),
        errors="0",
        skipped=str(len(report.waived)),
        time=f"{report.seconds:.3f}",
    )
    for check in report.checks:
        case = ElementTree.SubElement(suite, "testcase", classname=_printable(f"vortex.data.{report.name}"), name=check.name, time="0")
        if check.passed:
            continue
        if check.waiver:
            ElementTree.SubElement(case, "skipped", message=_printable(f"waived: {check.waiver}; found {check.found}"))
        else:
            failure = ElementTree.SubElement(case, "failure", message=_printable(check.found), type="GateRefused")
            failure.text = _printable(f"asked: {check.asked}\nfound: {check.found}\nframes: {', '.join(check.frames) or '–'}")
    return suite


def github(report: DataReport, base: Path) -> str:
    """The report as GitHub annotations, one a failed check and example frame, on the frame's line of the manifest.

    Paths are written relative to `base`, the folder of the checkout, as GitHub wants them.
    """
    manifest = Path(report.manifest)
    path = manifest.relative_to(base).as_posix() if manifest.is_relative_to(base) else manifest.as_posix()
    lines = _lines(manifest, {name for check in report.failed for name in check.frames})
    annotations = []
    for check in report.failed:
        for name, why in zip(check.frames or ("",), check.reasons or ("",) * max(len(check.frames), 1), strict=True):
            text = f"{f'{name}: ' if name else ''}asked {check.asked}; found {why or check.found}"
            place = f"file={_property(path)},line={lines.get(name, 1)},title={_property(f'vortex {check.name}')}"
            annotations.append(f"::error {place}::{_escaped(text)}")
    for check in report.waived:
        text = _escaped(f"waived: {check.waiver}; asked {check.asked}; found {check.found}")
        annotations.append(f"::warning file={_property(path)},line=1,title={_property(f'vortex {check.name}')}::{text}")
    if not annotations:
        annotations.append(f"::notice file={_property(path)},line=1::{_escaped(f'{report.name}: all {len(report.checks)} checks passed')}")
    return "\n".join(annotations) + "\n"


def _lines(manifest: Path, ids: set[str]) -> dict[str, int]:
    """Line numbers of frames by id, in a manifest that the reader has already accepted."""
    line_of: dict[str, int] = {}
    if ids:
        for number, name in _names(manifest):
            if name in ids:
                line_of.setdefault(name, number)
    return line_of


def _names(manifest: Path) -> Iterator[tuple[int, str]]:
    with open(manifest, encoding="utf-8-sig") as stream:
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
