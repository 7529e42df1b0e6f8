"""The world `rooms`: offices, living rooms, bedrooms, kitchens and meeting rooms, filmed from a hand's height."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.synthetic.furniture import (
    LOW,
    WIDTHS,
    Piece,
    bed,
    bench,
    bin_,
    chair,
    cloth,
    clutter,
    crate,
    cupboard,
    desk,
    fridge,
    kitchen,
    plant,
    radiator,
    shelf,
    sideboard,
    sofa,
    table,
    wood,
)  # fmt: skip
from pipelines.synthetic.parts import Parts, Spot, Surface
from pipelines.synthetic.people import TEXTURES, Person
from pipelines.synthetic.scene import People, Pose, Scene, Walk, compiled, new_spot
from pipelines.synthetic.shell import DOORS, FRAMES, THICK, Opening, Style, ceiling_panel, muted, pendant, poster, wall

PIECES: Final[dict[str, tuple[Piece, ...]]] = {
    "office": (desk, desk, desk, shelf, cupboard, plant, bin_, radiator, crate),
    "living": (sofa, sideboard, shelf, plant, sofa, radiator, cupboard),
    "bedroom": (bed, cupboard, sideboard, plant, shelf, radiator),
    "kitchen": (kitchen, fridge, sideboard, bin_, plant, shelf),
    "meeting": (sideboard, plant, shelf, bin_, bench, radiator, crate),
}
LAPS: Final = 2.0
"""Rounds of the camera in a sequence: its last fifth, the validation split, sees places that its first laps have seen from elsewhere."""


Range = tuple[float, float]


@dataclass(frozen=True)
class Look:
    """What tells one family of rooms from another: (least, greatest) sizes in metres, uses, light, and how the camera is carried.

    `ambient` is the light without lamps, `warm` the lamps' green and blue beside their red, `level` the camera's height in metres and
    `pitch` its mean tilt in radians, upwards.
    """

    length: Range = (4.6, 7.2)
    width: Range = (4.0, 5.8)
    height: Range = (2.4, 3.1)
    uses: tuple[str, ...] = tuple(PIECES)
    ambient: Range = (0.25, 0.45)
    warm: tuple[Range, Range] = ((0.86, 0.96), (0.68, 0.9))
    exposure: Range = (0.4, 0.5)
    level: Range = (1.28, 1.52)
    pitch: float = -0.14


HOMES: Final = Look()
"""Homes and offices, as in NYU Depth V2."""
WORKPLACES: Final = Look(
    length=(5.6, 8.2), width=(4.6, 6.6), height=(2.6, 3.2), uses=("office", "meeting", "kitchen"), ambient=(0.4, 0.6),
    warm=((0.95, 1.04), (0.92, 1.08)), exposure=(0.46, 0.58), level=(1.35, 1.65), pitch=-0.2,
)  # fmt: skip
"""Offices, meeting rooms and teaching kitchens under cool, bright light, as much of SUN RGB-D."""
HALLS: Final = Look(
    length=(6.8, 9.6), width=(5.6, 7.6), height=(3.0, 4.0), uses=("living", "meeting", "office"), ambient=(0.14, 0.26),
    warm=((0.8, 0.92), (0.6, 0.8)), exposure=(0.34, 0.44), level=(1.5, 1.7), pitch=-0.04,
)  # fmt: skip
"""Larger and dimmer rooms from a tripod's height, as in DIODE Indoor."""


