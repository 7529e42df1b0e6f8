"""The worlds there are. One more is a file with a `build` function and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.errors import VortexError
from pipelines.synthetic import corridor, rooms
from pipelines.synthetic.stage import Scene
from pipelines.synthetic.tof import Sensor


@dataclass(frozen=True)
class World:
    """A family of places, and what they are filmed with.

    `kind` is the domain's kind in `vortex.toml`; `focal` is fx over the picture's width, and pixels are square.
    """

    build: Callable[[tuple[int, ...]], Scene]
    kind: str
    camera: str
    focal: float
    sensor: Sensor


WORLDS: Final[dict[str, World]] = {
    # The Kinect of NYU Depth V2: fx 518.86 px of 640.
    "rooms": World(rooms.build, "room", "synthetic-kinect", 0.811, Sensor(lost=0.37, reach=6.5, floor=0.016)),
    # A D455 colour stream at 640×480: fx about 385 px. A robot's low-power ToF beside it.
    "corridor": World(corridor.build, "corridor", "synthetic-d455", 0.602, Sensor(lost=0.77, reach=5.5, floor=0.094, adapts=0.85)),
}


def world(name: str) -> World:
    """Look a world up. Raises VortexError naming the known ones."""
    if name not in WORLDS:
        raise VortexError(f"unknown world {name!r}; known worlds: {', '.join(sorted(WORLDS))}", "name one of them with --world")
    return WORLDS[name]
