"""The geometric teacher: floor, wall, ceiling and glass from metric depth, the camera and gravity, without a learned weight.

Planes are found in the cloud of points (planes.py, walls.py), pixels are given to them (layout.py), and panes are looked for in the walls
(panes.py). Nothing is drawn at random, so the same frame has the same labels everywhere. Furniture, people and whatever else does not lie
on a plane of the room stays undecided (255); a ceiling is `other`, as NYU40's mapping has it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.classes import IGNORE
from models.teachers.contract import TeacherError, View
from models.teachers.panes import framed_panes, lost_panes
from models.teachers.planes import Cloud, Doubles, Points, find_down, level_plane, observe, points
from models.teachers.room_layout import GLASS, Room, fill, first_met, foot, on_planes
from models.teachers.walls import backed, judge, upright_planes

REVISION: Final = 1
"""Goes up whenever the method gives other labels than before: it is part of the labels' provenance."""
ROWS: Final = 120
"""Planes are looked for in a picture thinned to about this many rows."""
KNOWN: Final = 3.0
"""Degrees by which a given direction of gravity may still be bettered: poses are not exact either."""
UPRIGHT: Final = (0.0, 1.0, 0.0)
"""Gravity in a camera that is held upright: the prior where nothing is known."""
LEAST_LEVEL: Final = 0.003
LEAST_UPRIGHT: Final = 0.004
"""Shares of the picture that a floor or ceiling, and a wall, must cover to be found."""
CEILING: Final = (0.3, 4.0)
"""Metres above the camera between which a ceiling is looked for."""


@dataclass(frozen=True)
class GeometricSettings:
    """`[teachers.geometric]` of vortex.toml.

    `window` is the side of the local plane fits, in pixels of a picture of 240 rows. `tilt` is how far the camera may be from upright where
    gravity is not known, in degrees. `floor` are metres below the camera between which the floor is looked for. `framed_panes` labels flat
    panels that their wall frames on all sides as glass, in depth that is exact enough to show them.
    """

    window: int = 11
    tilt: float = 40.0
    floor: tuple[float, float] = (0.08, 3.0)
    framed_panes: bool = True

    def __post_init__(self) -> None:
        """Raise TeacherError for values out of range."""
        if not (5 <= self.window <= 41 and self.window % 2):
            raise TeacherError(f"teacher geometric: window = {self.window} is not odd and 5 to 41", "leave it out, or write window = 11")
        if not 0 < self.tilt <= 60:
            raise TeacherError(
                f"teacher geometric: tilt = {self.tilt} is not above 0 and up to 60 degrees", "leave it out, or write tilt = 40"
            )
        if not 0 < self.floor[0] < self.floor[1] <= 20:
            raise TeacherError(f"teacher geometric: floor = {list(self.floor)} is no range of metres", "write floor = [0.08, 3.0]")


class Geometric:
    """Floor, wall and glass from depth (a StructureTeacher)."""

    name = "geometric"

    def __init__(self, settings: GeometricSettings | None = None) -> None:
        self.settings = settings or GeometricSettings()

    def describe(self) -> dict[str, object]:
        """What decides the labels."""
        return {
            "teacher": self.name,
            "model": f"planes, revision {REVISION}",
            "weights_sha256": None,
            "library": f"numpy {np.__version__.split('.')[0]}",
            "parameters": asdict(self.settings) | {"floor": list(self.settings.floor)},
        }

    def close(self) -> None:
        """Nothing is held."""

    def structure(self, view: View) -> NDArray[np.uint8]:
        """Class ids uint8 [H,W], 255 where undecided. Raises TeacherError without a usable camera and metric depth."""
        seen, down = self._read(view)
        step = max(1, round(view.size[0] / ROWS))
        cloud = observe(seen, max(5, 2 * int(self.settings.window * view.size[0] / 480) + 1), step)
        room = self.find_room(cloud, down)
        surfaces = on_planes(seen, cloud, step, room)
        if room.floor is None and (lowest := foot(seen, room, surfaces)) is not None:
            room = replace(room, floor=(room.down, lowest))
        first = first_met(seen, room, surfaces.shell)
        labels = surfaces.labels.copy()
        panes, doubtful = lost_panes(seen, view.rgb, surfaces, first)
        labels[panes] = GLASS
        if self.settings.framed_panes:
            labels[framed_panes(seen, surfaces, room.noise)] = GLASS
        return fill(seen, labels, np.where(doubtful, np.uint8(IGNORE), first))

    def find_room(self, cloud: Cloud, down: Doubles | None) -> Room:
        """The planes of the room. `down` is the unit vector of gravity where it is known."""
        tolerance = self.settings.tilt if down is None else KNOWN
        gravity, _ = find_down(cloud, np.array(UPRIGHT) if down is None else down, np.radians(tolerance))
        floor = level_plane(cloud, gravity, self.settings.floor, LEAST_LEVEL)
        ceiling = level_plane(cloud, gravity, CEILING, LEAST_LEVEL, -1)
        bottom, top = floor[1] if floor else None, ceiling[1] if ceiling else None
        candidates = (judge(cloud, gravity, plane, bottom, top) for plane in upright_planes(cloud, gravity, LEAST_UPRIGHT))
        walls = [wall for wall in candidates if wall is not None]
        return Room(gravity, floor, ceiling, [wall for wall in walls if not backed(wall, walls)], cloud.noise)

    def _read(self, view: View) -> tuple[Points, Doubles | None]:
        camera, depth = view.camera, view.depth
        if camera is None:
            raise TeacherError(f"{view.id}: no camera, and geometry needs one", "add the frames with their intrinsics")
        if depth is None:
            raise TeacherError(f"{view.id}: no metric depth, and geometry needs it", "label with a metric depth teacher first, such as da3")
        if depth.shape != view.size:
            raise TeacherError(f"{view.id}: depth is {depth.shape}, the picture {view.size}", "both must have the same height and width")
        if not (np.isfinite([camera.fx, camera.fy, camera.cx, camera.cy]).all() and camera.fx > 0 and camera.fy > 0):
            raise TeacherError(f"{view.id}: intrinsics {camera} are no camera", "fx and fy must be positive, all four finite")
        down = None if view.down is None else np.asarray(view.down, np.float64)
        if down is not None and not (down.shape == (3,) and np.isfinite(down).all() and 0.9 < np.linalg.norm(down) < 1.1):
            raise TeacherError(f"{view.id}: down {view.down} is no unit vector", "give gravity in camera axes, or None where it is unknown")
        return points(depth, camera.scaled(view.size)), None if down is None else down / np.linalg.norm(down)
