"""Furniture and clutter. Each piece stands with its back at local y = 0 and reaches towards -y; x is its middle, z = 0 the floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from pipelines.synthetic.parts import Colour, Spot, Surface
from pipelines.synthetic.shell import muted

WOODS: Final[tuple[Colour, ...]] = ((0.5, 0.32, 0.17), (0.3, 0.16, 0.08), (0.62, 0.47, 0.3), (0.1, 0.055, 0.035), (0.74, 0.72, 0.68))
METAL: Final = Surface("flat", (0.35, 0.36, 0.38), "furniture", infrared=0.6)
BLACK: Final = Surface("plain", (0.02, 0.02, 0.022), "furniture", infrared=0.5)

Piece = Callable[[Spot], None]


def wood(rng: np.random.Generator, texture: str = "wood") -> Surface:
    """A wooden surface at random."""
    return Surface(texture, WOODS[int(rng.integers(len(WOODS)))], "furniture", None if texture != "wood" else 1.2)


def cloth(rng: np.random.Generator, label: str = "furniture") -> Surface:
    """An upholstery at random."""
    return Surface("fabric", muted(rng, float(rng.uniform(0.06, 0.45)), 0.5), label, 0.4, infrared=1.1)


def legs(spot: Spot, width: float, depth: float, height: float, surface: Surface, thick: float = 0.045) -> None:
    """Four legs under a rectangle whose middle is the spot."""
    for x in (-1, 1):
        for y in (-1, 1):
            spot.box(x * (width - thick) / 2, y * (depth - thick) / 2, 0, (thick, thick, height), surface)


def table(spot: Spot, width: float = 1.4, depth: float = 0.8, height: float = 0.74) -> None:
    """A table with a few things on it; its middle is the spot."""
    rng = spot.parts.rng
    top = wood(rng)
    spot.box(0, 0, height - 0.035, (width, depth, 0.035), top)
    legs(spot, width - 0.06, depth - 0.06, height - 0.035, METAL if rng.random() < 0.4 else top)
    spot.footprint(0, 0, width, depth, 0.75)
    clutter(spot.at(0, 0, height), width * 0.8, depth * 0.6, int(rng.integers(1, 5)))


def clutter(spot: Spot, width: float, depth: float, count: int) -> None:
    """Cups, boxes, stacks of paper and bottles on a surface."""
    rng = spot.parts.rng
    for _ in range(count):
        x, y = float(rng.uniform(-width / 2, width / 2)), float(rng.uniform(-depth / 2, depth / 2))
        paint = Surface("plain", muted(rng, 0.4, 0.7), "other", 0.5)
        shape = rng.random()
        if shape < 0.35:
            spot.cylinder(x, y, 0, 0.04, float(rng.uniform(0.09, 0.28)), paint)
        elif shape < 0.7:
            spot.box(x, y, 0, (0.22, 0.3, float(rng.uniform(0.02, 0.12))), paint, float(rng.uniform(0, 3)))
        else:
            spot.capsule((x, y, 0.07), (x, y, 0.07), 0.07, paint)


def chair(spot: Spot, cover: Surface | None = None) -> None:
    """A chair facing -y; its middle is the spot."""
    seat = cover or wood(spot.parts.rng)
    spot.box(0, 0, 0.43, (0.44, 0.44, 0.05), seat)
    spot.box(0, 0.2, 0.55, (0.42, 0.035, 0.36), seat)
    for x in (-0.18, 0.18):
        spot.box(x, 0.2, 0.0, (0.035, 0.035, 0.6), METAL)
        spot.box(x, -0.19, 0.0, (0.035, 0.035, 0.43), METAL)
    spot.footprint(0, 0, 0.44, 0.44, 0.7)


def office_chair(spot: Spot) -> None:
    """A swivel chair facing -y; its middle is the spot."""
    seat = cloth(spot.parts.rng)
    for x, y in ((0.26, 0), (-0.26, 0), (0, 0.26), (0, -0.26)):
        spot.capsule((0, 0, 0.1), (x, y, 0.06), 0.025, BLACK)
    spot.cylinder(0, 0, 0.1, 0.025, 0.32, METAL)
    spot.box(0, 0, 0.42, (0.48, 0.46, 0.08), seat)
    spot.box(0, 0.23, 0.58, (0.44, 0.06, 0.5), seat)
    spot.footprint(0, 0, 0.5, 0.5, 0.7)


def desk(spot: Spot) -> None:
    """A desk at a wall with a screen, a keyboard, drawers and a chair."""
    rng = spot.parts.rng
    table(spot.at(0, -0.38), 1.5, 0.72)
    spot.box(-0.5, -0.38, 0.02, (0.4, 0.55, 0.6), wood(rng, "drawers"))
    for x in (-0.3, 0.3) if rng.random() < 0.4 else (0.0,):
        spot.box(x, -0.2, 0.84, (0.52, 0.03, 0.32), BLACK)
        on = 0.9 if rng.random() < 0.7 else 0.0
        picture = Surface(
            f"screen:{int(rng.integers(2))}" if on else "flat", (0.9,) * 3 if on else (0.01,) * 3, "other", None, on, infrared=0.1
        )
        spot.box(x, -0.217, 0.86, (0.49, 0.006, 0.28), picture)
        spot.box(x, -0.2, 0.74, (0.05, 0.04, 0.12), BLACK)
    spot.box(0, -0.5, 0.74, (0.42, 0.14, 0.02), Surface("plain", (0.06, 0.06, 0.06)))
    office_chair(spot.at(float(rng.uniform(-0.3, 0.3)), -1.0, 0, 3.14159 + float(rng.uniform(-0.7, 0.7))))


def shelf(spot: Spot) -> None:
    """A bookshelf."""
    rng = spot.parts.rng
    width, height = float(rng.uniform(0.8, 1.3)), float(rng.uniform(1.3, 2.1))
    frame = wood(rng)
    spot.box(0, -0.15, 0, (width, 0.28, height), frame)
    front = Surface(f"books:{int(rng.integers(3))}", (0.9, 0.9, 0.9), "furniture", None)
    spot.box(0, -0.295, 0.06, (width - 0.08, 0.01, height - 0.1), front)
    spot.footprint(0, -0.15, width, 0.3)
    clutter(spot.at(0, -0.15, height), width * 0.7, 0.05, int(rng.integers(0, 3)))


def cupboard(spot: Spot) -> None:
    """A wardrobe or cabinet with two doors."""
    rng = spot.parts.rng
    height, body = float(rng.uniform(1.2, 2.1)), wood(rng)
    spot.box(0, -0.28, 0, (1.0, 0.55, height), body)
    for side in (-1, 1):
        spot.box(side * 0.248, -0.565, 0.08, (0.485, 0.02, height - 0.1), Surface("panels", body.tint, "furniture", None))
        spot.capsule((side * 0.04, -0.6, height * 0.5), (side * 0.04, -0.6, height * 0.5 + 0.14), 0.009, METAL)
    spot.footprint(0, -0.28, 1.0, 0.55)


def sideboard(spot: Spot) -> None:
    """A low chest of drawers, perhaps with a television."""
    rng = spot.parts.rng
    body = wood(rng)
    spot.box(0, -0.22, 0, (1.5, 0.42, 0.62), body)
    for x in (-0.375, 0.375):
        spot.box(x, -0.437, 0.06, (0.72, 0.02, 0.52), Surface("drawers", body.tint, "furniture", None))
    if rng.random() < 0.6:
        spot.box(0, -0.14, 0.7, (1.15, 0.05, 0.66), Surface("flat", (0.012, 0.012, 0.014), "other", gloss=0.5, infrared=0.2))
        spot.box(0, -0.16, 0.62, (0.4, 0.2, 0.1), BLACK)
    else:
        clutter(spot.at(0, -0.22, 0.62), 1.2, 0.2, 4)
    spot.footprint(0, -0.22, 1.5, 0.42)


def sofa(spot: Spot) -> None:
    """A sofa with cushions."""
    rng = spot.parts.rng
    width, cover = float(rng.uniform(1.5, 2.1)), cloth(rng)
    spot.box(0, -0.48, 0.06, (width, 0.86, 0.34), cover)
    spot.box(0, -0.13, 0.3, (width, 0.22, 0.5), cover)
    for side in (-1, 1):
        spot.box(side * (width / 2 - 0.09), -0.48, 0.3, (0.18, 0.86, 0.28), cover)
        spot.box(side * (width / 4 - 0.04), -0.52, 0.4, (width / 2 - 0.2, 0.68, 0.1), cover)
    for x in rng.uniform(-width / 3, width / 3, int(rng.integers(0, 4))):
        spot.box(float(x), -0.34, 0.5, (0.38, 0.12, 0.36), cloth(rng), float(rng.uniform(-0.3, 0.3)))
    spot.footprint(0, -0.46, width, 0.9)


def bed(spot: Spot) -> None:
    """A double bed, its head at the wall."""
    rng = spot.parts.rng
    frame = wood(rng)
    spot.box(0, -0.04, 0, (1.62, 0.08, 1.0), frame)
    spot.box(0, -1.05, 0.05, (1.6, 2.0, 0.25), frame)
    spot.box(0, -1.05, 0.3, (1.56, 1.95, 0.2), Surface("fabric", (0.75, 0.74, 0.72), "furniture", 0.6))
    spot.box(0, -1.32, 0.36, (1.64, 1.42, 0.19), cloth(rng))
    for x in (-0.4, 0.4):
        spot.capsule((x - 0.2, -0.3, 0.56), (x + 0.2, -0.3, 0.56), 0.12, Surface("fabric", (0.8, 0.8, 0.78), "furniture", 0.5))
    spot.footprint(0, -1.05, 1.6, 2.0)


def kitchen(spot: Spot) -> None:
    """A kitchen counter with a hob, wall cupboards and a tiled backsplash."""
    rng = spot.parts.rng
    front = Surface("drawers", muted(rng, 0.5), "furniture", None)
    spot.box(0, -0.3, 0, (2.4, 0.58, 0.88), Surface("plain", front.tint, "furniture"))
    spot.box(0, -0.31, 0.88, (2.44, 0.64, 0.04), Surface("terrazzo", (0.22, 0.21, 0.2), "furniture", 0.8, gloss=0.2))
    for x in (-0.9, -0.3, 0.3, 0.9):
        spot.box(x, -0.6, 0.1, (0.58, 0.02, 0.76), front)
        spot.box(x, -0.18, 1.45, (0.58, 0.34, 0.7), Surface("panels", front.tint, "furniture", None))
    spot.box(0, -0.01, 0.92, (2.4, 0.012, 0.53), Surface("tiles", muted(rng, 0.6), "wall", 0.6, gloss=0.2))
    clutter(spot.at(0, -0.25, 0.92), 2.2, 0.2, 6)
    spot.footprint(0, -0.3, 2.4, 0.6)


def fridge(spot: Spot) -> None:
    """A fridge."""
    rng = spot.parts.rng
    shell = Surface("plain", (0.78, 0.78, 0.77) if rng.random() < 0.5 else (0.28, 0.29, 0.3), "furniture", 3.0, gloss=0.2, infrared=0.7)
    spot.box(0, -0.32, 0, (0.62, 0.6, 0.62), shell)
    spot.box(0, -0.32, 0.63, (0.62, 0.6, 1.15), shell)
    spot.box(-0.24, -0.64, 0.75, (0.025, 0.03, 0.4), METAL)
    spot.footprint(0, -0.32, 0.62, 0.62)


def plant(spot: Spot) -> None:
    """A plant in a pot."""
    rng = spot.parts.rng
    tall = float(rng.uniform(0.5, 1.2))
    spot.cylinder(0, -0.3, 0, 0.17, 0.32, Surface("plain", muted(rng, 0.35)))
    spot.cylinder(0, -0.3, 0.3, 0.02, tall * 0.6, Surface("plain", (0.12, 0.07, 0.03)))
    green = Surface("leaves", (0.1, float(rng.uniform(0.22, 0.4)), 0.08), "other", 0.35, infrared=1.4)
    for turn in np.linspace(0, 2 * np.pi, 14, endpoint=False) + rng.random(14):
        out, up = float(rng.uniform(0.08, 0.3)), 0.3 + tall * float(rng.uniform(0.5, 1.0))
        x, y = out * float(np.cos(turn)), out * float(np.sin(turn))
        spot.capsule((0.2 * x, -0.3 + 0.2 * y, 0.3 + 0.35 * (up - 0.3)), (x, -0.3 + y, up), float(rng.uniform(0.025, 0.05)), green)
    spot.footprint(0, -0.3, 0.4, 0.4, 0.8)


def bin_(spot: Spot) -> None:
    """A waste bin."""
    spot.cylinder(0, -0.2, 0, 0.15, 0.42, Surface("plain", muted(spot.parts.rng, 0.2)))
    spot.footprint(0, -0.2, 0.3, 0.3)


def radiator(spot: Spot) -> None:
    """A radiator on the wall."""
    for x in np.linspace(-0.45, 0.45, 10):
        spot.box(float(x), -0.08, 0.12, (0.085, 0.09, 0.55), Surface("flat", (0.72, 0.72, 0.7)))


def bench(spot: Spot) -> None:
    """A bench for those who wait."""
    top = wood(spot.parts.rng)
    spot.box(0, -0.25, 0.4, (1.5, 0.42, 0.05), top)
    for x in (-0.6, 0.6):
        spot.box(x, -0.25, 0, (0.06, 0.38, 0.4), METAL)
    spot.footprint(0, -0.25, 1.5, 0.42, 0.7)


def lockers(spot: Spot) -> None:
    """A row of lockers."""
    paint = muted(spot.parts.rng, 0.35)
    spot.box(0, -0.2, 0.05, (1.6, 0.4, 1.8), Surface("flat", paint, "furniture"))
    for x in (-0.6, -0.2, 0.2, 0.6):
        spot.box(x, -0.41, 0.09, (0.385, 0.02, 1.72), Surface("panels", paint, "furniture", None))
    spot.footprint(0, -0.2, 1.6, 0.4)


def vending(spot: Spot) -> None:
    """A vending machine, lit from inside."""
    rng = spot.parts.rng
    spot.box(0, -0.38, 0.03, (0.95, 0.75, 1.8), Surface("plain", muted(rng, 0.2)))
    spot.box(-0.12, -0.765, 0.5, (0.62, 0.02, 1.2), Surface("books:7", (1.0, 1.0, 1.0), "other", None, 0.7, gloss=0.4))
    spot.footprint(0, -0.38, 0.95, 0.75)


def crate(spot: Spot) -> None:
    """Cardboard boxes, one on the other."""
    rng = spot.parts.rng
    card = Surface("plain", (0.42, 0.27, 0.14), "other")
    bottom = 0.0
    for size in sorted(rng.uniform(0.3, 0.55, int(rng.integers(1, 4))), reverse=True):
        spot.box(
            float(rng.uniform(-0.05, 0.05)),
            -0.3,
            bottom,
            (float(size), float(size) * 0.8, float(size) * 0.7),
            card,
            float(rng.uniform(-0.4, 0.4)),
        )
        bottom += float(size) * 0.7
    spot.footprint(0, -0.3, 0.5, 0.45)


WIDTHS: Final[dict[Piece, float]] = {
    desk: 1.7, shelf: 1.35, cupboard: 1.1, sideboard: 1.6, sofa: 2.2, bed: 1.8, kitchen: 2.6, fridge: 0.7, plant: 0.7, bin_: 0.4,
    radiator: 1.1, bench: 1.6, lockers: 1.7, vending: 1.0, crate: 0.7,
}  # fmt: skip
"""Metres of wall that a piece takes."""
LOW: Final = frozenset({desk, sideboard, sofa, bin_, radiator, bench, crate, bed, plant})
"""Pieces that may stand under a window."""
