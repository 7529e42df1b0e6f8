"""Depth and classes as colours, and labelled grids of pictures: what every sheet and report of Vortex is drawn with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from core.classes import CLASSES, IGNORE, PALETTE
from core.files import write_atomic
from validation.registration import depth_edges

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = npt.NDArray[np.uint8]
"""RGB, (H, W, 3)."""

NO_DEPTH: Final = (58, 58, 62)
"""A grey that turbo does not have: pixels without depth."""
UNKNOWN: Final = (255, 0, 255)
"""Class ids that do not exist: they should be seen."""
EDGE: Final = (230, 30, 30)
_SMALL: Final = 300
"""Columns at which pictures are looked at: a line of one pixel would be lost when a larger one is reduced."""
_PAPER, _INK, _FAINT = (255, 255, 255), "#1b1f24", "#5b6570"
_MARGIN, _GAP, _GROUP_GAP, _LINE = 24, 6, 22, 20
_LEGENDS: Final = (*zip(CLASSES, PALETTE, strict=True), ("unlabelled", (0, 0, 0)))
_LEGEND: Final = sum(44 + 8 * len(name) for name, _ in _LEGENDS)


@dataclass(frozen=True)
class Tile:
    """One picture of a grid, with a line of text below it."""

    picture: Picture | None
    label: str = ""


def turbo(depth: npt.NDArray[np.floating[Any]], low: float, high: float) -> Picture:
    """Depth (H, W) in turbo, blue at `low` to red at `high` and beyond; pixels that are 0, negative or not finite in grey."""
    import cv2

    valid = np.isfinite(depth) & (depth > 0)
    steps = np.clip((np.where(valid, depth, low) - low) / max(high - low, 1e-6), 0, 1) * 255
    colours = cv2.cvtColor(cv2.applyColorMap(steps.astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    colours[~valid] = NO_DEPTH
    return colours  # type: ignore[no-any-return]


def error_colours(error: npt.NDArray[np.floating[Any]], high: float) -> Picture:
    """Absolute error (H, W) from black (0) over red to white-yellow (`high` and beyond); not finite in grey."""
    import cv2

    valid = np.isfinite(error)
    steps = np.clip(np.where(valid, np.abs(error), 0) / max(high, 1e-6), 0, 1) * 255
    colours = cv2.cvtColor(cv2.applyColorMap(steps.astype(np.uint8), cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    colours[~valid] = NO_DEPTH
    return colours  # type: ignore[no-any-return]


def class_colours(mask: npt.NDArray[np.integer[Any]]) -> Picture:
    """Class ids (H, W) in Vortex's palette; unlabelled pixels black, ids that do not exist magenta."""
    table = np.full((256, 3), UNKNOWN, np.uint8)
    table[: len(PALETTE)] = PALETTE
    table[IGNORE] = 0
    return table[mask.astype(np.uint8)]


def edges_on_colour(rgb: Picture, depth: npt.NDArray[np.float32]) -> Picture:
    """The colour picture in grey, with the borders of what is nearer in red: where depth lies on colour, they run along what is seen.

    `depth` is in metres, of any resolution.
    """
    import cv2

    grey: Picture = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    size = (rgb.shape[0], rgb.shape[1])
    rows, columns = depth_edges(np.where(np.isfinite(depth), depth, np.float32(0)))
    marks = np.zeros(size, np.uint8)
    marks[
        np.clip(((rows + 0.5) * size[0] / depth.shape[0]).astype(np.intp), 0, size[0] - 1),
        np.clip(((columns + 0.5) * size[1] / depth.shape[1]).astype(np.intp), 0, size[1] - 1),
    ] = 1
    thick = max(1, round(size[1] / _SMALL))
    grey[cv2.dilate(marks, np.ones((thick, thick), np.uint8)) > 0] = EDGE
    return grey


def depth_range(depths: Iterable[npt.NDArray[np.floating[Any]]]) -> tuple[float, float]:
    """A range for `turbo` that holds 98 % of the valid pixels, on round half metres, so that sheets can be compared."""
    samples = [depth[::4, ::4][np.isfinite(depth[::4, ::4]) & (depth[::4, ::4] > 0)] for depth in depths]
    values = np.concatenate(samples) if samples else np.empty(0)
    if not values.size:
        return 0.0, 5.0
    low, high = np.percentile(values, (1, 99))
    step = 0.5 if high <= 20 else 10.0 ** np.floor(np.log10(high)) / 2
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)


