"""NYU Depth V2 as it was recorded: `r-STAMP-N.ppm` and `d-STAMP-N.pgm` in one folder a scene. The two cameras tick apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from core.stream_order import seconds
from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, folders, refuse
from pipelines.ingest.nyu.kinect import KINECT, unit_faults
from pipelines.ingest.nyu.netpbm import RawColour, RawDepth
from pipelines.ingest.tum import WITHIN, associate

_FILE: Final = re.compile(r"([rd])-([0-9]{1,12}\.[0-9]{1,9})-([0-9]{1,12})\.(?i:(ppm|pgm))")
UNREGISTERED: Final = "raw Kinect depth is not registered to the colour picture: towards the borders its pixels lie tens of columns beside what they belong to"


class NyuRaw:
    """Both pictures are decoded and written as PNG: disparities become millimetres, 2047 and what is beyond 10 m becomes invalid.

    Nothing is registered or undistorted, for that is the toolbox's work; the notes say so, and the card keeps them.
    """

    layout = "r-STAMP-N.ppm + d-STAMP-N.pgm in the folder or in one folder a scene"
    registered = False

    def recognises(self, root: Path) -> bool:
        """Any file of the layout here, or one folder down."""
        return bool(_scenes(root))

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair each colour picture with the nearest depth within 20 ms, each depth once."""
        scenes = _scenes(root)
        if not scenes:
            raise refuse(root, ["no r-STAMP-N.ppm and no d-STAMP-N.pgm was found"], f"arrange it as {self.layout}")
        faults = unit_faults(options)
        notes = [UNREGISTERED]
        recordings = []
        for folder in scenes:
            name = "" if folder == root else folder.name
            where = f"{name}/" if name else ""
            colours, depths = _stamped(folder, "r"), _stamped(folder, "d")
            pairs = associate([stamp for stamp, _ in colours], [stamp for stamp, _ in depths])
            if not pairs:
                word = "no two stamps within 20 ms" if colours and depths else f"no {'depth d-*.pgm' if colours else 'colour r-*.ppm'}"
                faults.append(f"{where or 'the folder '}has {word}")
            lone = len(colours) - len(pairs)
            if lone and pairs:
                notes.append(f"{where}{lone} of {len(colours)} colour pictures have no depth within {WITHIN * 1000:.0f} ms: left out")
            recordings.append(
                Recording(
                    name,
                    [
                        Pair(stem=colours[c][1].stem.removeprefix("r-"), rgb=RawColour(colours[c][1]), depth=RawDepth(depths[d][1]))
                        for c, d in pairs
                    ],
                    KINECT,
                )
            )
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        return FrameSet(recordings, "mm", options.camera or "kinect", notes)


def _stamped(folder: Path, letter: str) -> list[tuple[float, Path]]:
    matches = [(match, path) for path in folder.iterdir() if (match := _FILE.fullmatch(path.name))]
    suffix = {"r": "ppm", "d": "pgm"}[letter]
    times = seconds([match[2] for match, _ in matches])  # of both cameras, which one recorder wrote
    return sorted(
        (time, path) for time, (match, path) in zip(times, matches, strict=True) if (match[1], match[4].lower()) == (letter, suffix)
    )


def _scenes(root: Path) -> list[Path]:
    def holds(folder: Path) -> bool:
        return any(_FILE.fullmatch(path.name) for path in folder.iterdir())

    return [root] if holds(root) else [folder for folder in folders(root) if holds(folder)]
