"""A Pareto front as a drawing: an SVG for pages and files, and a few lines of text for a terminal. Both show the first two axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from core.printable import clean

if TYPE_CHECKING:
    from pipelines.compare.pareto import Axis, Pareto, Point

WIDTH: Final = 640
HEIGHT: Final = 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 40, 24, 56
_LETTER: Final = 7.0
"""Width of a letter of 12 pixels, by which a name that would leave the drawing is put on the other side of its dot."""
MOST_NAMED: Final = 60
"""Points with a name in a drawing: where there are more, only those of the front have one."""
_STYLE: Final = (
    ".pareto{color-scheme:light dark;font:12px system-ui,sans-serif;fill:var(--ink,#1b1f24)}.pareto .faint{fill:var(--faint,#5b6570)}"
    ".pareto .grid{stroke:var(--line,#dfe3e8)}.pareto .line{fill:none;stroke:var(--ours,#2f6fde);stroke-width:1.5;stroke-dasharray:5 3}"
    ".pareto .front{fill:var(--ours,#2f6fde)}.pareto .dominated{fill:none;stroke:var(--faint,#5b6570);stroke-width:1.5}"
    ".pareto .name{font-weight:600}"
    "@media (prefers-color-scheme:dark){.pareto{fill:var(--ink,#e6e9ec)}.pareto .faint{fill:var(--faint,#9aa4af)}"
    ".pareto .grid{stroke:var(--line,#2c3238)}.pareto .line{stroke:var(--ours,#7ba7f7)}.pareto .front{fill:var(--ours,#7ba7f7)}"
    ".pareto .dominated{stroke:var(--faint,#9aa4af)}}"
)
"""Colours are those of the page around it; alone it has its own, for light and dark."""


def pareto_svg(pareto: Pareto, href: Callable[[str], str] | None = None) -> str:
    """An SVG of the first two axes, better towards the lower left; `href` gives the address of a version's page.

    Filled dots are on the front over all axes, with the line of the front over the two that are drawn where there are no others.
    """
    from markupsafe import Markup

    across, up = pareto.axes[:2]
    x = _Scale([point.values[0] for point in pareto.points], across, _LEFT, WIDTH - _RIGHT)
    y = _Scale([point.values[1] for point in pareto.points], up, HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(x, y), *_front(pareto, x, y)]
    named = pareto.points if len(pareto.points) <= MOST_NAMED else tuple(point for point in pareto.points if point.front)
    parts += [_dot(point, pareto.axes, x, y, href, point in named) for point in reversed(pareto.points)]
    title = f"{across.name} and {up.name} of {len(pareto.points)} versions; on the front: {', '.join(_front_names(pareto))}"
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" class="pareto" viewBox="0 0 {} {}" role="img" aria-label="{}"><style>{}</style>{}</svg>'
        ).format(WIDTH, HEIGHT, clean(title), Markup(_STYLE), Markup("").join(parts))
    )


def pareto_text(pareto: Pareto, width: int = 72, height: int = 16) -> str:
    """The first two axes in characters: ● on the front, ○ dominated, each with its name where there is room."""
    across, up = pareto.axes[:2]
    x = _Scale([point.values[0] for point in pareto.points], across, 0, width - 10)
    y = _Scale([point.values[1] for point in pareto.points], up, height - 1, 0)
    canvas = [[" "] * width for _ in range(height)]
    for point in sorted(pareto.points, key=lambda point: point.front):
        row, column = round(y.at(point.values[1])), round(x.at(point.values[0]))
        canvas[row][column] = "●" if point.front else "○"
    for point in pareto.points:
        row, column = round(y.at(point.values[1])), round(x.at(point.values[0]))
        label = clean(point.version)
        if column + len(label) + 2 <= width and all(cell == " " for cell in canvas[row][column + 1 : column + len(label) + 2]):
            canvas[row][column + 1 : column + 1 + len(label)] = label
    high, low = up.text(y.high), up.text(y.low)
    margin = max(len(high), len(low))
    heads = [high, *[""] * (height - 2), low]
    lines = [f"{head:>{margin}} │{''.join(cells).rstrip()}" for head, cells in zip(heads, canvas, strict=True)]
    left, right = across.text(x.low), across.text(x.high)
    foot = f"{' ' * margin} └{'─' * width}"
    ends = f"{' ' * (margin + 2)}{left}{right:>{max(1, width - len(left))}}"
    legend = (f"across {across.name}, up {up.name}, both better to the lower left", "● on the front, ○ dominated")
    return "\n".join([*lines, foot, ends, *(f"{' ' * (margin + 2)}{line}" for line in legend)])


class _Scale:
    """From values of an axis to places in a drawing. The better end lies at `start`, whichever way the axis runs."""

    def __init__(self, values: Sequence[float], axis: Axis, start: float, end: float) -> None:
        low, high = min(values), max(values)
        room = 0.06 * (high - low) or 0.06 * (abs(high) or 1.0)
        ends = (low - room, high + room)
        self.axis = axis
        self.low, self.high = ends if axis.direction == "lower" else ends[::-1]
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Where a value lies."""
        return self._start + (value - self.low) / (self.high - self.low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values within, five or a few more of them."""
        low, high = sorted((self.low, self.high))
        raw = (high - low) / 5
        magnitude = 10.0 ** math.floor(math.log10(raw))
        step = next(step for step in (magnitude, 2 * magnitude, 5 * magnitude, 10 * magnitude) if step >= raw)
        return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]

    def label(self, value: float) -> str:
        """A tick's value, short."""
        if self.axis.text(value).endswith(" ms"):
            return f"{value:.4g} ms"
        if self.axis.series is None:
            return f"{value / 1e6:g} M" if abs(value) >= 1e6 else f"{value:,.0f}"
        return f"{value:.4g} m" if self.axis.text(value).endswith("m") else f"{100 * value:.4g} %"


def _grid(x: _Scale, y: _Scale) -> list[str]:
    from markupsafe import Markup

    line = Markup('<line class="grid" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    text = Markup('<text class="faint" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>')
    parts: list[str] = []
    for value in x.ticks():
        at = x.at(value)
        parts += [line.format(at, _TOP, at, HEIGHT - _BOTTOM), text.format(at, HEIGHT - _BOTTOM + 18, "middle", x.label(value))]
    for value in y.ticks():
        at = y.at(value)
        parts += [line.format(_LEFT, at, WIDTH - _RIGHT, at), text.format(_LEFT - 8, at + 4, "end", y.label(value))]
    better = "better" if x.axis.direction == "lower" else "better, which is higher,"
    parts.append(text.format(_LEFT, HEIGHT - 14, "start", f"{clean(x.axis.name)}, {better} to the left"))
    better = "better" if y.axis.direction == "lower" else "better, which is higher,"
    parts.append(text.format(_LEFT, 14, "start", f"{clean(y.axis.name)}, {better} downwards"))
    return parts


def _front(pareto: Pareto, x: _Scale, y: _Scale) -> list[str]:
    """The stair of the front; none for more than two axes, where what two of them show is not the front."""
    from markupsafe import Markup

    if len(pareto.axes) > 2:
        return []
    corners = sorted((x.at(point.values[0]), y.at(point.values[1])) for point in pareto.points if point.front)
    path = [f"M{corners[0][0]:.1f},{_TOP}", f"V{corners[0][1]:.1f}", *(f"H{at:.1f}V{height:.1f}" for at, height in corners[1:])]
    return [Markup('<path class="line" d="{}"/>').format("".join([*path, f"H{WIDTH - _RIGHT}"]))]


def _dot(point: Point, axes: Sequence[Axis], x: _Scale, y: _Scale, href: Callable[[str], str] | None, named: bool) -> str:
    from markupsafe import Markup

    across, up = x.at(point.values[0]), y.at(point.values[1])
    values = ", ".join(f"{axis.name} {axis.text(value)}" for axis, value in zip(axes, point.values, strict=True))
    standing = "on the front" if point.front else f"dominated by {', '.join(point.dominated_by)}"
    label = clean(f"{point.version} {point.codename}".strip())
    parts = [
        Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}</title></circle>').format(
            "front" if point.front else "dominated", across, up, clean(f"{label}: {values}; {standing}")
        )
    ]
    if named:
        # To the lower left of the front there is nothing; of what is dominated, the name stands on the other side.
        room = _LETTER * len(label) + 9
        left = across - room > _LEFT if point.front else across + room > WIDTH
        parts.append(
            Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
                "name" if point.front else "faint",
                across + (-9 if left else 9),
                up + (16 if point.front else -7),
                "end" if left else "start",
                label,
            )
        )
    drawn = Markup("").join(parts)
    return Markup('<a href="{}">{}</a>').format(href(point.version), drawn) if href else drawn


def _front_names(pareto: Pareto) -> list[str]:
    return [point.version for point in pareto.points if point.front]
