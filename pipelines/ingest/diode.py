"""DIODE indoor: laser-scanned rooms, float metres with a validity mask; the folder says which of the official splits a frame is of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.stream_order import natural
from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, folders, refuse
from pipelines.ingest.cameras import StatedCamera
from validation.decode import read_depth, read_mask
from validation.headers import FrameFileError, image_size
from validation.rows import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAREST: Final = 0.6
FARTHEST: Final = 350.0
"""Metres that the scanner measures between; what a file says beyond them is not a measurement."""
CAMERA: Final = StatedCamera(886.81, 927.06, 512.0, 384.0, (768, 1024), "the format's published camera")
_SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
_PARTS: Final = ("_depth.npy", "_depth_mask.npy")


@dataclass(frozen=True)
class MaskedDepth:
    """Float metres that count only where the mask says so."""

    origin: Path
    mask: Path

    @property
    def size(self) -> tuple[int, int]:
        """From the two headers. Raises FrameFileError when they differ."""
        size, mask = image_size(self.origin), image_size(self.mask)
        if size != mask:
            difference = f"found a mask of {mask[0]}×{mask[1]}, its depth is {size[0]}×{size[1]}"
            raise FrameFileError(f"{self.mask}: {difference}; allowed: equal sizes", "replace the file, or take its frame out of the set")
        return size

    def read(self) -> NDArray[Any]:
        """Metres, 0 where the mask is 0, where the value is no number, and outside what the scanner measures."""
        import numpy as np

        depth = read_depth(self.origin, "m")
        # Comparisons with NaN are false, so it ends as invalid too.
        good = read_mask(self.mask) & (depth >= NEAREST) & (depth <= FARTHEST)
        return np.where(good, depth, np.float32(0))


class Diode:
    """The indoor half of DIODE. Every scan is a recording: its pictures are crops of one panorama, in no order of time."""

    layout = (
        "{train,val}/indoors/scene_*/scan_*/NAME.png with NAME_depth.npy and NAME_depth_mask.npy, "
        "from the folder that holds train/ and val/, or from one of them"
    )
    registered = True

    def recognises(self, root: Path) -> bool:
        """A split with indoors/scene_*/ is here."""
        return any(folder.name.startswith("scene_") for _, home in _homes(root) for folder in folders(home))

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair by name within each scan."""
        homes = _homes(root)
        if not homes:
            raise refuse(root, [f"none of {', '.join(f'{split}/indoors/' for split in _SPLITS)} was found"], f"arrange it as {self.layout}")
        faults: list[str] = []
        notes: list[str] = []
        if options.unit not in (None, "m"):
            faults.append(f"--unit {options.unit} does not go with this format, allowed: m, which its files hold")
        recordings = []
        for split, home in homes:
            scans = [(f"{scene.name}-{scan.name}", scan) for scene in _prefixed(home, "scene_") for scan in _prefixed(scene, "scan_")]
            if not scans:
                faults.append(f"{home.relative_to(root.parent)}: holds no scene_*/scan_*/")
            for name, scan in scans:
                pairs = _pairs(scan, f"{scan.relative_to(root)}/", split, options, faults, notes)
                recordings.append(Recording(name, pairs, CAMERA))
        outdoor = sum((home.parent / "outdoor").is_dir() for _, home in homes)
        if outdoor:
            notes.append("outdoor/ is left out: depth beyond 65.534 m does not fit, and the classes are those of rooms")
        if not faults and not any(recording.pairs for recording in recordings):
            faults.append("no frame has a picture, depth and a mask")
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        notes.append(f"no intrinsics file: {CAMERA.source} is assumed (fx = {CAMERA.fx}, fy = {CAMERA.fy} at 1024×768)")
        return FrameSet([recording for recording in recordings if recording.pairs], "m", options.camera or "faro-focus-s350", notes)


def _homes(root: Path) -> list[tuple[Split, Path]]:
    """(split, its indoors/): of a folder of splits, or of a folder that is one."""
    within = [(split, root / split / "indoors") for split in _SPLITS if (root / split / "indoors").is_dir()]
    name = root.resolve().name
    own = [(split, root / "indoors") for split in _SPLITS if split == name and (root / "indoors").is_dir()]
    return within or own


def _prefixed(folder: Path, prefix: str) -> Iterable[Path]:
    return [path for path in folders(folder) if path.name.startswith(prefix)]


def _pairs(scan: Path, where: str, split: Split, options: Options, faults: list[str], notes: list[str]) -> list[Pair]:
    names = {path.name for path in scan.iterdir() if not path.name.startswith(".")}
    if not names:
        faults.append(f"{where[:-1]}: is empty")
    stems = {name[: -len(suffix)] for suffix in (".png", *_PARTS) for name in names if name.endswith(suffix)}
    pairs, incomplete = [], 0
    for stem in sorted(stems, key=natural):
        missing = [f"{stem}{suffix}" for suffix in (".png", *_PARTS) if f"{stem}{suffix}" not in names]
        if not missing:
            depth = MaskedDepth(scan / f"{stem}{_PARTS[0]}", scan / f"{stem}{_PARTS[1]}")
            pairs.append(Pair(stem=stem, rgb=scan / f"{stem}.png", depth=depth, split=split))
        elif options.pairs_only:
            incomplete += 1
        else:
            faults.append(f"{where}{stem}: has no {' and no '.join(missing)} (--pairs-only leaves such frames out)")
    if incomplete:
        notes.append(f"{where[:-1]}: {incomplete} of {len(stems)} frames are not whole: left out")
    return pairs
