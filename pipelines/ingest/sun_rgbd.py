"""SUN RGB-D: single frames of four sensors, each in a folder with its own camera; depth with rotated bits, classes in the toolbox."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.depth import MILLIMETRES
from core.stream_order import natural, stream_key
from pipelines.ingest.adapter import PICTURES, FrameSet, Options, Pair, Recording, refuse
from pipelines.ingest.cameras import StatedCamera, find_camera
from pipelines.ingest.sun_toolbox import SENSORS, Toolbox, frame_key
from validation.decode import read_steps
from validation.headers import image_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

FARTHEST: Final = 8.0
"""Metres at which the set's own reader cuts depth off: what is farther counts as just that far."""
MEASURED: Final = "depth"
FILLED: Final = "depth_bfx"
_PARTS: Final = ("image", MEASURED, FILLED)
_LOOKED_AT: Final = 400
"""Folders that detection opens before it gives up: the first frame lies at most five folders down."""
_DEEPEST: Final = 6


@dataclass(frozen=True)
class RotatedDepth:
    """16-bit PNG whose values are millimetres rotated left by three bits."""

    origin: Path

    @property
    def size(self) -> tuple[int, int]:
        """From the header."""
        return image_size(self.origin)

    def read(self) -> NDArray[Any]:
        """Metres up to 8, 0 invalid. Shifting right alone would lose the three highest bits, which come first in the file."""
        import numpy as np

        stored = read_steps(self.origin)
        millimetres = (stored >> 3) | (stored << 13)
        metres = millimetres.astype(np.float32) * np.float32(1 / MILLIMETRES)
        np.minimum(metres, np.float32(FARTHEST), out=metres)
        return metres


class SunRgbd:
    """`depth/` is what the sensor measured; `depth_bfx/` has its holes painted in, and is taken only when asked for (`filled`)."""

    layout = (
        "SENSOR/SET/FRAME/ with image/, depth/ (or depth_bfx/) and intrinsics.txt; "
        "SUNRGBDtoolbox/ in it or beside it optional, for classes and official splits"
    )

    in_painted = True
    """`--filled-depth` is possible."""
    registered = True

    def recognises(self, root: Path) -> bool:
        """A frame folder with image/, depth and intrinsics.txt lies somewhere below."""
        for number, (folder, parts, files) in enumerate(_walk(root)):
            if _is_frame(folder, root, parts, files) and "image" in parts and "intrinsics.txt" in files and len(parts & set(_PARTS)) > 1:
                return True
            if number >= _LOOKED_AT:
                break
        return False

    def read(self, root: Path, options: Options) -> FrameSet:
        """Every frame folder below `root`; the folder above it is the stream it belongs to."""
        faults: list[str] = []
        notes: list[str] = []
        if options.unit not in (None, "mm"):
            faults.append(f"--unit {options.unit} does not go with this format, allowed: mm, which its bits hold")
        toolbox = Toolbox.find(root, faults, notes)
        pairing = _Pairing(root, options, toolbox, faults)
        streams: dict[str, list[Pair]] = {}
        for folder, parts, files in _walk(root):
            if _is_frame(folder, root, parts, files) and (pair := pairing.pair(folder, parts, files)) is not None:
                streams.setdefault(folder.parent.relative_to(root).as_posix(), []).append(pair)
        if not streams and not faults:
            faults.append("no frame folder with image/, depth/ and intrinsics.txt was found")
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        notes += pairing.notes()
        recordings = [
            Recording("" if name == "." else name, _in_order(pairs), None, None if options.camera else _sensor(root / name))
            for name, pairs in sorted(streams.items(), key=lambda stream: natural(stream[0]))
        ]
        return FrameSet(recordings, "mm", options.camera, notes)


