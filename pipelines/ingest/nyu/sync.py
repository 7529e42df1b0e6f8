"""NYU Depth V2 as png pairs, as depth-estimation projects pass it on: `rgb_*.jpg` beside `sync_depth_*.png` in millimetres."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, by_stem, folders, pair_up, refuse
from pipelines.ingest.cameras import find_camera
from pipelines.ingest.nyu.kinect import KINECT

_FILE: Final = re.compile(r"(rgb|sync_depth)_([0-9]{1,9})\.(?i:(jpg|jpeg|png))")
_PARTS: Final = ("train", "val", "test")
"""Folders that may hold the scenes; they are the official splits (`adapter.with_parts`)."""


class NyuSync:
    """Depth here is what the Kinect measured, projected into the colour picture; 0 is invalid."""

    layout = "rgb_NNNNN.jpg + sync_depth_NNNNN.png in the folder, in one folder a scene, or in scenes below train/, val/ and test/"
    registered = True

    def recognises(self, root: Path) -> bool:
        """Any file of the layout here, or where scenes would be."""
        return bool(_scenes(root))

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair colour and depth by number."""
        scenes = _scenes(root)
        if not scenes:
            raise refuse(root, ["no rgb_NNNNN.jpg and no sync_depth_NNNNN.png was found"], f"arrange it as {self.layout}")
        faults: list[str] = []
        notes: list[str] = []
        shared = find_camera(root, faults)
        recordings = []
        for folder in scenes:
            name = "" if folder == root else folder.relative_to(root).as_posix()
            where = f"{name}/" if name else ""
            parts: dict[str, list[Path]] = {"rgb": [], "sync_depth": []}
            for path in sorted(folder.iterdir()):
                match = _FILE.fullmatch(path.name)
                if match and (match[1] == "rgb" or match[3].lower() == "png"):
                    parts[match[1]].append(path)
            colours = {_number(stem): path for stem, path in by_stem(parts["rgb"], faults).items()}
            depths = {_number(stem): path for stem, path in by_stem(parts["sync_depth"], faults).items()}
            both, unpaired, remarks = pair_up(colours, depths, options, where)
            faults += unpaired
            notes += remarks
            pairs = [Pair(stem=stem, rgb=colours[stem], depth=depths[stem]) for stem in both]
            recordings.append(Recording(name, pairs, shared or KINECT))
        if shared is None:
            notes.append(f"no intrinsics file: {KINECT.source} is assumed (fx = {KINECT.fx:.2f} at 640×480)")
        if not faults and not any(recording.pairs for recording in recordings):
            faults.append("no number has both a colour picture and depth")
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        return FrameSet(recordings, options.unit or "mm", options.camera or "kinect", notes)


def _number(stem: str) -> str:
    return stem.rsplit("_", 1)[1]


def _scenes(root: Path) -> list[Path]:
    def holds(folder: Path) -> bool:
        return any(_FILE.fullmatch(path.name) for path in folder.iterdir())

    if holds(root):
        return [root]
    scenes: list[Path] = []
    for folder in folders(root):
        if holds(folder):
            scenes.append(folder)
        elif folder.name in _PARTS:
            scenes += [scene for scene in folders(folder) if holds(scene)]
    return scenes
