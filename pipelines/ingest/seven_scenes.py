"""7-Scenes: `frame-NNNNNN.{color,depth,pose}`, in one folder or one folder a sequence; Kinect, 16-bit millimetres."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from core.files import read_text_of_user
from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, by_stem, folders, pair_up, refuse
from pipelines.ingest.cameras import StatedCamera, find_camera
from validation.rows import Split

_LISTS: Final[dict[str, Split | None]] = {"TrainSplit.txt": None, "TestSplit.txt": "test"}
"""The official lists of a scene's sequences. Those of the test stay test; the set has no validation part, so each training sequence is split
in its own order."""
_FILE: Final = re.compile(r"(frame-[0-9]{1,9})\.(color|depth|pose)\.(?i:(jpg|jpeg|png|txt))")
KINECT: Final = StatedCamera(585.0, 585.0, 320.0, 240.0, (480, 640), "the format's Kinect default")
"""Intrinsics that the authors of 7-Scenes publish with it: those of the depth camera."""
UNREGISTERED: Final = (
    "depth of this format is not registered to the colour picture: it shows things about 1.1 times as large, and some pixels beside"
)


class SevenScenes:
    """Kinect streams of the 7-Scenes layout. Poses are optional and stay where they are: no later step reads them."""

    layout = "frame-NNNNNN.color.jpg (or .png) + frame-NNNNNN.depth.png in the folder or in one folder a sequence, camera-intrinsics.txt optional"
    registered = False

    def recognises(self, root: Path) -> bool:
        """Any depth frame here, or one folder down."""
        return bool(_sequences(root))

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair colour and depth by frame number."""
        sequences = _sequences(root)
        if not sequences:
            raise refuse(root, ["no frame-NNNNNN.depth.png or frame-NNNNNN.color.* was found"], f"arrange it as {self.layout}")
        faults: list[str] = []
        notes: list[str] = [UNREGISTERED]
        shared = find_camera(root, faults)
        splits = _official(root, sequences, faults, notes)
        recordings = []
        for folder in sequences:
            name = "" if folder == root else folder.name
            where = f"{name}/" if name else ""
            parts: dict[str, list[Path]] = {"color": [], "depth": [], "pose": []}
            for path in sorted(folder.iterdir()):
                match = _FILE.fullmatch(path.name)
                suffix = match[3].lower() if match else ""
                if match and (suffix == "png" if match[2] == "depth" else (suffix == "txt") is (match[2] == "pose")):
                    parts[match[2]].append(path)
            colours = {_number(stem): path for stem, path in by_stem(parts["color"], faults).items()}
            depths = {_number(stem): path for stem, path in by_stem(parts["depth"], faults).items()}
            both, unpaired, remarks = pair_up(colours, depths, options, where)
            faults += unpaired
            notes += remarks
            camera = (find_camera(folder, faults) if name else None) or shared or KINECT
            if camera is KINECT:
                notes.append(f"{where}no camera-intrinsics.txt: {KINECT.source} is assumed (fx = fy = 585 at 640×480)")
            split = splits.get(folder)
            pairs = [Pair(stem=stem, rgb=colours[stem], depth=depths[stem], split=split) for stem in both]
            recordings.append(Recording(name, pairs, camera))
        if not faults and not any(recording.pairs for recording in recordings):
            faults.append("no frame has both a colour picture and depth")
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        return FrameSet(recordings, options.unit or "mm", options.camera or "kinect", notes)


def _number(stem: str) -> str:
    return stem.rsplit(".", 1)[0]


def _official(root: Path, sequences: list[Path], faults: list[str], notes: list[str]) -> dict[Path, Split | None]:
    """The split of each sequence by its scene's lists, whose `sequence1` is the folder `seq-01`; a sequence in none of them is of split gap."""
    numbers = {folder: _sequence(folder.resolve().name) for folder in sequences}
    alone = sequences == [root]
    if alone and numbers[root] is None:
        return {}
    scene = root.resolve().parent if alone else root
    names = [name for name in _LISTS if (scene / name).is_file()]
    listed: dict[int | None, Split | None] = {}
    for name in names:
        for number, line in _lines(scene / name, faults):
            sequence = _sequence(line)
            if sequence is None:
                faults.append(f"{name} line {number}: found {line[:60]!r}, allowed: a sequence, such as sequence1")
            elif listed.setdefault(sequence, _LISTS[name]) != _LISTS[name]:
                faults.append(f"{name} line {number}: {line[:60]} is in the other list too, allowed: one of {', '.join(_LISTS)}")
    if not names:
        return {}
    absent = [str(number) for number in listed if number not in numbers.values()]
    if absent and not alone:
        notes.append(f"sequences of {' and '.join(names)} that are not here: {', '.join(absent)}")
    # With the test list alone, all others are for training.
    others: Split | None = None if names == ["TestSplit.txt"] else "gap"
    unlisted = [folder.name for folder, number in numbers.items() if number not in listed and others]
    if unlisted:
        notes.append(f"sequences in no official list, and so of split gap: {', '.join(unlisted)}")
    return {folder: listed.get(number, others) for folder, number in numbers.items()}


def _lines(path: Path, faults: list[str]) -> list[tuple[int, str]]:
    """(number, text) of the lines that say something."""
    try:
        lines = read_text_of_user(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path.name}: cannot be read ({getattr(error, 'strerror', None) or error})")
        return []
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]


def _sequence(name: str) -> int | None:
    """The number of a sequence: 1 of `sequence1`, `seq-01` and `1`."""
    match = re.fullmatch(r"(?i:seq(?:uence)?)?[-_ ]?([0-9]{1,6})", name)
    return int(match[1]) if match else None


def _sequences(root: Path) -> list[Path]:
    def holds(folder: Path) -> bool:
        return any(match and match[2] != "pose" for match in map(_FILE.fullmatch, (path.name for path in folder.iterdir())))

    return [root] if holds(root) else [folder for folder in folders(root) if holds(folder)]
