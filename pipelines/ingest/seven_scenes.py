"""7-Scenes: `frame-NNNNNN.{color,depth,pose}`, in one folder or one folder a sequence; Kinect, 16-bit millimetres."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, by_stem, folders, pair_up, refuse
from pipelines.ingest.cameras import StatedCamera, find_camera

_FILE: Final = re.compile(r"(frame-[0-9]{1,9})\.(color|depth|pose)\.(jpg|jpeg|png|txt)")
KINECT: Final = StatedCamera(585.0, 585.0, 320.0, 240.0, (480, 640), "the format's Kinect default")
"""Intrinsics that the authors of 7-Scenes publish with it."""


class SevenScenes:
    """Kinect streams of the 7-Scenes layout. Poses are optional and stay where they are: no step of the street reads them."""

    layout = "frame-NNNNNN.color.jpg (or .png) + frame-NNNNNN.depth.png in the folder or in one folder a sequence, camera-intrinsics.txt optional"

    def recognises(self, root: Path) -> bool:
        """Any depth frame here, or one folder down."""
        return bool(_sequences(root))

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair colour and depth by frame number."""
        sequences = _sequences(root)
        if not sequences:
            raise refuse(root, ["no frame-NNNNNN.depth.png or frame-NNNNNN.color.* was found"], f"arrange it as {self.layout}")
        faults: list[str] = []
        notes: list[str] = []
        shared = find_camera(root, faults)
        recordings = []
        for folder in sequences:
            name = "" if folder == root else folder.name
            where = f"{name}/" if name else ""
            parts: dict[str, list[Path]] = {"color": [], "depth": [], "pose": []}
            for path in sorted(folder.iterdir()):
                match = _FILE.fullmatch(path.name)
                if match and (match[3] == "png" if match[2] == "depth" else (match[3] == "txt") is (match[2] == "pose")):
                    parts[match[2]].append(path)
            colours = {_number(stem): path for stem, path in by_stem(parts["color"], faults).items()}
            depths = {_number(stem): path for stem, path in by_stem(parts["depth"], faults).items()}
            both, unpaired, remarks = pair_up(colours, depths, options, where)
            faults += unpaired
            notes += remarks
            camera = (find_camera(folder, faults) if name else None) or shared or KINECT
            if camera is KINECT:
                notes.append(f"{where}no camera-intrinsics.txt: {KINECT.source} is assumed (fx = fy = 585 at 640×480)")
            recordings.append(Recording(name, [Pair(stem=stem, rgb=colours[stem], depth=depths[stem]) for stem in both], camera))
        if not faults and not any(recording.pairs for recording in recordings):
            faults.append("no frame has both a colour picture and depth")
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        return FrameSet(recordings, options.unit or "mm", options.camera or "kinect", notes)


def _number(stem: str) -> str:
    return stem.rsplit(".", 1)[0]


def _sequences(root: Path) -> list[Path]:
    def holds(folder: Path) -> bool:
        return any(match and match[2] != "pose" for match in map(_FILE.fullmatch, (path.name for path in folder.iterdir())))

    return [root] if holds(root) else [folder for folder in folders(root) if holds(folder)]
