"""The world `corridor`: long parallel walls, a polished floor, glass sections with rooms behind, doors; filmed from a robot's height."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import numpy as np

from pipelines.synthetic.furniture import Piece, bench, bin_, chair, cloth, crate, cupboard, lockers, plant, radiator, shelf, table, vending
from pipelines.synthetic.parts import Parts, Spot, Surface
from pipelines.synthetic.people import TEXTURES, Person
from pipelines.synthetic.scene import People, Pose, Scene, Walk, compiled, new_spot
from pipelines.synthetic.shell import DOORS, FRAMES, THICK, Opening, Style, ceiling_panel, muted, poster, wall

SHALLOW: Final[tuple[tuple[Piece, float], ...]] = ((bench, 1.7), (lockers, 1.8), (plant, 0.8), (bin_, 0.5), (radiator, 1.2), (crate, 0.8))
LAPS: Final = 2.0
"""Patrols, there and back: the last fifth of a sequence, the validation split, sees again what the first patrol saw."""


def build(seed: tuple[int, ...]) -> Scene:
    """One corridor at random."""
    rng = np.random.default_rng([*seed, 22])
    root = new_spot(seed, rng)
    length, width, height = float(rng.uniform(12, 17)), float(rng.uniform(2.2, 3.0)), float(rng.uniform(2.4, 3.0))
    style = _style(rng)
    outside = int(rng.integers(3))
    deep = [0.3 if outside == side else float(rng.uniform(2.6, 4.0)) for side in (0, 1)]
    middle, span = (width + deep[1] - deep[0]) / 2, width + deep[0] + deep[1] + 0.4
    root.box(length / 2, middle, -0.1, (length + 1, span, 0.1), style.floor)
    root.box(length / 2, middle, height, (length + 1, span, 0.1), style.ceiling)
    for side, start in ((1, root.at(0, width)), (0, root.at(length, 0, yaw=math.pi))):
        openings = _sections(rng, length, height, outside == side)
        wall(start, length, height, style, openings)
        if outside != side:
            _rooms_behind(start, length, height, deep[side], openings, rng)
        _along(start, length, width, openings, rng)
    for end in (root.at(length, width, yaw=-math.pi / 2), root.at(0, 0, yaw=math.pi / 2)):
        _end(end, width, height, style, rng)
    power = float(rng.uniform(1.1, 2.0))
    pitch = float(rng.uniform(2.0, 2.8))
    count = int(length / pitch)
    for i in range(count):
        ceiling_panel(root, (i + 0.5) * length / count, width / 2, height, (1.2, 0.28) if rng.random() < 0.9 else (0.6, 0.6), power)
    walk = _walk(length, width, rng)
    people = _people(root, length, width, rng)
    walls = [
        (-1.0, -0.5, length + 1, 0.0),
        (-1.0, width, length + 1, width + 0.5),
        (-1.0, -1.0, 0.0, width + 1),
        (length, -1.0, length + 1, width + 1),
    ]
    tone = (1.0, float(rng.uniform(0.93, 1.02)), float(rng.uniform(0.82, 1.04)))
    return compiled(
        root.parts, height=height, walls=walls, walk=walk, people=people, ambient=float(rng.uniform(0.3, 0.5)), lamp=tone,
        exposure=float(rng.uniform(0.38, 0.48)),
    )  # fmt: skip


def _style(rng: np.random.Generator) -> Style:
    texture = str(rng.choice(["terrazzo", "tiles", "plain", "checker", "concrete"]))
    tint = muted(rng, float(rng.uniform(0.22, 0.5)))
    floor = Surface(
        texture,
        tint,
        "floor",
        {"terrazzo": 0.8, "tiles": 2.0, "checker": 2.4}.get(texture, 2.4),
        gloss=float(rng.uniform(0.75, 1.0)),
        infrared=0.8,
    )
    paint = Surface(
        str(rng.choice(["plaster", "plaster", "concrete", "brick", "plain"])), muted(rng, float(rng.uniform(0.4, 0.75))), "wall", 2.2
    )
    door = Surface(str(rng.choice(["panels", "wood", "flat"])), DOORS[int(rng.integers(len(DOORS)))], "wall", None)
    skirting = Surface("flat", muted(rng, float(rng.choice([0.08, 0.3, 0.6]))), "wall")
    dado = Surface("plain", muted(rng, float(rng.uniform(0.15, 0.5))), "wall", gloss=0.1) if rng.random() < 0.35 else None
    return Style(
        paint, floor, Surface("ceiling", (0.8, 0.8, 0.79), "other", 2.4), FRAMES[int(rng.integers(len(FRAMES)))], door, skirting, dado
    )


def _sections(rng: np.random.Generator, length: float, height: float, outside: bool) -> list[Opening]:
    """Wall, door, glass, wall … along one side; the outer side of a building has windows instead of glass rooms."""
    holes: list[Opening] = []
    cursor = float(rng.uniform(0.4, 1.2))
    top = min(2.35, height - 0.08)
    while cursor < length - 1.6:
        draw = rng.random()
        if draw < 0.42:
            holes.append(Opening(cursor, cursor + 0.98, 0, 2.06, "door"))
        elif outside:
            holes.append(Opening(cursor, min(cursor + float(rng.uniform(1.0, 1.8)), length - 0.3), 0.85, height - 0.3, "window"))
        elif draw < 0.9:
            holes.append(Opening(cursor, min(cursor + float(rng.uniform(1.6, 4.0)), length - 0.5), 0, top, "glass"))
            if rng.random() < 0.4 and holes[-1].right < length - 1.6:
                holes.append(Opening(holes[-1].right, holes[-1].right + 1.0, 0, top, "glassdoor"))
        else:
            holes.append(Opening(cursor, cursor + 1.1, 0, 2.1, "doorway"))
        cursor = holes[-1].right + float(rng.uniform(0.35, 3.0))
    return holes


def _rooms_behind(side: Spot, length: float, height: float, deep: float, openings: list[Opening], rng: np.random.Generator) -> None:
    """Rooms behind the glass of one side: carpet, a far wall, partitions between them, a table, a lamp that may be off."""
    side.box(length / 2, deep + 0.05, 0, (length + 1, 0.1, height), Surface("plaster", muted(rng, 0.6), "wall"))
    # Between the corridor's own floor and the carpet lies the wall, so the step is never seen.
    side.box(length / 2, THICK + (deep - THICK) / 2, 0, (length + 1, deep - THICK, 0.01), Surface("carpet", muted(rng, 0.2), "floor", 2.0))
    groups: list[list[Opening]] = []
    for hole in sorted((h for h in openings if h.kind in ("glass", "glassdoor", "doorway")), key=lambda h: h.left):
        if groups and hole.left - groups[-1][-1].right < 0.1:
            groups[-1].append(hole)
        else:
            groups.append([hole])
    bounds = [-0.4, *[(a[-1].right + b[0].left) / 2 for a, b in pairwise(groups)], length + 0.4]
    for x in bounds:
        side.box(x, THICK + (deep - THICK) / 2, 0, (0.08, deep - THICK, height), Surface("plaster", muted(rng, 0.55), "wall"))
    for left, right in pairwise(bounds):
        middle = (left + right) / 2
        if rng.random() < 0.75:
            ceiling_panel(side, middle, deep / 2, height, (1.2, 0.3), float(rng.uniform(1.0, 2.6)))
        if right - left > 2.2:
            desk = side.at(middle, deep / 2 + 0.3)
            cover = cloth(rng)
            table(desk, min(1.6, right - left - 0.8), 0.8)
            chair(desk.at(0.2, -0.6, 0, math.pi + float(rng.normal(0, 0.3))), cover)
            chair(desk.at(-0.3, 0.6, 0, float(rng.normal(0, 0.3))), cover)
        (shelf, cupboard, plant, crate)[int(rng.integers(4))](side.at(middle + float(rng.uniform(-0.4, 0.4)), deep))
        poster(side.at(left + 0.7, deep), 0, 1.2, 0.7, 0.9, "poster")


def _along(side: Spot, length: float, width: float, openings: list[Opening], rng: np.random.Generator) -> None:
    """What stands and hangs along a wall: benches, bins, notice boards, an extinguisher, a sign above each door."""
    edges = [0.0, *[edge for hole in openings for edge in (hole.left, hole.right)], length]
    for left, right in zip(edges[::2], edges[1::2], strict=True):
        free = right - left
        if free > 0.7 and rng.random() < 0.55:
            kind = "board" if rng.random() < 0.25 else "poster"
            wide = min(free - 0.2, float(rng.uniform(0.45, 1.3)))
            poster(side.at((left + right) / 2, 0), 0, float(rng.uniform(1.1, 1.35)), wide, float(rng.uniform(0.5, 0.8)), kind)
        fitting = [piece for piece, wide in SHALLOW if wide < free - 0.1]
        if fitting and rng.random() < 0.7:
            fitting[int(rng.integers(len(fitting)))](side.at((left + right) / 2, 0))
        elif free > 0.5 and rng.random() < 0.3:
            red = Surface("plain", (0.55, 0.02, 0.02))
            side.cylinder(left + 0.25, -0.1, 0.75, 0.08, 0.42, red)
            side.cylinder(left + 0.25, -0.1, 1.17, 0.025, 0.09, Surface("flat", (0.03, 0.03, 0.03)))
    for hole in openings:
        if hole.kind == "door" and rng.random() < 0.7:
            side.box(hole.right + 0.16, -0.008, 1.45, (0.2, 0.016, 0.14), Surface("board:1", (0.7, 0.72, 0.75), "wall", None))


def _end(end: Spot, width: float, height: float, style: Style, rng: np.random.Generator) -> None:
    """The end of a corridor: a double door, a window, daylight through a glass front, or a wall with a machine before it."""
    draw = rng.random()
    half = width / 2
    if draw < 0.35:
        wall(end, width, height, style, [Opening(half - 0.9, half, 0, 2.1, "door"), Opening(half, half + 0.9, 0, 2.1, "door")])
    elif draw < 0.6:
        wall(end, width, height, style, [Opening(half - 0.6, half + 0.6, 0.85, height - 0.35, "window")])
    elif draw < 0.8:
        top = min(2.4, height - 0.05)
        wall(end, width, height, style, [Opening(0.1, width - 0.1, 0, top, "glass")])
        end.box(
            half, 3.0, -1.0, (width + 14, 0.02, 6.0), Surface("outdoors:1", (0.9, 0.9, 0.9), "other", None, float(rng.uniform(1.2, 2.4)))
        )
        end.box(half, 1.6, -0.1, (width + 14, 3.0, 0.05), Surface("concrete", (0.4, 0.4, 0.38), "floor"))
        end.light(half, -0.4, 1.2, float(rng.uniform(2, 5)), 0.9, day=True)
    else:
        wall(end, width, height, style, [])
        poster(end.at(half, 0), 0, 1.0, 1.0, 1.2, "poster")
        (vending if rng.random() < 0.5 else plant)(end.at(half - 0.4, 0))
    sign = Surface("flat", (0.05, 0.75, 0.25), "other", None, 1.2)
    if height > 2.5:
        end.box(half, -0.03, min(2.42, height - 0.2), (0.34, 0.03, 0.16), sign)


def _walk(length: float, width: float, rng: np.random.Generator) -> Walk:
    """Patrols from end to end: drive, turn on the spot, drive back; never quite straight."""
    waves, level = rng.uniform(0, 2 * math.pi, 3), float(rng.uniform(0.42, 0.58))
    first, last = 1.6, length - 1.7
    offset = float(rng.uniform(0, 1))

    def walk(phase: float) -> Pose:
        lap = (LAPS * phase + offset) % 1.0
        back, part = lap >= 0.5, (lap % 0.5) / 0.5
        drive, turn = min(part / 0.84, 1.0), max(part - 0.84, 0.0) / 0.16
        along = first + (last - first) * (1 - drive if back else drive)
        # Not a whole number of sways a lap: the second lap must not show the pictures of the first, which would leak into validation. Yaw and
        # pitch are a quarter apart, because each of them is the same in both laps where it crosses its middle.
        sway = 2 * math.pi * 0.7 * LAPS * phase
        side = width * 0.46 + 0.07 * math.sin(3 * sway + waves[0])
        smooth = turn * turn * (3 - 2 * turn)
        yaw = math.pi * (smooth + back) + 0.16 * math.sin(5 * sway + waves[1])
        bump = 0.012 * math.sin(40 * sway + waves[2])
        return Pose((along, side, level + 0.3 * bump), yaw, 0.02 + bump + 0.05 * math.cos(5 * sway + waves[1]), 0.5 * bump)

    return walk


def _people(root: Spot, length: float, width: float, rng: np.random.Generator) -> People | None:
    """A person now and then, walking up and down on the robot's left-hand side, or standing there."""
    walkers = [
        (Person.random(rng), float(rng.uniform(0, 1)), float(rng.uniform(1.5, 4.5)), rng.random() < 0.75)
        for _ in range(int(rng.integers(0, 4)))
    ]
    if not walkers:
        return None
    for texture in TEXTURES:
        root.parts.atlas.index(texture)

    def people(parts: Parts, phase: float) -> None:
        for person, start, speed, walks in walkers:
            way = (start + (speed * phase if walks else 0.0)) % 1.0
            along = 0.9 + (length - 1.8) * (2 * way if way < 0.5 else 2 - 2 * way)
            heading = (0.0 if way < 0.5 else math.pi) if walks else -math.pi / 2 + start
            person.stand(Spot(parts, along, width - 0.42, 0, heading), math.sin(2 * math.pi * along / 1.3) if walks else 0.1)

    return people