class _Pairing:
    """Makes pairs of frame folders, and counts what a remark has to be made of."""

    def __init__(self, root: Path, options: Options, toolbox: Toolbox, faults: list[str]) -> None:
        self.root, self.options, self.toolbox, self.faults = root, options, toolbox, faults
        self.real = root.resolve()
        self.counts: Counter[str] = Counter()

    def pair(self, folder: Path, parts: set[str], files: set[str]) -> Pair | None:
        relative = folder.relative_to(self.root)
        before = len(self.faults)
        preferred, other = (FILLED, MEASURED) if self.options.filled else (MEASURED, FILLED)
        part = other if other in parts and preferred not in parts else preferred
        colour = self._only(folder, relative, "image", PICTURES)
        depth = self._only(folder, relative, part, (".png",))
        camera = self._camera(folder, relative, files)
        if colour is None or depth is None or camera is None:
            if self.options.pairs_only:
                del self.faults[before:]
                self.counts["left out"] += 1
            return None
        self.counts["frames"] += 1
        self.counts[part] += 1
        key = frame_key(self.real / relative)
        mask = self.toolbox.mask(key)
        split = self.toolbox.split(key)
        self.counts["labelled"] += mask is not None
        self.counts["in no list"] += self.toolbox.has_splits and split == "gap"
        return Pair(stem=folder.name, rgb=colour, depth=RotatedDepth(depth), segmentation=mask, split=split, camera=camera)

    def _only(self, folder: Path, relative: Path, part: str, suffixes: tuple[str, ...]) -> Path | None:
        """The one picture of a folder."""
        if not (folder / part).is_dir():
            missing = "image/" if part == "image" else f"{MEASURED}/ and no {FILLED}/"
            self.faults.append(f"{relative}: has no {missing}")
            return None
        pictures = sorted(path for path in (folder / part).iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
        if len(pictures) != 1:
            self.faults.append(f"{relative}/{part}: holds {len(pictures)} pictures, allowed: one {' or '.join(suffixes)}")
        return pictures[0] if len(pictures) == 1 else None

    def _camera(self, folder: Path, relative: Path, files: set[str]) -> StatedCamera | None:
        if "intrinsics.txt" not in files:
            self.faults.append(f"{relative}: has no intrinsics.txt")
            return None
        own: list[str] = []
        camera = find_camera(folder, own)
        self.faults += [f"{relative}/{fault}" for fault in own]
        return replace(camera, source=f"{relative}/{camera.source}") if camera else None

    def notes(self) -> list[str]:
        counts, total = self.counts, self.counts["frames"]
        notes = []
        preferred, other = (FILLED, MEASURED) if self.options.filled else (MEASURED, FILLED)
        what = "the in-painted depth" if self.options.filled else "what the sensor measured, holes and all"
        notes.append(
            f"depth is {preferred}/ ({what}) in {counts[preferred]} of {total} frames{f', {other}/ in the others' if counts[other] else ''}"
        )
        if counts["left out"]:
            notes.append(f"{counts['left out']} of {total + counts['left out']} frames are not whole: left out")
        if self.toolbox.has_masks:
            notes.append(f"{counts['labelled']} of {total} frames have classes (SUNRGBD2Dseg.mat, 37 classes to Vortex's six)")
        else:
            notes.append("no SUNRGBDtoolbox/Metadata/SUNRGBD2Dseg.mat: the frames have no classes (supervision none)")
        if not self.toolbox.has_splits:
            notes.append("no allsplit.mat: each stream is split by the order of its frames")
        elif counts["in no list"]:
            notes.append(f"{counts['in no list']} of {total} frames are in no list of allsplit.mat: they are of split gap")
        return notes


def _sensor(stream: Path) -> str | None:
    """The camera of a stream, by the folder of its sensor."""
    return SENSORS.get(frame_key(stream.resolve()).partition("/")[0])


def _in_order(pairs: list[Pair]) -> list[Pair]:
    order = stream_key(pair.stem for pair in pairs)
    return sorted(pairs, key=lambda pair: order(pair.stem))


def _walk(root: Path) -> Iterator[tuple[Path, set[str], set[str]]]:
    """(folder, its folders, its files), top down in natural order, without what lies inside frames."""
    for name, parts, files in os.walk(root):
        folder = Path(name)
        parts[:] = sorted((part for part in parts if not part.startswith(".")), key=natural)
        yield folder, set(parts), set(files)
        if _is_frame(folder, root, set(parts), set(files)) or len(folder.relative_to(root).parts) >= _DEEPEST:
            parts.clear()


def _is_frame(folder: Path, root: Path, parts: set[str], files: set[str]) -> bool:
    """image/ with depth, or either with intrinsics.txt: whatever else is missing is a fault of a frame."""
    here = len(parts & set(_PARTS)) + ("intrinsics.txt" in files)
    return folder != root and here >= 2 and bool(parts & set(_PARTS))