def fit(picture: Picture, size: tuple[int, int], *, exact: bool = False) -> Picture:
    """Scale to fit into `size` (H, W), centred on paper; `exact` keeps colours as they are (depth, classes) instead of averaging."""
    import cv2

    scale = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    height, width = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
    how = cv2.INTER_NEAREST if exact else cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, (width, height), interpolation=how)
    sheet = np.full((*size, 3), _PAPER, np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    sheet[top : top + height, left : left + width] = scaled
    return sheet


def save_grid(
    path: Path,
    rows: Sequence[Sequence[Tile]],
    *,
    columns: Sequence[str],
    cell: tuple[int, int] = (240, 320),
    title: str = "",
    subtitle: str = "",
    group: int = 0,
    depth: tuple[float, float] | None = None,
    depth_unit: str = "m",
    error: float | None = None,
    classes: bool = False,
) -> Path:
    """Write a grid of labelled pictures as PNG, whole or not at all, and return its path.

    `columns` head the grid; after every `group` columns there is a wider gap. `depth` draws turbo's scale with that range, `error` the
    scale of `error_colours` up to that value, and `classes` the legend of the six. Raises VortexError when the file cannot be written.
    """
    count = len(columns)
    lefts = [_MARGIN + column * (cell[1] + _GAP) + (column // group * _GROUP_GAP if group else 0) for column in range(count)]
    wide = max(lefts[-1] + cell[1] + _MARGIN, 760)
    head = _MARGIN + (34 if title else 0) + (_LINE if subtitle else 0) + 40
    beside = _MARGIN + (464 if depth else 0) + (216 if error else 0)
    # The classes go below the scales where they would not fit beside them.
    wrapped = classes and beside > _MARGIN and beside + _LEGEND > wide
    feet = (44 if depth or error or classes else 0) + (34 if wrapped else 0)
    tall = head + 8 + len(rows) * (cell[0] + _LINE + 16) + feet + 8
    canvas = np.full((tall, wide, 3), _PAPER, np.uint8)
    texts: list[tuple[float, float, str, dict[str, Any]]] = []
    if title:
        texts.append((_MARGIN, _MARGIN + 14, title, {"fontsize": 15, "fontweight": "bold"}))
    if subtitle:
        texts.append((_MARGIN, _MARGIN + 42, subtitle, {"fontsize": 9.5, "color": _FAINT}))
    texts += [(left, head - 8, name, {"fontsize": 10, "fontweight": "bold"}) for left, name in zip(lefts, columns, strict=True)]
    for number, row in enumerate(rows):
        top = head + 8 + number * (cell[0] + _LINE + 16)
        for left, tile in zip(lefts, row, strict=False):
            if tile.picture is not None:
                canvas[top : top + cell[0], left : left + cell[1]] = fit(tile.picture, cell)
            texts.append((left, top + cell[0] + 12, tile.label, {"fontsize": 9, "color": _INK if tile.picture is not None else _FAINT}))
    foot = tall - feet
    at = _MARGIN
    if depth:
        at = _scale(canvas, texts, foot, at, depth, depth_unit)
    if error:
        at = _error_scale(canvas, texts, foot, at, error)
    if classes:
        _legend(canvas, texts, foot + 44 if wrapped else foot, _MARGIN if wrapped else at)
    write_atomic(path, png(_with_texts(canvas, texts)))
    return path


@dataclass(frozen=True)
class Sheet:
    """A sheet with headings, scales and empty cells, drawn once for many rows of pictures; its sides are even, as video wants them."""

    paper: Picture
    corners: tuple[tuple[int, int], ...]
    """Top and left of each cell."""
    cell: tuple[int, int]

    def filled(self, pictures: Sequence[Picture | None]) -> Picture:
        """A copy of the sheet with a picture in each cell; None leaves it empty."""
        canvas = self.paper.copy()
        for (top, left), picture in zip(self.corners, pictures, strict=True):
            if picture is not None:
                canvas[top : top + self.cell[0], left : left + self.cell[1]] = fit(picture, self.cell)
        return canvas


def sheet(
    headings: Sequence[Sequence[str]], *, cell: tuple[int, int], depth: tuple[float, float] | None = None, classes: bool = False
) -> Sheet:
    """A sheet of rows of headed cells of size `cell` (H, W), with turbo's scale for the range `depth` and the legend of the classes below."""
    columns = max(map(len, headings))
    beside = _MARGIN + (464 if depth else 0)
    wide = max(2 * _MARGIN + columns * cell[1] + (columns - 1) * _GAP, beside, _MARGIN + (_LEGEND if classes else 0))
    wrapped = classes and beside + _LEGEND > wide
    foot = 8 + len(headings) * (_LINE + 8 + cell[0])
    tall = foot + 14 + (36 if depth or classes else 0) + (34 if wrapped else 0)
    canvas = np.full((tall + tall % 2, wide + wide % 2, 3), _PAPER, np.uint8)
    texts: list[tuple[float, float, str, dict[str, Any]]] = []
    corners = []
    for row, names in enumerate(headings):
        top = 8 + row * (_LINE + 8 + cell[0])
        for column, name in enumerate(names):
            left = _MARGIN + column * (cell[1] + _GAP)
            texts.append((left, top + _LINE / 2 + 2, name, {"fontsize": 10, "fontweight": "bold"}))
            canvas[top + _LINE + 4 : top + _LINE + 4 + cell[0], left : left + cell[1]] = NO_DEPTH
            corners.append((top + _LINE + 4, left))
    at = _scale(canvas, texts, foot + 14, _MARGIN, depth, "m") if depth else _MARGIN
    if classes:
        _legend(canvas, texts, foot + 48 if wrapped else foot + 14, _MARGIN if wrapped else at)
    return Sheet(_with_texts(canvas, texts), tuple(corners), cell)


def _scale(
    canvas: Picture, texts: list[tuple[float, float, str, dict[str, Any]]], top: int, left: int, depth: tuple[float, float], unit: str
) -> int:
    low, high = depth
    ramp = np.linspace(max(low, 1e-6), high, 260, dtype=np.float32)[None].repeat(14, 0)
    ramp[:] = np.where(ramp <= 0, 1e-6, ramp)
    texts.append((left, top + 7, "depth", {"fontsize": 9, "fontweight": "bold"}))
    left += 54
    canvas[top : top + 14, left : left + 260] = turbo(ramp, low, high)
    ticks = _ticks(low, high)
    for value in ticks:
        at = left + (value - low) / max(high - low, 1e-6) * 260
        text = f"{value:g}" + (f" {unit}" if value == ticks[-1] else "")
        texts.append((at, top + 25, text, {"fontsize": 8.5, "color": _FAINT, "ha": "center"}))
    left += 260 + 34
    canvas[top : top + 14, left : left + 22] = NO_DEPTH
    texts.append((left + 28, top + 7, "no depth", {"fontsize": 9}))
    return left + 116


def _error_scale(canvas: Picture, texts: list[tuple[float, float, str, dict[str, Any]]], top: int, left: int, high: float) -> int:
    texts.append((left, top + 7, "error", {"fontsize": 9, "fontweight": "bold"}))
    left += 46
    canvas[top : top + 14, left : left + 130] = error_colours(np.linspace(0, high, 130, dtype=np.float32)[None].repeat(14, 0), high)
    for share in (0.0, 0.5, 1.0):
        value = f"{share * high:.3g}" + (" m" if share == 1 else "")
        texts.append((left + share * 130, top + 25, value, {"fontsize": 8.5, "color": _FAINT, "ha": "center"}))
    return left + 130 + 40


def _ticks(low: float, high: float) -> list[float]:
    """Both ends, and between them the multiples of the smallest round step that leaves room for their numbers."""
    span = max(high - low, 1e-6)
    step = next(step for power in range(-3, 9) for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power) if span / step <= 5)
    inner = [round(place * step, 6) for place in range(int(low / step), int(high / step) + 2)]
    return [low, *(value for value in inner if low + step * 0.6 < value < high - step * 0.6), high]


def _legend(canvas: Picture, texts: list[tuple[float, float, str, dict[str, Any]]], top: int, left: int) -> None:
    for name, colour in _LEGENDS:
        canvas[top : top + 14, left : left + 22] = colour
        texts.append((left + 28, top + 7, name, {"fontsize": 9}))
        left += 44 + 8 * len(name)


def png(picture: Picture) -> bytes:
    """A picture as PNG."""
    import cv2

    _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return bytes(data)


def _with_texts(canvas: Picture, texts: Sequence[tuple[float, float, str, dict[str, Any]]]) -> Picture:
    """Draw the texts over the canvas, pixel for pixel, with the sans-serif that matplotlib brings along."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = canvas.shape[:2]
    figure: Figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    drawn = FigureCanvasAgg(figure)
    figure.figimage(canvas, origin="upper")
    for x, y, text, style in texts:
        # Names come from users' files: no mathematics in them.
        figure.text(x / width, 1 - y / height, text, va="center", parse_math=False, **{"color": _INK, **style})
    drawn.draw()
    return np.array(drawn.buffer_rgba())[..., :3].copy()