def build(seed: tuple[int, ...], look: Look = HOMES) -> Scene:
    """One room of a family at random."""
    rng = np.random.default_rng([*seed, 11])
    root = new_spot(seed, rng)
    length, width, height = (float(rng.uniform(*sides)) for sides in (look.length, look.width, look.height))
    kind = str(rng.choice(list(look.uses)))
    style = _style(rng, kind)
    root.box(length / 2, width / 2, -0.1, (length + 8, width + 8, 0.1), style.floor)
    root.box(length / 2, width / 2, height, (length + 8, width + 8, 0.1), style.ceiling)
    sides = [root.at(0, width), root.at(length, width, yaw=-math.pi / 2), root.at(length, 0, yaw=math.pi), root.at(0, 0, yaw=math.pi / 2)]
    lengths = [length, width, length, width]
    holes = _openings(rng, lengths, height)
    feature = int(rng.integers(4)) if rng.random() < 0.5 else -1
    for number, (side, long, openings) in enumerate(zip(sides, lengths, holes, strict=True)):
        surface = _wall(rng) if number == feature else None
        wall(side.at(-THICK, 0), long + 2 * THICK, height, style, openings, surface)
        if any(hole.kind in ("glass", "doorway") for hole in openings):
            _beyond(side, long, height, rng)
        _furnish(side, long, openings, PIECES[kind], rng)
    _middle(root.at(length / 2, width / 2, yaw=float(rng.choice([0, math.pi / 2])) if length - width < 1 else 0.0), kind, rng)
    _lamps(root, length, width, height, kind, rng)
    walk = _walk(length, width, look, rng)
    people = _people(root, length, width, walk, rng)
    walls = [
        (-1.0, -1.0, length + 1, 0.0),
        (-1.0, width, length + 1, width + 1),
        (-1.0, -1.0, 0.0, width + 1),
        (length, -1.0, length + 1, width + 1),
    ]
    warm = (1.0, float(rng.uniform(*look.warm[0])), float(rng.uniform(*look.warm[1])))
    return compiled(
        root.parts, height=height, walls=walls, walk=walk, people=people, ambient=float(rng.uniform(*look.ambient)), lamp=warm,
        exposure=float(rng.uniform(*look.exposure)),
    )  # fmt: skip


def _wall(rng: np.random.Generator) -> Surface:
    texture = str(rng.choice(["plaster", "plaster", "stripes", "damask", "brick", "concrete", "plain"]))
    value = {"brick": 0.4, "concrete": 0.45}.get(texture, float(rng.uniform(0.35, 0.8)))
    tint = (0.5, 0.2, 0.13) if texture == "brick" and rng.random() < 0.7 else muted(rng, value)
    return Surface(texture, tint, "wall", {"stripes": 1.6, "damask": 1.8, "brick": 1.9}.get(texture, 2.4))


def _style(rng: np.random.Generator, kind: str) -> Style:
    texture = str(rng.choice(["carpet", "tiles", "planks"] if kind in ("office", "meeting") else ["planks", "planks", "tiles", "checker"]))
    value = {"planks": 0.4, "carpet": 0.22, "tiles": 0.5, "checker": 0.7}[texture]
    wooden = ((0.5, 0.31, 0.16), (0.36, 0.2, 0.1), (0.6, 0.46, 0.3), (0.2, 0.11, 0.06))
    tint = wooden[int(rng.integers(4))] if texture == "planks" else muted(rng, value * float(rng.uniform(0.6, 1.2)))
    gloss = {"planks": 0.35, "carpet": 0.0, "tiles": 0.5, "checker": 0.55}[texture] * float(rng.uniform(0.4, 1.0))
    floor = Surface(texture, tint, "floor", {"planks": 2.0, "carpet": 2.0}.get(texture, 1.8), gloss=gloss)
    panelled = kind in ("office", "meeting")
    ceiling = Surface("ceiling" if panelled else "plain", (0.8, 0.8, 0.78), "other", 2.4)
    door = Surface(str(rng.choice(["panels", "wood", "flat"])), DOORS[int(rng.integers(len(DOORS)))], "wall", None)
    skirting = Surface("flat", (0.7, 0.7, 0.68) if rng.random() < 0.6 else tint, "wall")
    return Style(_wall(rng), floor, ceiling, FRAMES[int(rng.integers(len(FRAMES)))], door, skirting)


