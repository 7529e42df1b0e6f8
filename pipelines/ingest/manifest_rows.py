"""From what an adapter found to the rows of a manifest: every header checked, every name settled, all faults said at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.pinhole import Pinhole
from core.progress import NamedProgress
from pipelines.ingest.adapter import FrameSet, Pair, Recording, Source, printable, refuse
from pipelines.ingest.cameras import StatedCamera
from pipelines.ingest.role_checks import checked_size, relative, sources, text_size, unit_of
from validation.manifest import stream_split
from validation.rows import Frame, Split

Shares = tuple[int, int, int]
SHARES: Final[Shares] = (72, 8, 20)
"""Percent of a stream for training, for the gap, and for validation."""
UNNAMED: Final = "unnamed"
"""What a camera is called that neither the format nor the user has a name for."""
LONGEST_ID: Final = 200


@dataclass(frozen=True)
class Item:
    """One file of a frame: where it comes from, what it is, and where it goes, relative to the dataset."""

    source: Source
    role: str
    place: str


@dataclass(frozen=True)
class Row:
    """A frame of the manifest, and the files that have to be written for it."""

    frame: Frame
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Request:
    """What the rows are to say. `split` is what the user asked for; None leaves official splits as they are."""

    name: str
    domain: str
    split: Shares | None = None


def plan(root: Path, request: Request, frame_set: FrameSet, on_frame: NamedProgress) -> list[Row]:
    """Every frame with its row and its files, in order. Raises IngestError with all faults of the set."""
    faults: list[str] = []
    rows: list[Row] = []
    total = sum(len(recording.pairs) for recording in frame_set.recordings)
    owners: dict[str, tuple[int, str]] = {}
    for recording in frame_set.recordings:
        for row in _recording_rows(root, request, frame_set, recording, faults):
            name = relative(row.items[0].source, root)
            # File systems of other machines may not tell upper from lower case, and every role's file is named by the id.
            number, first = owners.setdefault(row.frame.id.casefold(), (len(rows), name))
            if number != len(rows):
                faults.append(
                    f"{name}: would get the id {row.frame.id!r} that {first} has; allowed: names that differ in letters or digits"
                )
            rows.append(row)
            on_frame("checking", len(rows), total)
    if not faults and not rows:
        faults.append("no frames were found")
    if faults:
        raise refuse(root, faults, "mend, replace or remove what is named above, and run the command again")
    return rows


def _recording_rows(root: Path, request: Request, frame_set: FrameSet, recording: Recording, faults: list[str]) -> Iterator[Row]:
    several = len(frame_set.recordings) > 1
    size: tuple[int, int] | None = None
    cameras = _Cameras(recording.camera, faults)
    for pair, split in zip(recording.pairs, _splits(recording.pairs, request.split), strict=True):
        own = checked_size(root, pair, frame_set, faults)
        if own is None:
            continue
        size = size or own
        if own != size and pair.camera is None:
            name = relative(pair.rgb, root)
            faults.append(f"{name}: is {text_size(own)}, the frames before it are {text_size(size)}; allowed: one size a recording")
            continue
        identity = re.sub(r"[^\w.+=@,~-]", "_", f"{recording.name}-{pair.stem}" if several else pair.stem)
        identity = identity if re.match(r"\w", identity) else f"_{identity}"
        if len(identity) > LONGEST_ID:
            faults.append(f"{relative(pair.rgb, root)}: its name is {len(identity)} characters long, allowed: {LONGEST_ID}")
            continue
        yield _row(request, frame_set, recording, pair, identity, split, cameras.on(own, pair.camera))


def _row(
    request: Request, frame_set: FrameSet, recording: Recording, pair: Pair, identity: str, split: Split, intrinsics: Pinhole | None
) -> Row:
    files = sources(pair)
    items = tuple(Item(source, role, f"{role}/{identity}{_suffix(source)}") for role, source in files.items())
    places = {item.role: item.place for item in items}
    units = {role: unit_of(role, source, frame_set) for role, source in files.items()}
    teaches = frame_set.teacher is not None and "teacher_depth" in places
    frame = Frame(
        id=identity,
        domain=request.domain,
        split=split,
        sequence=_label(recording.name) or request.name,
        camera=recording.sensor or frame_set.camera or UNNAMED,
        intrinsics=intrinsics,
        rgb=places["rgb"],
        depth=places.get("depth"),
        depth_unit=units.get("depth"),
        tof=places.get("tof"),
        tof_unit=units.get("tof"),
        tof_confidence=places.get("tof_confidence"),
        teacher_depth=places.get("teacher_depth"),
        teacher=frame_set.teacher[0] if frame_set.teacher and teaches else None,
        teacher_unit=units.get("teacher_depth"),
        segmentation=places.get("segmentation"),
        supervision="partial" if "segmentation" in places else "none",
    )
    return Row(frame, items)


class _Cameras:
    """The intrinsics of a recording's frames; a camera that does not fit is one fault, not one a frame."""

    def __init__(self, shared: StatedCamera | None, faults: list[str]) -> None:
        self.shared, self.faults = shared, faults
        self._known: dict[tuple[StatedCamera, tuple[int, int]], Pinhole | None] = {}

    def on(self, size: tuple[int, int], own: StatedCamera | None) -> Pinhole | None:
        camera = own or self.shared
        if camera is None:
            return None
        if (camera, size) not in self._known:
            try:
                self._known[camera, size] = camera.on(size)
            except ValueError as error:
                self.faults.append(str(error))
                self._known[camera, size] = None
        return self._known[camera, size]


def _splits(pairs: Sequence[Pair], shares: Shares | None) -> list[Split]:
    """Official splits where there are any and the user asked for none; the order of the stream decides for the others."""
    official = [pair.split if shares is None else None for pair in pairs]
    free = official.count(None)
    order = (stream_split(index, free, shares or SHARES) for index in range(free))
    return [next(order) if split is None else split for split in official]


def _suffix(source: Source) -> str:
    return source.suffix.lower() if isinstance(source, Path) else ".png"


def _label(name: str) -> str:
    """A recording's name as the manifest may say it."""
    return re.sub(r"[\x00-\x1f\x7f]", "_", printable(name))[:200]
