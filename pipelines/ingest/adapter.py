"""What every adapter promises: look at a folder, pair its files, and say everything that is wrong with it at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

from core.errors import VortexError
from core.stream_order import natural, stream_key
from pipelines.ingest.cameras import StatedCamera
from validation.rows import Split, Unit

SHOWN: Final = 50
PICTURES: Final = (".png", ".jpg", ".jpeg")
MAPS: Final = (".png", ".npy")
_PARTS: Final[dict[str, Split]] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


class IngestError(VortexError):
    """A folder that cannot become a dataset; `details` lists what is wrong with it."""


@dataclass(frozen=True)
class Options:
    """What the user said about the frames. None leaves it to the adapter."""

    unit: Unit | None = None
    camera: str | None = None
    pairs_only: bool = False
    filled: bool = False
    """Take the depth that the set's makers in-painted instead of what the sensor measured, where a set has both."""


@runtime_checkable
class Derived(Protocol):
    """A map that must be computed: bits to rotate, depth to register to colour, a frame inside an archive.

    Implementations are small frozen dataclasses: they are sent to worker processes, and `read` is called there.
    """

    @property
    def origin(self) -> Path:
        """The file it comes from, for messages."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of what `read` returns, known without reading it."""

    def read(self) -> NDArray[Any]:
        """Colour as uint8 (H, W, 3) RGB, depth as float32 (H, W) metres with 0 invalid, classes as uint8 (H, W) of Vortex's own ids,
        confidence as uint8 or as float32 in [0, 1].

        Raises FrameFileError when the file is not what its format promises.
        """


Source: TypeAlias = Path | Derived
"""Where a map comes from: a file that is copied byte for byte, or one that is computed and written as PNG (depth in millimetres)."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One frame where it lies: a colour picture, its depth, and what else the set has of it. Roles are those of the manifest."""

    stem: str
    rgb: Source
    depth: Source | None = None
    tof: Source | None = None
    tof_confidence: Source | None = None
    teacher_depth: Source | None = None
    segmentation: Source | None = None
    split: Split | None = None
    """The official split, where the set has one; it outranks the order of the stream."""
    camera: StatedCamera | None = None
    """This frame's own camera, where the set has one a frame; otherwise the recording's."""


@dataclass(frozen=True)
class Recording:
    """One continuous stream of one camera, in the order it was recorded. `name` is empty when the set has only one."""

    name: str
    pairs: Sequence[Pair]
    camera: StatedCamera | None
    sensor: str | None = None
    """What its camera is called, where a set is of several."""


@dataclass(frozen=True)
class FrameSet:
    """What an adapter found. `unit` is that of depth *files*; computed maps are always written in millimetres.

    `camera` is what the sensor is called, None where neither format nor user knows; never the name of the format or of the set.
    `notes` are remarks that the user should read: frames left out, intrinsics assumed.
    """

    recordings: Sequence[Recording]
    unit: Unit
    camera: str | None
    notes: Sequence[str] = field(default=())
    tof_unit: Unit | None = None
    teacher: tuple[str, Unit] | None = None
    """Name of the teacher whose depth comes with the set, and the unit of its files."""


class Adapter(Protocol):
    """Reads one native format."""

    layout: str
    """The layout in a line, for help texts and errors."""
    registered: bool
    """Whether the depth that it gives lies on the colour picture, pixel for pixel."""

    def recognises(self, root: Path) -> bool:
        """Whether the folder looks like this format; cheap, and no promise that it is whole."""

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair the files of `root`, never opening a picture. Raises IngestError listing every fault."""


def refuse(root: Path, faults: Sequence[str], hint: str) -> IngestError:
    """One error for all the faults of a set."""
    listed = [*map(printable, faults[:SHOWN]), *([f"… and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else [])]
    hint = hint if hint.startswith("mend") else f"mend what is named above, or {hint}"
    if len(faults) == 1:
        return IngestError(f"{printable(root)}: {listed[0]}; nothing was added", hint)
    return IngestError(f"{printable(root)}: {len(faults)} faults; nothing was added", hint, listed)


def printable(name: object) -> str:
    """A path or a message as it can be printed: names on disk are bytes, and need not be text."""
    return os.fsencode(str(name)).decode("utf-8", errors="backslashreplace")


def pair_up(colours: dict[str, Path], depths: dict[str, Path], options: Options, where: str) -> tuple[list[str], list[str], list[str]]:
    """Stems present on both sides in stream order, the faults of the others, and a note when they may be left out."""
    order = stream_key(colours.keys() | depths.keys())
    both = sorted(colours.keys() & depths.keys(), key=order)
    lone = sorted(colours.keys() ^ depths.keys(), key=order)
    if not lone:
        return both, [], []
    if options.pairs_only:
        return both, [], [f"{where}{len(lone)} of {len(both) + len(lone)} frames have only a colour picture or only depth: left out"]
    faults = [
        f"{where}{stem}: has {'a colour picture but no depth' if stem in colours else 'depth but no colour picture'} "
        "(--pairs-only leaves such frames out)"
        for stem in lone
    ]
    return both, faults, []


def by_stem(paths: Iterable[Path], faults: list[str]) -> dict[str, Path]:
    """Files by name without suffix; two of one stem are a fault."""
    files: dict[str, Path] = {}
    for path in paths:
        if path.stem in files:
            faults.append(f"{path.parent.name}/{path.stem}: is there twice ({files[path.stem].suffix} and {path.suffix})")
        files[path.stem] = path
    return files


def with_parts(frame_set: FrameSet) -> FrameSet:
    """The set with the splits that folders called `train`, `val` or `test` give to the frames below them, where nothing else gives one.

    Training folders of a set without a validation part stay without a split: each of their streams is split in its own order.
    """
    splits = {recording.name: _PARTS.get(recording.name.partition("/")[0].lower()) for recording in frame_set.recordings}
    if "val" not in splits.values():
        splits = {name: None if split == "train" else split for name, split in splits.items()}
    if not any(splits.values()):
        return frame_set
    recordings = [
        replace(recording, pairs=[replace(pair, split=pair.split or splits[recording.name]) for pair in recording.pairs])
        for recording in frame_set.recordings
    ]
    return replace(frame_set, recordings=recordings)


def folders(root: Path) -> list[Path]:
    """Visible folders below `root`, in natural order."""
    return sorted((path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")), key=lambda path: natural(path.name))