def _openings(rng: np.random.Generator, lengths: list[float], height: float) -> list[list[Opening]]:
    """A door, one or two walls with windows, and in some rooms a glass wall or an open doorway to a space beyond."""
    order = [int(side) for side in rng.permutation(4)]
    holes: list[list[Opening]] = [[], [], [], []]
    left = float(rng.uniform(0.4, lengths[order[0]] - 1.4))
    holes[order[0]] = [Opening(left, left + 0.95, 0, 2.05, "door")]
    for side in order[1 : 1 + int(rng.integers(1, 3))]:
        count = int(rng.integers(1, 3))
        pitch = lengths[side] / count
        size, bottom = float(rng.uniform(0.9, 1.5)), float(rng.uniform(0.75, 1.0))
        middles = [pitch * (i + 0.5) + THICK for i in range(count)]
        holes[side] = [Opening(m - size / 2, m + size / 2, bottom, height - 0.3, "window") for m in middles]
    if rng.random() < 0.45:
        side = order[3]
        start, stop = 0.5, lengths[side] - 0.3
        holes[side] = [
            Opening(start, stop - 1.0, 0, min(2.35, height - 0.1), "glass"),
            Opening(stop - 1.0, stop, 0, min(2.35, height - 0.1), "glassdoor"),
        ]
    elif rng.random() < 0.4:
        left = float(rng.uniform(0.6, lengths[order[3]] - 2.0))
        holes[order[3]] = [Opening(left, left + 1.2, 0, 2.1, "doorway")]
    return holes


def _beyond(side: Spot, length: float, height: float, rng: np.random.Generator) -> None:
    """What lies behind a glass wall or doorway: a lit space with a far wall and a few things."""
    deep = float(rng.uniform(1.8, 3.2))
    paint = _wall(rng)
    side.box(length / 2, deep + 0.1, 0, (length + 6, 0.1, height), paint)
    for x in (-2.0, length + 2.0):
        side.box(x, deep / 2 + 0.06, 0, (0.1, deep, height), paint)
    for x in rng.uniform(0.5, length - 0.5, 2):
        spot = side.at(float(x), deep)
        (plant, shelf, crate, cupboard, bin_)[int(rng.integers(5))](spot)
    poster(side.at(float(rng.uniform(1, length - 1)), deep + 0.05), 0, 1.2, 0.8, 0.9, "poster")
    ceiling_panel(side, length / 2, deep / 2, height, (1.2, 0.3), float(rng.uniform(1.5, 3.0)))


def _furnish(side: Spot, length: float, openings: list[Opening], pieces: tuple[Piece, ...], rng: np.random.Generator) -> None:
    """Stand pieces along a wall from left to right, pictures between and above them; doors and glass stay free."""
    cursor = float(rng.uniform(0.1, 0.5))
    while cursor < length - 0.9:
        piece = pieces[int(rng.integers(len(pieces)))]
        stop = cursor + WIDTHS[piece]
        clash = [h for h in openings if h.left - THICK < stop and h.right - THICK > cursor and (h.bottom < 0.5 or piece not in LOW)]
        if stop > length - 0.55 or clash:
            cursor = max([h.right - THICK for h in clash], default=cursor) if clash and rng.random() < 0.5 else cursor + 0.35
            continue
        if rng.random() < 0.82:
            piece(side.at((cursor + stop) / 2, 0))
        free = not any(h.left - THICK < stop and h.right - THICK > cursor for h in openings)
        if free and rng.random() < 0.6 and piece in LOW:
            poster(
                side.at((cursor + stop) / 2, 0),
                0,
                float(rng.uniform(1.35, 1.5)),
                float(rng.uniform(0.4, 1.0)),
                float(rng.uniform(0.4, 0.7)),
                "poster",
            )
        cursor = stop + float(rng.uniform(0.05, 0.6))


def _middle(spot: Spot, kind: str, rng: np.random.Generator) -> None:
    if kind in ("meeting", "kitchen") or (kind == "office" and rng.random() < 0.4):
        long = 2.0 if kind == "meeting" else 1.4
        table(spot, long, 0.9)
        cover = cloth(rng) if rng.random() < 0.5 else wood(rng)
        for x in np.linspace(-long / 2 + 0.35, long / 2 - 0.35, 3 if kind == "meeting" else 2):
            for turn, y in ((0.0, 0.62), (math.pi, -0.62)):
                chair(spot.at(float(x), y + float(rng.uniform(-0.1, 0.15)), 0, turn + float(rng.normal(0, 0.2))), cover)
    if kind in ("living", "bedroom") or rng.random() < 0.2:
        rug = Surface(str(rng.choice(["damask", "stripes", "carpet", "fabric"])), muted(rng, 0.3), "floor", 0.9)
        spot.box(0, 0, 0, (2.2, 1.5, 0.012), rug)
    if kind == "living":
        table(spot, 1.0, 0.6, 0.42)
    elif kind == "bedroom" and rng.random() < 0.5:
        clutter(spot, 1.5, 1.0, 3)


