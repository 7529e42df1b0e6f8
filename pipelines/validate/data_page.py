"""The data gate's report as one HTML page: no server, no script, no network; pictures are inside the file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from core.errors import VortexError
from core.files import write_atomic
from pipelines.report.page import environment
from pipelines.report.pictures import Picture, class_colours, depth_range, edges_on_colour, fit, turbo
from pipelines.validate.validation_report import by_weight
from validation.decode import read_depth, read_rgb, read_segmentation
from validation.manifest import file, read_manifest
from validation.questions import REGISTERED

if TYPE_CHECKING:
    from markupsafe import Markup

    from pipelines.validate.validation_report import DataReport
    from validation.checks import Check
    from validation.profile import Drift
    from validation.rows import Frame

_WIDTH: Final = 200
"""Pixels of an example picture, about six kilobytes each: a page of twenty checks with five frames stays below four megabytes."""
_TALLEST: Final = 320
_PLOT: Final = (320, 110)


@dataclass(frozen=True)
class Example:
    """A frame that speaks against a check: its pictures as data URIs by label, and what is wrong with it."""

    id: str
    split: str
    reason: str
    pictures: tuple[tuple[str, str], ...]


def data_page(report: DataReport, path: Path) -> Path:
    """Write the page of a report to `path`, whole or not at all, and return the path.

    A frame whose files cannot be shown (they are what failed) is named without a picture. Raises VortexError when the page cannot
    be written.
    """
    bad = [check for check in report.checks if not check.passed]
    rows = _rows(Path(report.manifest), {name for check in bad for name in check.frames})
    beside = {name for check in bad if check.name == REGISTERED for name in check.frames}
    root = Path(report.manifest).parent
    pictures = {name: _pictures(root, frame, edges=name in beside) for name, frame in rows.items()}
    page = (
        environment()
        .get_template("data_page.html")
        .render(
            report=report,
            verdict="passed" if report.passed else "refused",
            noes=by_weight(bad),
            yeses=[check for check in report.checks if check.passed],
            shown=[(check, _examples(check, rows, pictures)) for check in by_weight(bad) if check.frames],
            drifts=[(drift, _svg(drift)) for drift in report.drift],
        )
    )
    write_atomic(path, page.encode("utf-8", "replace"))
    return path


def _rows(manifest: Path, ids: set[str]) -> dict[str, Frame]:
    return {frame.id: frame for frame in read_manifest(manifest) if frame.id in ids} if ids else {}


def _examples(check: Check, rows: dict[str, Frame], pictures: dict[str, tuple[tuple[str, str], ...]]) -> list[Example]:
    reasons = (*check.reasons, *[""] * len(check.frames))
    return [
        Example(name, rows[name].split if name in rows else "", reason, pictures.get(name, ()))
        for name, reason in zip(check.frames, reasons, strict=False)
    ]


def _pictures(root: Path, frame: Frame, *, edges: bool = False) -> tuple[tuple[str, str], ...]:
    """What of a frame can be decoded: colour, each depth in its own range, classes; with `edges`, the borders of depth on colour."""
    pictures: list[tuple[str, str]] = []

    def show(label: str, relative: str | None, draw: Any) -> None:
        if relative is None:
            return
        try:
            picture, lossless, remark = draw(file(root, relative))
        except (VortexError, OSError, ValueError, MemoryError):
            return  # the check says what is wrong with the file; the page shows what is left
        height, width = picture.shape[:2]
        scale = min(_WIDTH / width, _TALLEST / height)  # a picture one pixel wide must not become a tower
        size = (max(1, round(scale * height)), max(1, round(scale * width)))
        pictures.append((f"{label}{remark}", _uri(fit(picture, size, exact=label != "colour"), lossless)))

    show("colour", frame.rgb, lambda path: (read_rgb(path), False, ""))
    for label, relative, unit in (
        ("depth", frame.depth, frame.depth_unit),
        ("ToF", frame.tof, frame.tof_unit),
        ("teacher", frame.teacher_depth, frame.teacher_unit),
    ):
        if unit is not None:
            show(label, relative, lambda path, unit=unit: _turbo(read_depth(path, unit), unit))
    reference, unit = (frame.depth, frame.depth_unit) if frame.depth else (frame.tof, frame.tof_unit)
    if edges and unit is not None:
        colour = file(root, frame.rgb)
        show("depth edges", reference, lambda path, unit=unit: (edges_on_colour(read_rgb(colour), read_depth(path, unit)), False, ""))
    show("classes", frame.segmentation, lambda path: (class_colours(read_segmentation(path)), True, ""))
    return tuple(pictures)


def _turbo(depth: Any, unit: str) -> tuple[Picture, bool, str]:
    """A depth map in colours, and in words the range that they span: a wrong scale shows in it."""
    low, high = depth_range([depth])
    return turbo(depth, low, high), False, f" {low:.1f}–{high:.1f}{' relative' if unit == 'relative' else ' m'}"


def _uri(picture: Picture, lossless: bool) -> str:
    import cv2

    suffix, options = (".png", []) if lossless else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 85])
    _, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    kind = "png" if lossless else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(np.asarray(data).tobytes()).decode()}"


def _svg(drift: Drift) -> Markup:
    """Two histograms over the same bins, side by side in each bin; nothing when the distance has no histogram."""
    from markupsafe import Markup

    if not drift.ours or not drift.theirs:
        return Markup("")
    width, height = _PLOT
    base, top = height - 18, max(*drift.ours, *drift.theirs, 1e-9)
    step = width / len(drift.ours)
    bars = [
        Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="var({})"/>').format(
            number * step + part * step * 0.45, base - share / top * base, step * 0.43, share / top * base, colour
        )
        for part, (shares, colour) in enumerate(((drift.ours, "--ours"), (drift.theirs, "--theirs")))
        for number, share in enumerate(shares)
    ]
    words = [
        Markup('<text x="{:.1f}" y="{}" font-size="9" text-anchor="{}" fill="var(--faint)">{}</text>').format(at, height - 5, anchor, text)
        for at, anchor, text in _ticks(drift, width, step)
    ]
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        width, height, f"{drift.name}: shares of this delivery and of the reference", Markup("").join(bars), Markup("").join(words)
    )


def _ticks(drift: Drift, width: float, step: float) -> Iterable[tuple[float, str, str]]:
    """Names below the bars, or the ends and the middle of a scale."""
    if drift.labels:
        return [((number + 0.5) * step, "middle", str(label)) for number, label in enumerate(drift.labels)]
    edges: Sequence[float] = drift.edges
    if not edges:
        return []
    middle = len(edges) // 2
    unit = f" {drift.unit}".rstrip()
    return [(0, "start", f"{edges[0]:.3g}"), (middle * step, "middle", f"{edges[middle]:.3g}"), (width, "end", f"{edges[-1]:.3g}{unit}")]
