"""Panes of glass in walls: what the sensor loses, what returns from behind the wall, and, where depth is exact, panels set back in a frame.

Depth alone says little about glass. A time-of-flight sensor gets nothing back from most of a pane, or something from behind it: a block
without returns amid a wall that returns light. A depth without such failures shows the pane as a surface like any other, and all that is
left is its place: a flat panel that is framed on every side, below too, by parts of its wall that stand nearer. A door has no frame below.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from core.classes import IGNORE
from models.teachers.planes import Bools, Floats, Points
from models.teachers.room_layout import FLOOR, WALL, Labels, Seen

LEAST: Final = 0.0015
"""Share of the picture that a pane must cover."""
NEARER: Final = 0.018
"""Metres by which a frame must stand before its pane to be seen as its frame."""
SPREAD: Final = 0.012
"""Metres within which a panel is flat."""
MARGIN: Final = 6
"""Pixels around a panel in which its frame is looked for."""
DARK: Final = 0.45
"""Share of the picture's brightness below which a block is black."""
ALIKE: Final = 15.0
"""Grey levels by which a block must differ from the wall around it."""
BEHIND: Final = 0.25
"""Metres behind a wall from which a return has passed through it."""


def lost_panes(seen: Points, rgb: Labels, surfaces: Seen, guess: Labels) -> tuple[Bools, Bools]:
    """Blocks of a wall without returns, or with returns from behind it, that the wall surrounds.

    `guess` is the class of the plane that every ray meets first. Single drop-outs and speckled, grazing walls are no blocks: opening the
    mask by a disc leaves none of them. A block that looks like the wall around it lies beyond the sensor's field of view, and a black one is
    rather a black door: the latter are given back as a second mask, of blocks of which nothing is known.
    """
    import cv2

    reach = max(seen.valid.shape[0] // 80, 1)
    beyond = seen.valid & (seen.depth > surfaces.shell + np.float32(BEHIND))
    missing = surfaces.solid & (guess == WALL) & (~seen.valid | beyond)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    opened = cv2.morphologyEx(missing.astype(np.uint8), cv2.MORPH_OPEN, disc) > 0
    panes, doubtful = np.zeros(missing.shape, bool), np.zeros(missing.shape, bool)
    dark = DARK * float(rgb.mean())
    grounded = bool((guess == FLOOR).any())
    wall = seen.valid & (surfaces.labels == WALL)
    for area, inside in blobs(opened, 2 * reach, LEAST * opened.size):
        ring = grown(inside, 2 * reach) & ~inside
        mostly_lost = (inside & ~seen.valid[area]).sum() > 0.3 * inside.sum()
        if not grounded:
            # Where the floor's height is unknown, a wall's end looks like a pane: wall must be seen below it again.
            below = np.roll(inside, 2 * reach, 0) & ring
            mostly_lost &= (below & wall[area]).sum() > 0.5 * (below.sum() + 1)
        frame = ring & wall[area]
        if mostly_lost and frame.sum() > 0.35 * ring.sum():
            within, around = rgb[area][inside].mean(0), rgb[area][frame].mean(0)
            if within.mean() < dark:
                doubtful[area] |= inside
            elif np.abs(within - around).max() > ALIKE:
                panes[area] |= inside
    return panes, doubtful


def framed_panes(seen: Points, surfaces: Seen, noise: float) -> Bools:
    """Flat panels of a wall that nearer parts of it frame on every side that can be seen, below too."""
    panes = np.zeros(seen.valid.shape, bool)
    if int(surfaces.wall.max(initial=-1)) < 0:
        return panes
    exact = (3 * noise * seen.depth**2 < 0.6 * NEARER) & (surfaces.labels == WALL) & seen.valid
    for number in range(int(surfaces.wall.max()) + 1):
        mine = exact & (surfaces.wall == number)
        if mine.sum() < LEAST * mine.size:
            continue
        rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        part = slice(int(rows[0]), int(rows[-1]) + 1 + MARGIN), slice(int(columns[0]), int(columns[-1]) + 1 + MARGIN)
        part = slice(max(part[0].start - MARGIN, 0), part[0].stop), slice(max(part[1].start - MARGIN, 0), part[1].stop)
        depth, labels, own = seen.depth[part], surfaces.labels[part], mine[part]
        offset = np.where(own, surfaces.offset[part], np.float32(np.nan))
        for level in levels(offset[own], int(LEAST * mine.size)):
            for area, inside in blobs(np.abs(offset - np.float32(level)) < SPREAD, MARGIN, LEAST * mine.size):
                if framed(inside, depth[area], labels[area], offset[area], level):
                    panes[part][area] |= inside
    return panes


def framed(inside: Bools, depth: Floats, labels: Labels, offset: Floats, level: float) -> bool:
    """Whether a panel at `level` has a frame on each of its four sides. `offset` is NaN off the panel's wall.

    Of a side, only what is seen counts: not where the picture ends, nor where something nearer stands before it. Of the lower side
    something must be seen, because that is where a door differs.
    """
    with np.errstate(invalid="ignore"):
        frame = offset < level - NEARER
    panel = float(depth[inside].mean())
    before = ~frame & (depth > 0) & ((depth < panel - 0.3) | ((labels == IGNORE) & (depth < panel - 0.03)))
    for side, quarter in enumerate(("below", "right", "above", "left")):
        shape, edge, hidden = (np.rot90(values, -side) for values in (inside, frame, before))
        columns = np.flatnonzero(shape.any(0))
        last = shape.shape[0] - 1 - shape[::-1, columns].argmax(0)
        seen = last + 2 < shape.shape[0]
        # The first pixel beyond is mixed. A frame is met at the second, or behind its own narrow face a few pixels on.
        near, far = last[seen] + 2, np.minimum(last[seen] + MARGIN, shape.shape[0] - 1)
        columns = columns[seen]
        good = int((edge[near, columns] | edge[far, columns]).sum())
        open_ = int((~hidden[near, columns]).sum())
        if (good < 0.6 * open_ and open_ > 0.1 * len(seen)) or (quarter == "below" and good < 0.1 * len(seen)):
            return False
    return True


def levels(offsets: Floats, least: int) -> list[float]:
    """The depths behind its plane at which a wall's pixels gather."""
    if offsets.size < max(least, 1):
        return []
    edges = np.arange(-0.09, 0.16, 0.004)
    votes = np.convolve(np.histogram(offsets, edges)[0], [1, 1, 1], "same")
    peaks = (votes >= max(least, 1)) & (votes >= np.roll(votes, 1)) & (votes > np.roll(votes, -1))
    return [float(edges[i] + 0.002) for i in np.flatnonzero(peaks)]


def grown(mask: Bools, by: int) -> Bools:
    """The mask and `by` pixels around it."""
    import cv2

    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0)


def blobs(mask: Bools, margin: int, least: float) -> Iterator[tuple[tuple[slice, slice], Bools]]:
    """Connected parts of at least `least` pixels: a window with a margin around each, and the part in it."""
    import cv2

    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    for number in range(1, count):
        left, top, width, height, size = (int(value) for value in stats[number])
        if size >= max(least, 4):
            area = (
                slice(max(top - margin, 0), top + height + margin),
                slice(max(left - margin, 0), left + width + margin),
            )
            yield area, parts[area] == number
