"""Take a folder of frames into `data/`: pair, check every header, copy the bytes unchanged, write the manifest, version."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.errors import UsageError, VortexError
from pipelines.data.datasets import MANIFEST, Dataset, DatasetCard, find, new_dataset, refuse_existing
from pipelines.ingest import adapter
from pipelines.ingest.contract import Found, IngestError, Options, Pair, Recording, refuse
from pipelines.workspace import Workspace, check_name, load
from validation.decode import FrameFileError, Header, read_header
from validation.manifest import Frame, Intrinsics, Unit, stream_split, write_manifest
from validation.policies import load_policies

Shares = tuple[int, int, int]
SHARES: Final[Shares] = (72, 8, 20)
"""Percent of a stream for training, for the gap, and for validation."""
LONGEST_ID: Final = 200
OnFrame = Callable[[str, int, int], None]
"""Called with what is being done, how many frames are done, and how many there are."""


@dataclass(frozen=True)
class Added:
    """The new dataset, and what the user should know about how it was made."""

    dataset: Dataset
    notes: list[str] = field(default_factory=list)


def add_dataset(
    ws: Workspace,
    name: str,
    path: Path,
    *,
    format: str | None = None,
    domain: str | None = None,
    kind: str | None = None,
    unit: Unit | None = None,
    split: Shares = SHARES,
    camera: str | None = None,
    pairs_only: bool = False,
    on_frame: OnFrame | None = None,
) -> Added:
    """Add the frames in `path` as dataset `name`; nothing is decoded, re-encoded, or changed at the source.

    What is not given is inferred and said in the notes. Raises VortexError, with every fault of the set, before anything is
    written; a failure later leaves `data/` and `data.dvc` as they were.
    """
    refuse_existing(ws, name)
    # Another call may have added a domain since this workspace was loaded.
    ws, path = load(ws.root), path.expanduser()
    notes: list[str] = []
    known, chosen = adapter(path, format)
    if format is None:
        notes.append(f"format {known} detected")
    domain = _domain(ws, name, domain, notes)
    bounds = kind or (ws.config.domains[domain].kind if domain in ws.config.domains else "indoor")
    load_policies().data.kind(bounds)
    try:
        found = chosen.read(path, Options(unit, camera, pairs_only))
    except OSError as error:
        raise VortexError(f"{error.filename or path}: cannot be read ({error.strerror})", "check the path and its permissions") from error
    notes += found.notes
    plan = _plan(path, name, domain, found, split, on_frame or _silent)
    splits = {row.frame.split for row in plan}
    if "val" not in splits or "train" not in splits:
        notes.append(f"{len(plan)} frames split {split} leave no {'validation' if 'val' not in splits else 'training'} frames")
    settings = {"unit": found.unit, "split": list(split), "sequences": len(found.recordings), "notes": list(found.notes)}
    card = DatasetCard(
        name=name,
        domain=domain,
        kind=bounds,
        format=known,
        source=os.fsencode(path.absolute()).decode(errors="backslashreplace"),
        settings=settings,
    )
    with new_dataset(ws, name, card) as staging:
        for done, row in enumerate(plan, 1):
            for source, relative in row.files:
                _copy(source, staging / relative)
            (on_frame or _silent)("copying", done, len(plan))
        write_manifest(staging / MANIFEST, (row.frame for row in plan))
        (on_frame or _silent)("versioning", len(plan), len(plan))
    # Only now: a set that did not arrive leaves no domain behind.
    if domain not in ws.config.domains:
        ws.add_domain(domain, bounds)
        notes.append(f"domain {domain!r} (kind {bounds!r}) is new and was written into vortex.toml")
    return Added(find(ws, name), notes)


def parse_split(text: str) -> Shares:
    """`72,8,20` as three percentages. Raises UsageError when they are not, or do not make 100."""
    words = text.split(",")
    if len(words) == 3 and all(re.fullmatch(r"[0-9]{1,3}", word.strip()) for word in words):
        train, gap, validation = (int(word) for word in words)
        if train + gap + validation == 100:
            return train, gap, validation
    raise UsageError(f"--split {text!r} is not a split, allowed: three percentages that make 100", "for example --split 72,8,20")


@dataclass(frozen=True)
class _Row:
    frame: Frame
    files: tuple[tuple[Path, str], ...]


def _domain(ws: Workspace, name: str, domain: str | None, notes: list[str]) -> str:
    if domain is not None:
        return check_name("domain", domain)
    known = sorted(ws.config.domains)
    if name not in known:
        raise VortexError(
            f"which domain are these frames of? this workspace has: {', '.join(known) or 'none yet'}",
            "name one of them, or a new one, with --domain",
        )
    notes.append(f"domain {name!r} taken from the dataset's name")
    return name


def _plan(path: Path, name: str, domain: str, found: Found, split: Shares, on_frame: OnFrame) -> list[_Row]:
    """Every frame with its row and its files, headers checked. Raises IngestError with all faults."""
    faults: list[str] = []
    rows: list[_Row] = []
    total = sum(len(recording.pairs) for recording in found.recordings)
    several = len(found.recordings) > 1
    taken: dict[str, str] = {}
    for recording in found.recordings:
        for row in _recording_rows(path, name, domain, found, recording, split, several, faults):
            shown = _relative(row.files[0][0], path)
            # File systems of other machines may not tell upper from lower case, and every role's file is named by the id.
            first = taken.setdefault(row.frame.id.casefold(), shown)
            if first != shown:
                faults.append(
                    f"{shown}: would get the id {row.frame.id!r} that {first} has; allowed: names that differ in letters or digits"
                )
            rows.append(row)
            on_frame("checking", len(rows), total)
    if not faults and not rows:
        faults.append("no frames were found")
    if faults:
        raise refuse(path, faults, "mend, replace or remove what is named above, and run the command again")
    return rows


def _recording_rows(
    path: Path, name: str, domain: str, found: Found, recording: Recording, split: Shares, several: bool, faults: list[str]
) -> Iterator[_Row]:
    size: tuple[int, int] | None = None
    intrinsics: Intrinsics | None = None
    for index, pair in enumerate(recording.pairs):
        shown = _relative(pair.rgb, path)
        own = _size_of(path, pair, found.unit, faults)
        if own is None:
            continue
        if size is None:
            size = own
            try:
                intrinsics = recording.pinhole.on(size) if recording.pinhole else None
            except ValueError as error:
                faults.append(str(error))
        if own != size:
            faults.append(f"{shown}: is {_size(own)}, the frames before it are {_size(size)}; allowed: one size a recording")
        identity = re.sub(r"[^\w.+=@,~-]", "_", f"{recording.name}-{pair.stem}" if several else pair.stem)
        identity = identity if re.match(r"\w", identity) else f"_{identity}"
        if len(identity) > LONGEST_ID:
            faults.append(f"{shown}: its name is {len(identity)} characters long, allowed: {LONGEST_ID}")
            continue
        files = {"rgb": pair.rgb, "depth": pair.depth} | ({"segmentation": pair.segmentation} if pair.segmentation else {})
        places = {role: f"{role}/{identity}{source.suffix.lower()}" for role, source in files.items()}
        mask = places.get("segmentation")
        frame = Frame(
            id=identity,
            domain=domain,
            split=stream_split(index, len(recording.pairs), split),
            sequence=recording.name or name,
            camera=found.camera or name,
            intrinsics=intrinsics,
            rgb=places["rgb"],
            depth=places["depth"],
            depth_unit=found.unit,
            segmentation=mask,
            supervision="partial" if mask else "none",
        )
        yield _Row(frame, tuple((source, places[role]) for role, source in files.items()))


def _size_of(path: Path, pair: Pair, unit: Unit, faults: list[str]) -> tuple[int, int] | None:
    """The size of a frame whose files all are what their roles ask for; otherwise the faults say what is not."""
    before = len(faults)
    read: list[Header] = []
    for source in (pair.rgb, pair.depth, *([pair.segmentation] if pair.segmentation else [])):
        try:
            read.append(read_header(source, whole=True))
        except FrameFileError as error:
            faults.append(error.message.replace(str(source), _relative(source, path), 1))
    if len(faults) > before:
        return None
    colour, depth, *masks = read
    if colour.kind == "npy" or colour.bits != 8 or colour.channels < 3:
        faults.append(f"{_relative(pair.rgb, path)}: found a {colour}, allowed: an 8-bit colour PNG or JPEG")
    steps = (depth.kind == "png" and depth.bits == 16) or depth.dtype[1:] == "u2"
    if not (steps or depth.dtype[1:2] == "f") or depth.channels != 1:
        faults.append(f"{_relative(pair.depth, path)}: found a {depth}, allowed: a 16-bit grey PNG, or a .npy of floats or uint16")
    elif unit == "m" and steps:
        found = f"{_relative(pair.depth, path)}: found whole numbers, which cannot be metres"
        raise IngestError(f"{found}; nothing was added", "state --unit mm or --unit m/5000")
    if colour.size != depth.size:
        sizes = f"depth is {_size(depth.size)}, its colour picture {_size(colour.size)}"
        faults.append(f"{_relative(pair.depth, path)}: {sizes}; allowed: equal sizes, depth registered to colour")
    for mask in masks:
        if mask.kind == "jpeg" or mask.channels != 1 or mask.size != colour.size or (mask.kind == "png" and mask.bits != 8):
            found = f"{_relative(pair.segmentation or path, path)}: found a {mask} of {_size(mask.size)}"
            faults.append(f"{found}, allowed: an 8-bit grey PNG or a .npy of {_size(colour.size)}")
    return colour.size if len(faults) == before else None


def _copy(source: Path, target: Path) -> None:
    """Copy the bytes. The kernel shares the blocks where the file system can (reflink).

    Never a hard link: DVC makes what it caches read-only, and would do so to the user's own file.
    """
    try:
        with open(source, "rb") as reader, open(target, "xb") as writer:
            left = os.fstat(reader.fileno()).st_size
            while left > 0 and (copied := _range(reader.fileno(), writer.fileno(), left)):
                left -= copied
    except FileNotFoundError:
        if target.parent.exists():
            raise
        target.parent.mkdir(parents=True)
        _copy(source, target)


def _range(reader: int, writer: int, count: int) -> int:
    try:
        return os.copy_file_range(reader, writer, count)
    except OSError as error:
        import errno

        if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF):
            raise
        return os.write(writer, os.read(reader, 1 << 20))


def _relative(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if file.is_relative_to(root) else str(file)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _silent(what: str, done: int, total: int) -> None:
    """No progress asked for."""
