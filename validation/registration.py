"""Whether depth lies on the colour picture: where depth jumps, colour has an edge, and the offset at which these fit says how far off depth is.

The edges of depth are correlated with the strength of the edges of colour, frame by frame, and the sum over the frames has one sharp peak:
at the origin where depth was registered to the colour picture, elsewhere where it was not. Depth that was taken with another focal length
fits only when it is scaled about the picture's middle, so scales are tried as well. Textures have edges everywhere, and elsewhere in every
frame: they make the ground from which the peak stands out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from validation.checks import Check
from validation.policies import RegistrationBounds, RegistrationLimits
from validation.questions import REGISTERED

Floats = NDArray[np.float32]
Spectrum = NDArray[np.complex64]

VERSION: Final = 1
"""Raise when a measurement changes its meaning: those that were kept under another number are made again."""
FRAMES: Final = 30
"""Frames that are looked at, spread evenly over a set: 10 real ones already gave a peak 17 times as high as the ground."""
COLUMNS: Final = 640
"""Offsets are stated in pixels of a picture of so many columns, whatever the frames' size."""
WIDTH: Final = 320
"""Columns to which larger pictures are reduced first; a peak is located to a fifth of such a pixel."""
RESOLVED: Final = 1.6
"""Pixels of the frames' own picture below which an offset is none: resizing depth to its nearest pixels moves it by one, and a small picture
cannot tell 4 pixels of 640."""
JUMP: Final = np.float32(0.15)
"""Relative step between neighbours that is an edge of depth. Across a hole it grows by this much every four pixels, as a slanted floor does."""
HOLE: Final = 16 / COLUMNS
"""Widest hole, as a share of the columns, across which a jump is an edge: beside what is near, a sensor sees nothing of what is behind."""
LOWER: Final = 0.7
"""Pixels of `COLUMNS` below colour from which offsets are judged: registered depth lies at 0 in synthetic worlds, at 1.2 to 1.9 in both real sets."""
REACH: Final = 80 / COLUMNS
"""Largest offset looked for. Unregistered depth of a RealSense D435 lies 45 to 60 pixels off."""
BORDER: Final = 10 / COLUMNS
LEAST: Final = 60
"""Edge pixels without which a frame says nothing."""
FEWEST: Final = 2
"""Frames without which nothing is said: the two halves of a set must agree."""
VIEW: Final = (32, 24)
STILL: Final = 2.0
"""Grey levels of deviation between two small pictures below which they show one view. Frames of the real sets differ in 20 and more."""
MOST: Final = 1000
"""Edge pixels from which on a frame has no more weight: one full of clutter must not outvote ten others."""
STRONG: Final = 8.0
"""Height of a peak over the ground, in median absolute deviations, from which it is believed.

Measured: 15 and 17 on real sets that are registered, 12 on one that is not (at the scale that it has), 14 to 41 on synthetic worlds; below 7
at scales that are not the set's, and 3 on a synthetic corridor of 64×96 pixels.
"""
STEP: Final = 1.02
_COARSE: Final = 3
"""Steps at a time where the whole range of scales is looked through: 6 %."""
_FARTHEST: Final = 30
"""Steps to either side: scales from 0.55 to 1.81. The focal lengths of a D435's two cameras differ by 1.6, those of a Kinect's by 1.12."""


