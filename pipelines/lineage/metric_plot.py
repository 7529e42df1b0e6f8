"""A metric along the ancestors as a picture: a line a series, over the versions from the oldest to the newest."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from core.printable import clean
from pipelines.lineage.metric_line import MetricHistory, Point
from pipelines.lineage.picture import ALONE, LETTER

STEP, TALL, LEFT, TOP, BOTTOM = 84, 200, 64, 30, 34
"""Pixels between two versions, of the plot's height, and around it."""
HUES: Final = (310, 190, 45, 140, 25, 220)
MOST_LINES: Final = 6
STYLE: Final = (
    "svg.lineage{font:12px system-ui,sans-serif;max-width:none}svg.lineage text{fill:currentColor}svg.lineage .small{font-size:10.5px}"
)


def span(points: Sequence[Point]) -> tuple[float, float]:
    """The lower and the upper end of an axis for these values: a sixth of their spread below and above them, never nothing."""
    values = [point.value for point in points]
    low, high = min(values), max(values)
    margin = (high - low) / 6 or abs(high) / 6 or 1.0
    return low - margin, high + margin


def metric_svg(history: MetricHistory, *, alone: bool = False) -> str:
    """The picture as SVG: `alone` as a file of its own, else to be put into a page, whose ink it takes. Six series at most, the longest."""
    lines = history.lines[:MOST_LINES]
    names = [name for name in history.ancestors if any(point.version == name for line in lines for point in line.points)]
    points = [point for line in lines for point in line.points]
    low, high = span(points) if points else (0.0, 1.0)
    x_of = {name: LEFT + STEP / 2 + STEP * number for number, name in enumerate(names)}
    about = clean(f"{history.metric} on {history.domain} along the ancestors of {history.version}")
    legend = [clean(f"{line.series}, {line.series.dataset}@{line.series.digest[:12]}") for line in lines]
    width = LEFT + round(max(STEP * len(names), LETTER * len(about), *(30 + LETTER * len(text) for text in legend))) + 16
    height = TOP + TALL + BOTTOM + 18 * len(lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lineage" role="img" aria-label="{escape(about)}" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{STYLE}{ALONE if alone else ''}</style>",
        f'<text x="{LEFT}" y="18" font-weight="600">{escape(about)}</text>',
    ]
    for part in range(5):
        value = low + (high - low) * part / 4
        y = _y(value, low, high)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{width - 16}" stroke="currentColor" stroke-opacity=".18"/>')
        parts.append(f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    parts += [f'<text x="{x:.1f}" y="{TOP + TALL + 18}" text-anchor="middle">{escape(clean(name))}</text>' for name, x in x_of.items()]
    for number, line in enumerate(lines):
        ink = f"hsl({HUES[number]} 65% 54%)"
        corners = [(x_of[point.version], _y(point.value, low, high), point) for point in line.points]
        parts.append(
            f'<polyline fill="none" stroke="{ink}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in corners)}"/>'
        )
        for x, y, point in corners:
            change = "" if point.change is None else f", {point.change:+.4f} on {point.against}"
            words = escape(clean(f"{point.version}: {point.value:.4f}{change}, {point.frames} frames"))
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{ink}"><title>{words}</title></circle>')
            parts.append(f'<text class="small" x="{x:.1f}" y="{y - 9:.1f}" text-anchor="middle">{point.value:.3f}</text>')
        y = TOP + TALL + BOTTOM + 18 * number + 6
        parts.append(
            f'<path d="M{LEFT} {y - 4}h22" stroke="{ink}" stroke-width="2"/><text class="small" x="{LEFT + 30}" y="{y}">{escape(legend[number])}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _y(value: float, low: float, high: float) -> float:
    return TOP + TALL * (1 - (value - low) / (high - low))
