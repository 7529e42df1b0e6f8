"""A comparison of two versions as one HTML page: no server, no script, no network."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.files import write_atomic
from pipelines.compare.pooled import METRICS
from pipelines.report.page import environment

if TYPE_CHECKING:
    from markupsafe import Markup

    from pipelines.compare.forgetting import Forgetting
    from pipelines.compare.side_by_side import Comparison, Measured, MetricRow

_PLOT: Final = (220, 22)
"""Width and height of an interval's drawing, in the units of its own view box."""
_WIDEST: Final = 0.5
"""Share of the baseline beyond which an interval ends in an arrow at the edge, unless the metric was asked for: a rare class must not flatten all others."""
_EDGE: Final = 5
"""Room at both sides of a drawing, so that a dot at its end is whole."""


def comparison_page(comparison: Comparison, path: Path) -> Path:
    """Write the page of a comparison to `path`, whole or not at all, and return the path. Raises VortexError when it cannot be written."""
    page = environment().get_template("comparison_page.html").render(comparison_values(comparison))
    write_atomic(path, page.encode("utf-8", "replace"))
    return path


def comparison_values(comparison: Comparison) -> Mapping[str, Any]:
    """What `comparison_body.html` is rendered with, wherever it stands."""
    return {
        "comparison": comparison,
        "measured": [(measured, _rows(measured, comparison.asked)) for measured in comparison.measured],
        "forgetting": [(record, _forgetting_word(record)) for record in comparison.forgetting],
        "text": _setting,
    }


def _rows(measured: Measured, metrics: Collection[str]) -> list[tuple[MetricRow, tuple[str, ...], Markup, str]]:
    """Of each metric: the row, its two values and their change in words, the drawing of its interval, and the class of its verdict."""
    reach = _reach(measured, metrics)
    return [(row, _figures(row), _interval(row, reach), row.verdict.word if row.verdict else "") for row in measured.rows]


def _figures(row: MetricRow) -> tuple[str, ...]:
    metric = METRICS.get(row.metric)
    values = ((row.a, ""), (row.b, ""), (row.change, "+"))
    return tuple("–" if value is None else metric.text(value, sign) if metric else f"{value:{sign}.4f}" for value, sign in values)


def _reach(measured: Measured, metrics: Collection[str]) -> float:
    """Half of what all drawings of a table span, as a share of the baseline: the farthest end of an interval, within bounds."""
    judged = [row.verdict for row in measured.rows if row.verdict and row.verdict.interval and row.verdict.b]
    ends = {
        verdict.metric: max(abs(verdict.interval.low), abs(verdict.interval.high)) / abs(verdict.b)
        for verdict in judged
        if verdict.interval
    }
    bounded = [end if metric in metrics else min(end, _WIDEST) for metric, end in ends.items()]
    return 1.05 * max([0.02, *bounded, *(2 * verdict.margin_share for verdict in judged)])


def _interval(row: MetricRow, reach: float) -> Markup:
    """The interval of a difference around 0, the margin as a band, as shares of the baseline; nothing where there is none."""
    from markupsafe import Markup

    verdict = row.verdict
    if verdict is None or verdict.interval is None or not verdict.b:
        return Markup("")
    width, height = _PLOT
    middle = height / 2

    def at(difference: float) -> float:
        share = difference / abs(verdict.b)
        return width / 2 + (width / 2 - _EDGE) * (max(-1.0, min(1.0, share / reach)))

    low, high, dot = (at(value) for value in (verdict.interval.low, verdict.interval.high, verdict.difference))
    band = at(-verdict.margin), at(verdict.margin)
    arrow = Markup('<path class="dot {}" d="M{:.1f},{} l{},-4 v8 z"/>')
    arrows = [
        arrow.format(verdict.word, end, middle, inward)
        for end, edge, inward in ((low, _EDGE, 6), (high, width - _EDGE, -6))
        if abs(end - edge) < 0.05
    ]
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-label="{label}"><rect class="band" x="{b0:.1f}" y="2" width="{bw:.1f}" height="{bh}"/>'
        '<line class="zero" x1="{m}" x2="{m}" y1="0" y2="{h}"/><line class="span {word}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>'
        '{arrows}<circle class="dot {word}" cx="{dot:.1f}" cy="{y}" r="3.6"/></svg>'
    ).format(
        w=width, h=height, label=f"{row.metric}: {verdict.words}, {verdict.range_text}", b0=band[0], bw=band[1] - band[0], bh=height - 4,
        m=width / 2, y=middle, low=low, high=high, dot=dot, word=verdict.word, arrows=Markup("").join(arrows),
    )  # fmt: skip


def _forgetting_word(record: Forgetting) -> str:
    if record.forgotten:
        return "worse: forgotten"
    return record.verdict.words if record.verdict else "not judged"


def _setting(value: Any) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