@dataclass(frozen=True)
class Registration:
    """How a set's depth lies on its colour pictures.

    `looked_at` frames were read, `frames` of them have enough edges, and a view of their own. Depth lies `right` of and `down` from colour,
    in pixels of a picture of `COLUMNS`, and shows things `larger` times as large; these are believed from a `strength` of `STRONG` on.
    `columns` is the width of the frames. `examples` are ids of the frames with the most edges.
    """

    looked_at: int
    frames: int
    columns: int
    right: float = 0.0
    down: float = 0.0
    larger: float = 1.0
    strength: float = 0.0
    examples: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the edges say where depth lies."""
        return self.strength >= STRONG

    @property
    def offset(self) -> float:
        """Length of the offset, in pixels of a picture of `COLUMNS`."""
        return math.hypot(self.right, self.down)


def measure(frames: Iterable[tuple[str, NDArray[np.uint8], Floats]]) -> Registration:
    """Registration of frames (id, colour [H, W, 3] RGB, depth [H', W'] in metres, 0 invalid) that all have one size."""
    edges: list[_Edges] = []
    looked_at, columns = 0, 0
    for name, rgb, depth in frames:
        looked_at += 1
        frame = _Edges.of(name, rgb, depth)
        if frame is not None and (not edges or (frame.size == edges[0].size and not frame.repeats(edges[-1]))):
            edges.append(frame)
        columns = columns or rgb.shape[1]
    if len(edges) < FEWEST:
        return Registration(looked_at, len(edges), columns)
    correlation = _Correlation(edges)
    place, peak = correlation.best()
    share = COLUMNS / edges[0].size[1] * STEP**-place  # the peak is that of the scaled edges
    examples = sorted(edges, key=lambda frame: -len(frame.rows))[:5]
    return Registration(
        looked_at,
        len(edges),
        columns,
        round(-peak.right * share, 2),
        round(-peak.down * share, 2),
        round(STEP**-place, 3),
        round(peak.strength, 1),
        tuple(frame.name for frame in examples),
    )


def check(cameras: Mapping[str, Registration], bounds: RegistrationBounds, *, declared: bool) -> Check:
    """The data gate's answer for a set's cameras. `declared` is a format whose depth is known to lie beside its colour: not by more than allowed."""
    limits = bounds.declared if declared else bounds.registered
    asked = f"depth edges lie on colour edges, within {limits.offset:g} px of {COLUMNS} columns or {RESOLVED:g} of its own, sizes within {limits.scale:.0%}"
    asked += "; the format does not register depth" if declared else ""
    answers, examples = [], []
    for name, camera in cameras.items():
        answers.append(f"{f'{name}: ' if len(cameras) > 1 else ''}{_answer(camera)}")
        if camera.known and not _fits(camera, limits):
            examples += [(frame, words(camera)) for frame in camera.examples]
    passed = not examples
    return Check(
        REGISTERED, asked, "; ".join(answers), passed, tuple(frame for frame, _ in examples), tuple(reason for _, reason in examples)
    )


def _fits(camera: Registration, limits: RegistrationLimits) -> bool:
    offset = max(limits.offset, RESOLVED * COLUMNS / camera.columns)
    return math.hypot(camera.right, camera.down - LOWER) <= offset and abs(math.log(camera.larger)) <= math.log1p(limits.scale)


def _answer(camera: Registration) -> str:
    if camera.known:
        return f"{words(camera)} ({camera.frames} of {camera.looked_at} frames, {camera.strength:.0f} × the ground)"
    if camera.frames < FEWEST:
        return f"cannot be told: {camera.frames} of {camera.looked_at} frames show depth edges in a view of their own"
    return f"cannot be told: depth edges of {camera.frames} frames fit nowhere clearly"


def words(registration: Registration) -> str:
    """Where depth lies, as a person says it: `depth lies 45 px right of and 2.1 px below colour, 1.12 times as large`."""
    across = f"{abs(registration.right):.1f} px {'right' if registration.right > 0 else 'left'} of"
    down = f"{abs(registration.down):.1f} px {'below' if registration.down > 0 else 'above'}"
    size = "" if registration.larger == 1 else f", {registration.larger:.2f} times as large"
    return f"depth lies {across} and {down} colour{size}"


def depth_edges(depth: Floats) -> tuple[Floats, Floats]:
    """Rows and columns of the borders of what is nearer, half a pixel beyond its last pixel. `depth` is [H, W] in metres, 0 invalid."""
    hole = max(1, round(HOLE * depth.shape[1]))
    points: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for values in (depth, np.ascontiguousarray(depth.T)):
        width = values.shape[1]
        valid = np.flatnonzero(values > 0)
        metres = values.ravel()[valid]
        first, second, before, after = valid[:-1], valid[1:], metres[:-1], metres[1:]
        distance = second - first
        step = JUMP * np.maximum(1, distance / 4) * np.minimum(before, after)
        jumps = np.flatnonzero((np.abs(before - after) > step) & (distance <= hole) & (first // width == second // width))
        nearer_first = before[jumps] < after[jumps]
        place = np.where(nearer_first, first[jumps], second[jumps])
        points.append((place // width, place % width + np.where(nearer_first, 0.5, -0.5)))
    (rows, columns), (more_columns, more_rows) = points
    return np.concatenate([rows, more_rows]).astype(np.float32), np.concatenate([columns, more_columns]).astype(np.float32)


class _Edges(NamedTuple):
    """One frame: its points of depth edges, in pixels from the middle of the reduced picture, and the spectrum of its colour edges."""

    name: str
    size: tuple[int, int]
    rows: Floats
    columns: Floats
    colour: Spectrum
    view: Floats
    """The picture in grey, so small that noise is gone: by it a camera that stands still is known."""

    def repeats(self, other: _Edges) -> bool:
        """Whether both show one view: chance would fit alike in both, and be taken for agreement."""
        return float((self.view - other.view).std()) < STILL

    @classmethod
    def of(cls, name: str, rgb: NDArray[np.uint8], depth: Floats) -> _Edges | None:
        """None for a frame with too few edges."""
        import cv2

        height, width = rgb.shape[:2]
        size = (max(1, round(height * min(WIDTH, width) / width)), min(WIDTH, width))
        sampled, (down, right) = _sampled(depth, size)
        rows, columns = depth_edges(sampled)
        border = max(1, round(BORDER * size[1]))
        inside = (rows >= border) & (rows < size[0] - border) & (columns >= border) & (columns < size[1] - border)
        if np.count_nonzero(inside) < LEAST:
            return None
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        if grey.shape != size:
            grey = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA)
        smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.7)
        strength = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
        # The strongest twentieth counts alike: a window frame against the sky is no better an edge than a chair.
        strength = np.minimum(strength / max(float(np.percentile(strength, 95)), 1e-6), 1)
        colour = scipy.fft.rfft2((strength - strength.mean()).astype(np.float32), _padded(size))
        middle = ((size[0] - 1) / 2, (size[1] - 1) / 2)
        view = cv2.resize(grey, VIEW, interpolation=cv2.INTER_AREA).astype(np.float32)
        return cls(name, size, rows[inside] + down - middle[0], columns[inside] + right - middle[1], colour, view)


class _Peak(NamedTuple):
    """Where the edges of depth fit best, in pixels that they have to be moved, and how clearly."""

    right: float
    down: float
    height: float
    strength: float


class _Correlation:
    """The sum over all frames, for any scale; those that were computed are kept."""

    def __init__(self, edges: Sequence[_Edges]) -> None:
        self.edges, self.size = edges, edges[0].size
        self._peaks: dict[int, _Peak] = {}

    def best(self) -> tuple[int, _Peak]:
        """(steps of the scale, its peak): uphill from scale 1, and where that leads to nothing from the best of the whole range."""
        place = self._uphill(0)
        if self.peak(place).strength < STRONG:
            coarse = max(range(-_FARTHEST, _FARTHEST + 1, _COARSE), key=lambda step: self.peak(step).height)
            place = self._uphill(coarse)
        # Real edges are wide enough to fit at neighbouring scales as well: a step is no news, and would be taken for an offset.
        if abs(place) == 1 and self.peak(0).strength >= STRONG:
            place = 0
        return place, self.peak(place)

    def _uphill(self, place: int) -> int:
        while True:
            higher = max((place - 1, place, place + 1), key=lambda step: (self.peak(step).height, step == place))
            if higher == place or abs(higher) > _FARTHEST + _COARSE:
                return place
            place = higher

    def peak(self, step: int) -> _Peak:
        """The peak where depth is scaled by `STEP` to the power of `step`."""
        if step not in self._peaks:
            self._peaks[step] = self._measured(STEP**step)
        return self._peaks[step]

    def _measured(self, scale: float) -> _Peak:
        """The peak of all frames, of no strength where every other frame by itself has it elsewhere: then chance made it."""
        padded = _padded(self.size)
        halves = [np.zeros((padded[0], padded[1] // 2 + 1), np.complex64) for _ in range(2)]
        for number, frame in enumerate(self.edges):
            points = _drawn(frame.rows * np.float32(scale), frame.columns * np.float32(scale), self.size)
            points *= np.float32(min(len(frame.rows), MOST) / len(frame.rows))
            halves[number % 2] += frame.colour * np.conj(scipy.fft.rfft2(points, padded))
        peaks = [_peak(self._offsets(half)) for half in (halves[0] + halves[1], *halves)]
        together, *apart = peaks
        agreed = all(max(abs(half.right - together.right), abs(half.down - together.down)) <= 2.5 for half in apart)
        return together if agreed else together._replace(strength=0.0)

    def _offsets(self, spectrum: Spectrum) -> Floats:
        """How well depth fits when it is moved by each offset, [2 reach + 1, 2 reach + 1], no offset in the middle."""
        import cv2

        reach = _reach(self.size)
        sums = np.roll(scipy.fft.irfft2(spectrum, _padded(self.size)), (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
        smooth: Floats = cv2.GaussianBlur(sums.astype(np.float32), (0, 0), 0.7)
        return smooth


def _sampled(depth: Floats, size: tuple[int, int]) -> tuple[Floats, tuple[float, float]]:
    """Depth at the nearest pixels of a smaller picture, and by how much (rows, columns) these lie beside where they should, on average.

    Depth is never averaged: half-way between a chair and the wall there is nothing.
    """
    if depth.shape == size:
        return depth, (0.0, 0.0)
    places, shifts = [], []
    for length, count in zip(depth.shape, size, strict=True):
        centres = (np.arange(count) + 0.5) * length / count - 0.5
        nearest = np.floor(centres + 0.5)
        places.append(np.minimum(nearest.astype(np.intp), length - 1))
        shifts.append(float((nearest - centres).mean()) * count / length)
    return depth[np.ix_(*places)], (shifts[0], shifts[1])


def _drawn(rows: Floats, columns: Floats, size: tuple[int, int]) -> Floats:
    """Points, in pixels from the middle, as a picture: each shared among the four pixels around it."""
    rows, columns = rows + np.float32((size[0] - 1) / 2), columns + np.float32((size[1] - 1) / 2)
    inside = (rows >= 0) & (rows < size[0] - 1) & (columns >= 0) & (columns < size[1] - 1)
    rows, columns = rows[inside], columns[inside]
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    below, beside = rows - top, columns - left
    first = top * size[1] + left
    places = np.concatenate([first, first + 1, first + size[1], first + size[1] + 1])
    shares = np.concatenate([(1 - below) * (1 - beside), (1 - below) * beside, below * (1 - beside), below * beside])
    return np.bincount(places, shares, size[0] * size[1]).reshape(size).astype(np.float32)


def _peak(offsets: Floats) -> _Peak:
    row, column = (int(place) for place in np.unravel_index(int(offsets.argmax()), offsets.shape))
    ground = float(np.median(offsets))
    spread = float(np.median(np.abs(offsets - ground)))
    height = float(offsets[row, column]) - ground
    reach = offsets.shape[0] // 2
    return _Peak(
        column - reach + _between(offsets[row], column),
        row - reach + _between(offsets[:, column], row),
        height,
        height / max(spread, 1e-12),
    )


def _between(values: Floats, place: int) -> float:
    """Where between its neighbours a parabola through a peak has its top, within half a pixel; 0 at the end."""
    if not 0 < place < len(values) - 1:
        return 0.0
    before, top, after = (float(value) for value in values[place - 1 : place + 2])
    bend = before - 2 * top + after
    return 0.0 if bend == 0 else (before - after) / (2 * bend)


def _reach(size: tuple[int, int]) -> int:
    return max(4, round(REACH * size[1]))


def _padded(size: tuple[int, int]) -> tuple[int, int]:
    """A size for the transform at which an offset within reach does not come round from the other side."""
    return (
        int(scipy.fft.next_fast_len(size[0] + _reach(size), real=True)),
        int(scipy.fft.next_fast_len(size[1] + _reach(size), real=True)),
    )