def _lamps(root: Spot, length: float, width: float, height: float, kind: str, rng: np.random.Generator) -> None:
    strength = float(rng.uniform(1.6, 3.2))
    if kind in ("office", "meeting", "kitchen"):
        for x in (0.27, 0.73):
            for y in (0.3, 0.7):
                ceiling_panel(root, length * x, width * y, height, (1.2, 0.3), strength)
    else:
        pendant(root, length / 2, width / 2, height, 0.25, 2.2 * strength)
        root.light(length * 0.2, width * 0.2, 1.5, 0.5 * strength, 0.5)
        root.light(length * 0.8, width * 0.75, height - 0.4, strength, 0.8)


def _walk(length: float, width: float, look: Look, rng: np.random.Generator) -> Walk:
    """Laps around the middle of the room, looking across it, up and down a little, as a hand does."""
    reach = max(length / 2 - 1.35, 0.5), max(width / 2 - 1.3, 0.45)
    start, turn = float(rng.uniform(0, 2 * math.pi)), float(rng.choice([-1, 1]))
    level, waves = float(rng.uniform(*look.level)), rng.uniform(0, 2 * math.pi, 5)

    def walk(phase: float) -> Pose:
        angle = start + turn * 2 * math.pi * LAPS * phase
        sway = 2 * math.pi * phase
        far = 1 + 0.12 * math.sin(3 * sway + waves[0])
        position = (
            length / 2 + far * reach[0] * math.cos(angle),
            width / 2 + far * reach[1] * math.sin(angle),
            level + 0.07 * math.sin(5 * sway + waves[1]),
        )
        yaw = angle + math.pi + 0.55 * math.sin(7 * sway + waves[2])
        # Yaw and the last part of pitch make an odd number of half waves a lap, a quarter apart: each of them is the same in both laps where
        # it crosses its middle, and a second lap that shows a picture of the first would leak into validation.
        pitch = look.pitch + 0.15 * math.sin(6 * sway + waves[3]) + 0.05 * math.cos(7 * sway + waves[2])
        return Pose(position, yaw, pitch, 0.03 * math.sin(9 * sway + waves[4]))

    return walk


def _people(root: Spot, length: float, width: float, walk: Walk, rng: np.random.Generator) -> People | None:
    """Somebody standing where the camera does not pass and no furniture is."""
    track = np.array([walk(phase).position[:2] for phase in np.linspace(0, 1, 120)])
    standing: list[tuple[Person, float, float, float]] = []
    for _ in range(60):
        if len(standing) == 2 or rng.random() < 0.04:
            break
        x, y = float(rng.uniform(0.45, length - 0.45)), float(rng.uniform(0.45, width - 0.45))
        near = np.hypot(track[:, 0] - x, track[:, 1] - y).min() < 0.75
        stands = any(abs(x - fx) < fw / 2 + 0.22 and abs(y - fy) < fd / 2 + 0.22 for fx, fy, fw, fd, _ in root.parts.footprints)
        if not near and not stands:
            standing.append((Person.random(rng), x, y, float(rng.uniform(0, 2 * math.pi))))
            root.footprint(x, y, 0.4, 0.4, 0.7)
    if not standing:
        return None
    for texture in TEXTURES:
        root.parts.atlas.index(texture)

    def people(parts: Parts, phase: float) -> None:
        for person, x, y, yaw in standing:
            sway = math.sin(2 * math.pi * 3 * phase + yaw)
            person.stand(Spot(parts, x, y, 0, yaw + 0.5 * sway), 0.15 * sway)

    return people
