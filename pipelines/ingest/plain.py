"""Plain folders: colour pictures and depth with the same stems. Nothing in them says the depth's unit, so the user has to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pipelines.ingest.adapter import (
    MAPS,
    PICTURES,
    FrameSet,
    IngestError,
    Options,
    Pair,
    Recording,
    by_stem,
    folders,
    pair_up,
    printable,
    refuse,
)
from pipelines.ingest.cameras import find_camera

COLOURS: Final = ("images", "rgb", "color")


class Plain:
    """`images|rgb|color/` beside `depth/`, and `segmentation/` with Vortex's class ids where there are any."""

    layout = (
        "images/, rgb/ or color/ beside depth/ with the same stems, in the folder or in one folder a sequence; "
        "K.txt or a json/yaml of intrinsics and segmentation/ optional"
    )
    registered = True

    def recognises(self, root: Path) -> bool:
        """A colour folder and depth/ are here, or one folder down."""
        return any(_colours(folder) and (folder / "depth").is_dir() for folder in (root, *folders(root)))

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair by stem, in the order in which people count."""
        here = bool(_colours(root)) or (root / "depth").is_dir()
        sequences = [root] if here else [folder for folder in folders(root) if _colours(folder) and (folder / "depth").is_dir()]
        if not sequences:
            raise refuse(root, [f"none of {'/, '.join(COLOURS)}/ with depth/ beside it was found"], f"arrange it as {self.layout}")
        if options.unit is None:
            raise IngestError(
                f"{printable(root)}: plain folders do not say the unit of their depth",
                "state it: --unit mm (most cameras), --unit m, or --unit m/N for Nths of a metre (m/5000, m/256)",
            )
        faults: list[str] = []
        notes: list[str] = []
        shared = find_camera(root, faults)
        recordings = []
        for folder in sequences:
            name = "" if here else folder.name
            pairs = _pairs(folder, f"{name}/" if name else "", options, faults, notes)
            camera = (find_camera(folder, faults) if name else None) or shared
            if camera is None:
                notes.append(f"{name + '/' if name else ''}no K.txt and no json or yaml of intrinsics: the camera stays unknown")
            recordings.append(Recording(name, pairs, camera))
        if not faults and not any(recording.pairs for recording in recordings):
            faults.append("no stem has both a colour picture and depth")
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        return FrameSet(recordings, options.unit, options.camera, notes)


def _pairs(folder: Path, where: str, options: Options, faults: list[str], notes: list[str]) -> list[Pair]:
    colour_folders = _colours(folder)
    if len(colour_folders) != 1:
        faults.append(
            f"{where}found {', '.join(f'{name}/' for name in colour_folders) or 'no colour folder'}, allowed: one of {', '.join(COLOURS)}"
        )
        return []
    if not (folder / "depth").is_dir():
        faults.append(f"{where}depth/ is missing")
        return []
    before = len(faults)
    colours = by_stem(_files(folder / colour_folders[0], PICTURES, where, faults), faults)
    depths = by_stem(_files(folder / "depth", MAPS, where, faults), faults)
    if len(faults) > before:
        return []
    masks = _masks(folder / "segmentation", where, colours, faults)
    both, unpaired, remarks = pair_up(colours, depths, options, where)
    faults += unpaired
    notes += remarks
    return [Pair(stem=stem, rgb=colours[stem], depth=depths[stem], segmentation=masks.get(stem)) for stem in both]


def _masks(folder: Path, where: str, colours: dict[str, Path], faults: list[str]) -> dict[str, Path]:
    """Class masks by stem. Some may be missing or too many, which is remarked on; that none fits is a fault."""
    if not folder.is_dir():
        return {}
    masks = by_stem(_with_suffix(folder, MAPS), faults)
    files = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if files and colours and not masks.keys() & colours.keys():
        faults.append(
            f"{where}segmentation/: none of its {len(files)} files ({files[0]}) is the mask of a picture ({min(colours)}), "
            "allowed: the picture's name with .png or .npy"
        )
    return masks


def _colours(folder: Path) -> list[str]:
    return [name for name in COLOURS if (folder / name).is_dir()]


def _files(folder: Path, suffixes: tuple[str, ...], where: str, faults: list[str]) -> list[Path]:
    """The files of a folder that are read; that there are only others is one fault, not one a frame."""
    files = _with_suffix(folder, suffixes)
    others = sorted(path.name for path in folder.iterdir() if path.suffix and not path.name.startswith("."))
    if others and not files:
        faults.append(f"{where}{folder.name}/: holds {len(others)} files ({others[0]}), none of them is a {' or '.join(suffixes)}")
    return files


def _with_suffix(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
