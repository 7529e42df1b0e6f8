"""The building around things: walls with openings, doors, windows, glass walls, lamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.synthetic.parts import Colour, Spot, Surface

THICK: Final = 0.12
"""Metres of wall behind its front face."""

FRAMES: Final = (
    Surface("flat", (0.62, 0.63, 0.64), "wall"), Surface("flat", (0.06, 0.065, 0.07), "wall", infrared=0.8),
    Surface("wood", (0.34, 0.2, 0.1), "wall", 1.0), Surface("flat", (0.8, 0.8, 0.78), "wall"),
)  # fmt: skip
"""Aluminium, black steel, wood, white: of door and window frames. A frame belongs to its wall, as NYU's labels have it."""

DOORS: Final[tuple[Colour, ...]] = (
    (0.5, 0.33, 0.18), (0.3, 0.16, 0.08), (0.72, 0.72, 0.7), (0.12, 0.2, 0.32), (0.42, 0.44, 0.46), (0.5, 0.12, 0.08), (0.18, 0.3, 0.2),
)  # fmt: skip


@dataclass(frozen=True)
class Opening:
    """A hole in a wall from `left` to `right` along it and from `bottom` to `top`; `kind` is what fills it."""

    left: float
    right: float
    bottom: float
    top: float
    kind: str


@dataclass(frozen=True)
class Style:
    """The materials of one building."""

    wall: Surface
    floor: Surface
    ceiling: Surface
    frame: Surface
    door: Surface
    skirting: Surface | None = None
    dado: Surface | None = None


def wall(spot: Spot, length: float, height: float, style: Style, openings: list[Opening], surface: Surface | None = None) -> None:
    """A wall along local x from 0 to `length`, seen from -y: solid pieces around the openings, and what fills them."""
    face = surface or style.wall

    def piece(left: float, right: float, bottom: float, top: float) -> None:
        if right - left > 0.005 and top - bottom > 0.005:
            spot.box((left + right) / 2, THICK / 2, bottom, (right - left, THICK, top - bottom), face)
            low = bottom < 0.01 and top > 0.5
            if low and style.skirting:
                spot.box((left + right) / 2, -0.006, 0, (right - left, 0.012, 0.09), style.skirting)
            if low and style.dado:
                spot.box((left + right) / 2, -0.002, 0, (right - left, 0.004, min(1.05, top)), style.dado)

    edge = 0.0
    for hole in sorted(openings, key=lambda opening: opening.left):
        piece(edge, hole.left, 0, height)
        piece(hole.left, hole.right, 0, hole.bottom)
        piece(hole.left, hole.right, hole.top, height)
        fill(spot, hole, style)
        edge = hole.right
    piece(edge, length, 0, height)


def fill(spot: Spot, hole: Opening, style: Style) -> None:
    """Put a door, a window, a glass section or nothing into an opening of a wall."""
    rng, middle = spot.parts.rng, (hole.left + hole.right) / 2
    width, height = hole.right - hole.left, hole.top - hole.bottom
    here = spot.at(middle, 0, hole.bottom)
    if hole.kind == "door":
        _frame(here, width, height, style, 0.06, sill=False)
        inset = float(rng.choice([0.0, 0.03, 0.07]))
        here.box(0, inset + 0.02, 0.005, (width - 0.1, 0.04, height - 0.055), style.door)
        side = float(rng.choice([-1, 1])) * (width / 2 - 0.13)
        metal = Surface("flat", (0.5, 0.5, 0.52), "wall", infrared=0.5)
        here.capsule((side, inset - 0.05, 1.03), (side * 0.72, inset - 0.05, 1.03), 0.012, metal)
        here.cylinder(side, inset - 0.02, 0.98, 0.018, 0.1, metal)
    elif hole.kind == "window":
        window(here, width, height, style)
    elif hole.kind in ("glass", "glassdoor"):
        glazing(here, width, height, style, door=hole.kind == "glassdoor")


def window(here: Spot, width: float, height: float, style: Style) -> None:
    """A window: panes, a cross of frames, the outdoors behind, and daylight coming in."""
    rng = here.parts.rng
    _frame(here, width, height, style, 0.05)
    here.pane(0, 0.07, 0, width, height, Surface("flat", (0.93, 0.95, 0.95), "glass", gloss=0.8))
    for share in np.linspace(-0.5, 0.5, int(rng.integers(2, 4)))[1:-1]:
        here.box(float(share) * width, 0.06, 0, (0.045, 0.05, height), style.frame)
    brightness = float(rng.uniform(1.2, 2.6))
    view = f"outdoors:{int(rng.integers(3))}"
    here.box(0, 1.5, -1.2, (width + 4.5, 0.02, height + 2.6), Surface(view, (0.9, 0.9, 0.9), "other", None, brightness))
    here.box(0, -0.04, -0.04, (width + 0.12, 0.16, 0.035), style.frame)
    here.light(0, -0.35, height / 2, 1.1 * width * height * brightness, 0.9, day=True)
    if rng.random() < 0.45:
        cloth = Surface("fabric", muted(rng, 0.5, 0.4), "other", 0.4, infrared=1.2)
        for side in (-1, 1):
            for fold in range(4):
                x = side * (width / 2 + 0.16 - 0.09 * fold)
                here.cylinder(x, -0.09 - 0.03 * (fold % 2), -0.6, 0.06, height + 0.75, cloth)
    elif rng.random() < 0.4:
        drop = float(rng.uniform(0.2, 0.6)) * height
        here.box(0, 0.03, height - drop, (width - 0.06, 0.012, drop), Surface("stripes", (0.75, 0.74, 0.7), "other", 0.5))


