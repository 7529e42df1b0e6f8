"""The worlds there are. One more is a file with a `build` function and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from core.errors import VortexError
from pipelines.synthetic import corridor, rooms
from pipelines.synthetic.film import Film
from pipelines.synthetic.scene import Scene
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
    film: Film = field(default_factory=Film)


WORLDS: Final[dict[str, World]] = {
    # The Kinect of NYU Depth V2: fx 518.86 px of 640.
    "rooms": World(rooms.build, "room", "synthetic-kinect", 0.811, Sensor(lost=0.37, reach=6.5, floor=0.016)),
    # A D455 colour stream at 640×480: fx about 385 px. A robot's low-power ToF beside it.
    "corridor": World(corridor.build, "corridor", "synthetic-d455", 0.602, Sensor(lost=0.77, reach=5.5, floor=0.094, adapts=0.85)),
    # SUN RGB-D's Kinect 2: fx 529.5 px of the 730 that its pictures are cut to.
    "workplaces": World(
        partial(rooms.build, look=rooms.WORKPLACES), "room", "synthetic-kinect2", 0.725, Sensor(lost=0.22, reach=7.5, floor=0.0045),
        Film(cast=(0.97, 1.0, 1.06), vignette=0.24, grain=(0.004, 0.009)),
    ),
    # DIODE's laser scanner: fx 886.81 px of 1024, nearly everything comes back.
    "halls": World(
        partial(rooms.build, look=rooms.HALLS), "room", "synthetic-faro", 0.866, Sensor(lost=0.08, reach=25.0, floor=0.0005),
        Film(metering=0.1, cast=(1.05, 1.0, 0.93), vignette=0.03, grain=(0.002, 0.005)),
    ),
    # The same corridors through a Femto Bolt: 65 degrees wide at 4:3, a noisier picture, and the ToF that loses 78 %.
    "corridor_femto": World(
        corridor.build, "corridor", "synthetic-femto-bolt", 0.785, Sensor(lost=0.78, reach=5.46, floor=0.08, adapts=0.85),
        Film(metering=0.12, balance=0.04, cast=(0.96, 1.0, 1.05), vignette=0.3, grain=(0.018, 0.03)),
    ),
}  # fmt: skip


def world(name: str) -> World:
    """Look a world up. Raises VortexError naming the known ones."""
    if name not in WORLDS:
        raise VortexError(f"unknown world {name!r}; known worlds: {', '.join(sorted(WORLDS))}", "name one of them with --world")
    return WORLDS[name]
