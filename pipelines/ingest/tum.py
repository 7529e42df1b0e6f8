"""TUM RGB-D: `rgb.txt` and `depth.txt` list files by time stamp; depth in 1/5000 m. The two cameras tick apart, so stamps are matched."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from core.errors import VortexError
from core.files import inside, read_text_of_user
from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, folders, refuse
from pipelines.ingest.cameras import StatedCamera, find_camera

WITHIN: Final = 0.020
"""Seconds between a colour picture and the depth that it is paired with; at 30 Hz the nearest is 17 ms away at most."""
_FREIBURG: Final = {
    "1": (517.3, 516.5, 318.6, 255.3),
    "2": (520.9, 521.0, 325.1, 249.7),
    "3": (535.4, 539.2, 320.1, 247.6),
}
"""The set's own calibration of its three colour cameras."""
_DEFAULT: Final = (525.0, 525.0, 319.5, 239.5)


class Tum:
    """Recordings of the TUM RGB-D benchmark, and what other tools write in its layout."""

    layout = "rgb.txt and depth.txt ('stamp path' lines) with the pictures they name, in the folder or in one folder a sequence"
    registered = True

    def recognises(self, root: Path) -> bool:
        """Both lists are here, or one folder down."""
        return any(_holds(folder, all) for folder in (root, *folders(root)))

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair each colour picture with the nearest depth within 20 ms, each depth once."""
        here = _holds(root, any)
        sequences = [root] if here else [folder for folder in folders(root) if _holds(folder, any)]
        faults: list[str] = [] if sequences else ["neither rgb.txt nor depth.txt was found"]
        notes: list[str] = []
        recordings = []
        for folder in sequences:
            name = "" if here else folder.name
            where = f"{name}/" if name else ""
            colours = _list(folder, "rgb.txt", where, faults)
            depths = _list(folder, "depth.txt", where, faults)
            pairs = associate([stamp for stamp, _, _ in colours], [stamp for stamp, _, _ in depths])
            if colours and depths and not pairs:
                faults.append(f"{where}rgb.txt and depth.txt have no two stamps within {WITHIN * 1000:.0f} ms")
            if len(pairs) < len(colours):
                notes.append(f"{where}{len(colours) - len(pairs)} of {len(colours)} colour pictures have no depth within 20 ms: left out")
            camera = find_camera(folder, faults) or (find_camera(root, faults) if name else None)
            if camera is None:
                camera = _published(folder)
                notes.append(f"{where}no intrinsics file: {camera.source} is assumed (fx = {camera.fx})")
            recordings.append(Recording(name, [Pair(stem=colours[c][1], rgb=colours[c][2], depth=depths[d][2]) for c, d in pairs], camera))
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        return FrameSet(recordings, options.unit or "m/5000", options.camera or "kinect", notes)


def associate(colours: list[float], depths: list[float], within: float = WITHIN) -> list[tuple[int, int]]:
    """Index pairs of the nearest stamps of two sorted lists, closest pairs first, each index once, in the order of the colours."""
    near: list[tuple[float, int, int]] = []
    for colour, stamp in enumerate(colours):
        place = bisect_left(depths, stamp - within)
        # 1 µs of slack: stamps are decimal texts, and 20 ms exactly must not depend on their binary rounding.
        while place < len(depths) and depths[place] <= stamp + within + 1e-6:
            if depths[place] >= stamp - within - 1e-6:
                near.append((abs(depths[place] - stamp), colour, place))
            place += 1
    depth_of: dict[int, int] = {}
    used: set[int] = set()
    for _, colour, depth in sorted(near):
        if colour not in depth_of and depth not in used:
            depth_of[colour] = depth
            used.add(depth)
    return sorted(depth_of.items())


def _holds(folder: Path, quantifier: Callable[[Iterable[object]], bool]) -> bool:
    return quantifier((folder / name).is_file() for name in ("rgb.txt", "depth.txt"))


def _list(folder: Path, name: str, where: str, faults: list[str]) -> list[tuple[float, str, Path]]:
    """(stamp, its text, file) of each line, by stamp."""
    try:
        lines = read_text_of_user(folder / name).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{where}{name}: is missing or cannot be read ({getattr(error, 'strerror', None) or error})")
        return []
    pictures: list[tuple[float, str, Path]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        stamp, _, relative = line.strip().partition(" ")
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?", stamp) or not math.isfinite(float(stamp)) or not relative.strip():
            faults.append(f"{where}{name} line {number}: found {line[:60]!r}, allowed: 'stamp path'")
            continue
        try:
            path = inside(folder, relative.strip())
        except VortexError as error:
            faults.append(f"{where}{name} line {number}: {error.message}")
            continue
        if path.is_file():
            pictures.append((float(stamp), stamp, path))
        else:
            faults.append(f"{where}{name} line {number}: {relative.strip()} does not exist")
    if not pictures and not faults:
        faults.append(f"{where}{name}: lists no pictures")
    return sorted(pictures)


def _published(folder: Path) -> StatedCamera:
    match = re.search(r"(?:freiburg|fr)([123])(?:[_/]|$)", folder.resolve().name)
    numbers = _FREIBURG[match[1]] if match else _DEFAULT
    return StatedCamera(*numbers, (480, 640), f"the calibration of freiburg{match[1]}" if match else "the format's Kinect default")