def glazing(here: Spot, width: float, height: float, style: Style, door: bool = False) -> None:
    """A floor-to-ceiling glass section with posts, a rail and perhaps a manifestation strip; or a glass door in it."""
    rng = here.parts.rng
    tint: Colour = ((0.9, 0.94, 0.92), (0.84, 0.9, 0.9), (0.88, 0.9, 0.94))[int(rng.integers(3))]
    here.pane(0, 0.03, 0.04, width, height - 0.04, Surface("flat", tint, "glass", gloss=1.0))
    posts = max(1, round(width / 1.2))
    for post in np.linspace(-0.5, 0.5, posts + 1):
        here.box(float(post) * (width - 0.05), 0.03, 0, (0.05, 0.07, height), style.frame)
    for z in (0.0, height - 0.06):
        here.box(0, 0.03, z, (width, 0.07, 0.06), style.frame)
    if door:
        here.box(0, 0.03, 0.95, (width - 0.1, 0.06, 0.04), style.frame)
        here.capsule((width * 0.32, -0.04, 0.8), (width * 0.32, -0.04, 1.3), 0.014, Surface("flat", (0.5, 0.5, 0.5), "other"))
    elif rng.random() < 0.5:
        strip = Surface("stripes", (0.8, 0.82, 0.82), "glass", 0.25)
        here.box(0, 0.018, float(rng.uniform(0.95, 1.3)), (width - 0.06, 0.004, float(rng.uniform(0.05, 0.2))), strip)


def _frame(here: Spot, width: float, height: float, style: Style, bar: float, sill: bool = True) -> None:
    for side in (-1, 1):
        here.box(side * (width / 2 - bar / 2), 0.05, 0, (bar, 0.16, height), style.frame)
    here.box(0, 0.05, height - bar, (width, 0.16, bar), style.frame)
    if sill:
        here.box(0, 0.05, 0, (width, 0.16, bar), style.frame)


def ceiling_panel(spot: Spot, x: float, y: float, z: float, size: tuple[float, float], power: float) -> None:
    """A fluorescent panel under the ceiling, with a rim, and its light."""
    spot.box(x, y, z - 0.025, (size[0] + 0.06, size[1] + 0.06, 0.025), Surface("flat", (0.6, 0.6, 0.6)))
    spot.box(x, y, z - 0.035, (*size, 0.012), Surface("flat", (1.0, 0.98, 0.95), "other", 1.0, 5.0, infrared=0.6))
    spot.light(x, y, z - 0.25, power, 0.5)


def pendant(spot: Spot, x: float, y: float, ceiling: float, drop: float, power: float) -> None:
    """A lamp on a cord."""
    rng = spot.parts.rng
    spot.cylinder(x, y, ceiling - drop, 0.008, drop, Surface("flat", (0.05, 0.05, 0.05)))
    spot.cylinder(x, y, ceiling - drop - 0.18, float(rng.uniform(0.12, 0.24)), 0.18, Surface("flat", muted(rng, 0.6), emission=0.8))
    spot.capsule((x, y, ceiling - drop - 0.17), (x, y, ceiling - drop - 0.17), 0.07, Surface("flat", (1, 0.95, 0.85), "other", 1.0, 5.0))
    spot.light(x, y, ceiling - drop - 0.3, power, 0.35)


def poster(spot: Spot, x: float, z: float, width: float, height: float, kind: str) -> None:
    """Something flat on a wall: a picture, a whiteboard. It belongs to the wall, as NYU's labels have it."""
    variant = int(spot.parts.rng.integers(9)) if kind == "poster" else int(spot.parts.rng.integers(2))
    spot.box(x, -0.012, z, (width, 0.02, height), Surface(f"{kind}:{variant}", (0.85, 0.85, 0.85), "wall", None, gloss=0.1))


def muted(rng: np.random.Generator, value: float, strength: float = 0.2) -> Colour:
    """A colour of about the linear brightness `value`; `strength` 0 is grey, 1 is loud. Buildings are painted rather warm than cold."""
    base = rng.random(3) * np.array([1.15, 1.0, 0.85])
    # A wall is rarely pink or violet: green follows the other two.
    base[1] = 0.4 * base[1] + 0.3 * (base[0] + base[2])
    mixed = np.minimum(value * (1 - strength + strength * base / base.mean()), 0.9)
    return float(mixed[0]), float(mixed[1]), float(mixed[2])
