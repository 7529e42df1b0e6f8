"""Procedural textures: floors, walls, fabrics, books, pictures, what is seen through a window. A square each, in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE: Final = 512


def static(rng: np.random.Generator, *shape: int) -> Floats:
    """White noise of mean 0 and deviation 1, triangular, from two random bytes a value: a fifth of the cost of a normal one, measured."""
    count = int(np.prod(shape))
    raw = np.frombuffer(rng.bytes(2 * count), np.uint8).reshape(2, *shape)
    return np.asarray((raw[0].astype(np.float32) - raw[1]) * np.float32(1 / 104.5))


Painter = Callable[[np.random.Generator], Floats]


def noise(rng: np.random.Generator, cells: int, rows: int | None = None, side: int = SIDE) -> Floats:
    """Smooth noise in [0, 1] that repeats without a seam, with `cells` features across and `rows` down."""
    import cv2

    rows = rows or cells
    grid = np.pad(rng.random((rows, cells), np.float32), 2, mode="wrap")
    fine = cv2.resize(grid, ((cells + 4) * side // cells, (rows + 4) * side // rows), interpolation=cv2.INTER_CUBIC)
    top, left = 2 * side // rows, 2 * side // cells
    return np.clip(np.asarray(fine[top : top + side, left : left + side], np.float32), 0.0, 1.0)


def _layers(rng: np.random.Generator, *cells: int) -> Floats:
    """Noise at several scales, each half as strong as the one before; mean about 0.5."""
    weights = [0.5**i for i in range(len(cells))]
    return np.asarray(sum(w * noise(rng, c) for w, c in zip(weights, cells, strict=True)) / sum(weights), np.float32)


def _grid() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    rows, cols = np.mgrid[0:SIDE, 0:SIDE].astype(np.int32)
    return rows, cols


def _plain(rng: np.random.Generator) -> Floats:
    return np.asarray(0.93 + 0.08 * (_layers(rng, 4, 32) - 0.5) + 0.05 * (rng.random((SIDE, SIDE), np.float32) - 0.5))


def _plaster(rng: np.random.Generator) -> Floats:
    return np.asarray(0.9 + 0.16 * (_layers(rng, 8, 64, 128) - 0.5) + 0.10 * (noise(rng, 256) - 0.5))


def _concrete(rng: np.random.Generator) -> Floats:
    pores = noise(rng, 256) > 0.96
    return np.asarray(0.8 + 0.3 * (_layers(rng, 4, 16, 64, 256) - 0.5) - 0.2 * pores, np.float32)


def _planks(rng: np.random.Generator) -> Floats:
    rows, cols = _grid()
    width = SIDE // 16
    row = rows // width
    shifted = (cols + (rng.integers(0, SIDE, 16).astype(np.int32))[row]) % SIDE
    shade = rng.random((16, 2), np.float32)[row, shifted // (SIDE // 2)]
    grain = noise(rng, 4, 256) - 0.5
    gap = (rows % width < 1) | (shifted % (SIDE // 2) < 2)
    return np.asarray(0.72 + 0.26 * shade + 0.16 * grain - 0.35 * gap, np.float32)


def _wood(rng: np.random.Generator) -> Floats:
    return np.asarray(0.82 + 0.26 * (noise(rng, 2, 32) - 0.5) + 0.16 * (noise(rng, 4, 128) - 0.5), np.float32)


def _tiles(rng: np.random.Generator) -> Floats:
    rows, cols = _grid()
    step = SIDE // 4
    shade = rng.random((4, 4), np.float32)[rows // step, cols // step]
    grout = (rows % step < 4) | (cols % step < 4)
    return np.asarray(np.where(grout, 0.55, 0.86 + 0.1 * (shade - 0.5) + 0.1 * (_layers(rng, 16, 64) - 0.5)), np.float32)


def _checker(rng: np.random.Generator) -> Floats:
    rows, cols = _grid()
    step = SIDE // 4
    dark = ((rows // step + cols // step) % 2).astype(np.float32)
    return np.asarray(0.92 - 0.42 * dark + 0.08 * (_layers(rng, 16, 64) - 0.5), np.float32)


def _terrazzo(rng: np.random.Generator) -> Floats:
    chips, tone = noise(rng, 64), noise(rng, 128)
    return np.asarray(0.84 + 0.14 * (chips > 0.78) - 0.26 * (chips < 0.2) + 0.14 * (tone - 0.5), np.float32)


def _carpet(rng: np.random.Generator) -> Floats:
    rows, cols = _grid()
    step = SIDE // 4
    direction = ((rows // step + cols // step) % 2).astype(np.float32)
    return np.asarray(0.74 + 0.34 * (rng.random((SIDE, SIDE), np.float32) - 0.5) + 0.2 * (_layers(rng, 8, 128) - 0.5) + 0.06 * direction)


def _brick(rng: np.random.Generator) -> Floats:
    rows, cols = _grid()
    height, width = SIDE // 16, SIDE // 8
    row = rows // height
    shifted = (cols + (row % 2) * (width // 2)) % SIDE
    shade = rng.random((16, 8), np.float32)[row, shifted // width]
    mortar = (rows % height < 4) | (shifted % width < 4)
    face = 0.66 + 0.34 * (shade - 0.5) + 0.2 * (_layers(rng, 64, 128) - 0.5)
    return np.asarray(np.where(mortar, 0.88, face), np.float32)


def _stripes(rng: np.random.Generator) -> Floats:
    _, cols = _grid()
    band = (cols // (SIDE // int(rng.choice([8, 16, 32])))) % 2
    return np.asarray(0.92 - 0.12 * band + 0.05 * (noise(rng, 128) - 0.5), np.float32)


def _damask(rng: np.random.Generator) -> Floats:
    figure = noise(rng, 16)
    figure = np.abs(figure + figure[:, ::-1] + figure[::-1] + figure[::-1, ::-1] - 2.0)
    return np.asarray(0.78 + 0.16 * (np.tile(figure[::4, ::4], (4, 4)) > 0.28) + 0.06 * (noise(rng, 128) - 0.5), np.float32)


def _fabric(rng: np.random.Generator) -> Floats:
    rows, cols = _grid()
    weave = ((rows // 3 + cols // 3) % 2).astype(np.float32)
    return np.asarray(0.8 + 0.1 * weave + 0.2 * (_layers(rng, 8, 64) - 0.5), np.float32)


def _leaves(rng: np.random.Generator) -> Floats:
    return np.asarray(0.35 + 0.6 * np.abs(noise(rng, 24) - noise(rng, 48)) + 0.3 * noise(rng, 128), np.float32)


def _ceiling(rng: np.random.Generator) -> Floats:
    rows, cols = _grid()
    step = SIDE // 4
    rail = (rows % step < 4) | (cols % step < 4)
    return np.asarray(np.where(rail, 0.98, 0.9 - 0.2 * (noise(rng, 256) > 0.8)), np.float32)


def _panels(_: np.random.Generator) -> Floats:
    """A door leaf or cupboard front: two raised fields."""
    rows, cols = _grid()
    field = np.full((SIDE, SIDE), 0.92, np.float32)
    for top, bottom in ((40, 230), (270, 470)):
        inner = (rows > top) & (rows < bottom) & (cols > 70) & (cols < SIDE - 70)
        rim = inner & ~((rows > top + 14) & (rows < bottom - 14) & (cols > 84) & (cols < SIDE - 84))
        field[inner] = 0.86
        field[rim] = 0.72
    return field


def _drawers(rng: np.random.Generator) -> Floats:
    """A front of drawers with handles."""
    rows, cols = _grid()
    step = SIDE // int(rng.integers(3, 5))
    inside = rows % step
    handle = (np.abs(inside - step // 3) < 7) & (np.abs(cols - SIDE // 2) < 60)
    return np.asarray(np.where(inside < 7, 0.45, np.where(handle, 0.35, 0.92)), np.float32)


def _books(rng: np.random.Generator) -> Floats:
    picture = np.full((SIDE, SIDE, 3), 0.16, np.float32)
    for shelf in range(4):
        left, floor = 6, (shelf + 1) * 128 - 8
        while left < SIDE - 20:
            width, height = int(rng.integers(8, 26)), int(rng.integers(66, 108))
            if rng.random() < 0.88:
                picture[floor - height : floor, left : left + width - 1] = (
                    0.15 + 0.5 * (0.5 * rng.random(3) + 0.5 * rng.random())
                ) * rng.uniform(0.6, 1.2)
                picture[floor - height + 14 : floor - height + 20, left : left + width - 1] *= 1.3
            left += width
        picture[floor : floor + 8] = 0.62
    return picture


def _poster(rng: np.random.Generator) -> Floats:
    """A picture on a wall: a margin, a field of colours, a few shapes, perhaps lines of text."""
    rows, cols = _grid()

    def ink() -> Floats:
        colour = rng.random(3)
        return np.asarray(0.35 * colour + 0.65 * colour.mean() * np.array([1.1, 1.0, 0.9]), np.float32)

    first, second = ink(), ink()
    ramp = (rows / SIDE)[..., None]
    picture = np.asarray(first * ramp + second * (1 - ramp), np.float32) * (0.7 + 0.6 * noise(rng, 8)[..., None])
    for _ in range(int(rng.integers(3, 9))):
        y, x, r = (int(rng.integers(low, high)) for low, high in ((60, 450), (60, 450), (20, 130)))
        shape = (rows - y) ** 2 + (cols - x) ** 2 < r * r if rng.random() < 0.5 else (abs(rows - y) < r) & (abs(cols - x) < r // 2)
        picture[shape] = ink() if rng.random() < 0.7 else rng.random(3)
    if rng.random() < 0.5:
        words = (rows % 24 < 9) & (rows > 300) & (noise(rng, 128, 32) > 0.45) & (cols > 60) & (cols < 450)
        picture[rows[:, 0] > 290] = 0.93
        picture[words] = 0.15
    margin = (rows < 26) | (rows > SIDE - 26) | (cols < 26) | (cols > SIDE - 26)
    picture[margin] = float(rng.choice([0.12, 0.95]))
    return np.clip(picture, 0, 1)


def _board(rng: np.random.Generator) -> Floats:
    """A whiteboard with some writing."""
    rows, cols = _grid()
    picture = np.full((SIDE, SIDE, 3), 0.95, np.float32)
    for _ in range(3):
        top, left = rng.integers(40, 300, 2)
        area = (rows > top) & (rows < top + 150) & (cols > left) & (cols < left + 180)
        picture[area & (rows % 22 < 4) & (noise(rng, 128, 32) > 0.5)] = rng.choice([0.1, 0.5], 3) * np.array([1.0, 0.6, 1.0])
    return picture


def _screen(rng: np.random.Generator) -> Floats:
    rows, cols = _grid()
    picture = np.full((SIDE, SIDE, 3), rng.random(3) * 0.35, np.float32)
    for _ in range(4):
        y, x, h, w = rng.integers(20, 260), rng.integers(20, 260), rng.integers(90, 240), rng.integers(90, 240)
        window = (rows > y) & (rows < y + h) & (cols > x) & (cols < x + w)
        picture[window] = rng.uniform(0.5, 0.95)
        picture[window & (rows % 18 < 6) & (cols > x + 12) & (noise(rng, 64, 32) > 0.4)] = rng.random(3) * 0.5
    picture[(rows < 12) | (rows > SIDE - 12) | (cols < 12) | (cols > SIDE - 12)] = 0.06
    return picture


def _outdoors(rng: np.random.Generator) -> Floats:
    """What is seen through a window: sky, houses, trees, ground."""
    rows, cols = _grid()
    height = (rows / SIDE)[..., None].astype(np.float32)
    clouds = (_layers(rng, 4, 8, 16) > 0.55)[..., None] * np.float32(0.12)
    picture = np.asarray(np.array([0.62, 0.78, 0.97]) + height * np.array([0.42, 0.25, 0.05]) + clouds, np.float32)
    for _ in range(5):
        left, top, width = int(rng.integers(-60, 480)), int(rng.integers(150, 300)), int(rng.integers(60, 200))
        house = (cols > left) & (cols < left + width) & (rows > top)
        picture[house] = rng.uniform(0.35, 0.75) * np.array([1.0, 0.93, 0.86])
        picture[house & (rows % 40 > 14) & (cols % 34 > 16) & (rows < 400)] = [0.25, 0.3, 0.36]
    trees = rows > 330 - 110 * noise(rng, 8)[0][None, :] - 30 * noise(rng, 64)[0][None, :]
    picture[trees] = (np.array([0.28, 0.37, 0.2]) * (0.6 + 0.9 * noise(rng, 64)[..., None]))[trees]
    picture[rows > 430] = (np.array([0.5, 0.55, 0.4]) * (0.8 + 0.4 * noise(rng, 32)[..., None]))[rows > 430]
    return np.clip(picture, 0, 1)


def _flat(_: np.random.Generator) -> Floats:
    return np.ones((SIDE, SIDE), np.float32)


PAINTERS: Final[dict[str, Painter]] = {
    "flat": _flat, "plain": _plain, "plaster": _plaster, "concrete": _concrete, "planks": _planks, "wood": _wood, "tiles": _tiles,
    "checker": _checker, "terrazzo": _terrazzo, "carpet": _carpet, "brick": _brick, "stripes": _stripes, "damask": _damask,
    "fabric": _fabric, "leaves": _leaves, "ceiling": _ceiling, "panels": _panels, "drawers": _drawers, "books": _books,
    "poster": _poster, "board": _board, "screen": _screen, "outdoors": _outdoors,
}  # fmt: skip
