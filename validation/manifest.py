"""The manifest: one JSON object a line, one line a frame, read as a stream and never trusted.

A dataset is a folder with `manifest.jsonl`; every path in it is relative to that folder. `depth` is reference truth (the depth of
glass is the pane), `tof` what the robot's own sensor saw, `teacher_depth` what a foundation model said. Sizes are (H, W).
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from core.errors import VortexError
from core.files import inside, open_regular, staged_file
from validation.rows import Frame, RowFault, Split, parse, refuse_twice, short, to_mapping

MANIFEST: Final = "manifest.jsonl"
"""Name of a dataset's manifest in its folder."""
LINE_CAP: Final = 1 << 20
"""Longest line in bytes. A row is about 500 bytes: anything near the cap is not a manifest."""
BLOCK: Final = 1 << 16
"""Bytes read at a time."""
SHOWN: Final = 50
"""Faults listed with an error; the message counts all of them."""
LEGACY_KEYS: Final = ("stem", "rgb", "depth", "da3_depth", "sam2_seg", "confidence")
LEGACY_DOMAIN: Final = "unstated"
"""Domain of rows with the legacy keys, which name none: the command has to."""


class ManifestError(VortexError):
    """A manifest that cannot be used; `details` lists its faults with their lines."""


def read_manifest(path: Path) -> Iterator[Frame]:
    """Yield the frames of a manifest in order, without loading it.

    Rows with the legacy keys are converted. Raises ManifestError *at the end* with every fault and its line, so that a file is
    mended once; an overlong line ends the reading there and then.
    """
    faults = _Faults(path)
    ids: dict[str, int] = {}
    legacy: int | None = None
    try:
        with open_regular(path) as stream:
            for number, line in _lines(stream, faults):
                try:
                    if legacy is None:
                        legacy = count_rows(path) if b'"stem"' in line and b'"id"' not in line else 0
                    frame = _from_legacy(line, len(ids), legacy) if legacy else parse(line)
                except RowFault as fault:
                    faults.add(number, fault.args)
                    continue
                if (first := ids.setdefault(frame.id, number)) != number:
                    faults.add(number, (f"id {short(frame.id)} is already on line {first}, allowed: each id once",))
                    continue
                yield frame
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror})", "name a manifest, or a dataset of `vortex data list`") from error
    if not ids and not faults.count:
        faults.add(1, ("the manifest has no frames, allowed: one JSON object a line",))
    faults.raise_any()


def load_manifest(path: Path) -> list[Frame]:
    """All frames of a manifest. Raises ManifestError with every fault."""
    return list(read_manifest(path))


def write_manifest(path: Path, frames: Iterable[Frame]) -> int:
    """Write frames, checked by the reader's own rules, as a whole file or not at all; returns how many.

    Raises ManifestError when a frame breaks a rule, two share an id, or there are none.
    """
    faults = _Faults(path)
    ids: dict[str, int] = {}
    with staged_file(path) as staging:
        with open(staging, "wb") as stream:
            for number, frame in enumerate(frames, 1):
                try:
                    line = json.dumps(to_mapping(frame), ensure_ascii=False).encode()
                    parse(line)
                except RowFault as fault:
                    faults.add(number, fault.args)
                    continue
                except (TypeError, ValueError) as error:  # not JSON at all, or a lone surrogate
                    faults.add(number, (f"{short(frame.id)} cannot be written ({error}), allowed: text and finite numbers",))
                    continue
                first = ids.setdefault(frame.id, number)
                if first != number:
                    faults.add(number, (f"id {short(frame.id)} is already on line {first}, allowed: each id once",))
                stream.write(line + b"\n")
        if not ids and not faults.count:
            faults.add(1, ("there are no frames to write, allowed: at least one",))
        faults.raise_any()
    return len(ids)


def file(root: Path, relative: str) -> Path:
    """The file that a frame names. Raises VortexError when the path, or a link on it, leads out of the dataset."""
    return inside(root, relative)


def stream_split(index: int, total: int, shares: tuple[int, int, int] = (72, 8, 20)) -> Split:
    """Split of frame `index` of a sequence of `total`: first the training frames, then a gap, last the validation frames.

    Neighbouring frames of one stream show almost the same picture: random splits would leak, so the order of the stream decides.
    """
    train, validation = (total * shares[0] + 50) // 100, (total * shares[2] + 50) // 100
    if index < min(train, total - validation):
        return "train"
    return "val" if index >= total - validation else "gap"


class _Faults:
    """Counts faults and keeps the first of them: a broken file of ten million lines needs no more memory than a good one."""

    def __init__(self, path: Path) -> None:
        self.path, self.count, self.shown = path, 0, list[str]()

    def add(self, line: int, texts: Iterable[Any]) -> None:
        for text in texts:
            self.count += 1
            if len(self.shown) < SHOWN:
                self.shown.append(f"line {line}: {text}")

    def raise_any(self) -> None:
        if self.count == 1:
            raise ManifestError(f"{self.path}: {self.shown[0]}", "mend the line; nothing was taken from the manifest")
        if self.count:
            rest = "" if self.count <= SHOWN else f" (the first {SHOWN} are listed)"
            message = f"{self.path}: {self.count} faults{rest}, the first on {self.shown[0]}"
            raise ManifestError(message, "mend the lines listed; nothing was taken from the manifest", self.shown)


def _lines(stream: BinaryIO, faults: _Faults) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers; read in blocks, which is faster than line by line."""
    number, rest = 0, b""
    while block := stream.read(BLOCK):
        if not number and not rest:  # the manifest's beginning: its digest is that of its bytes, with or without a mark
            block = block.removeprefix(codecs.BOM_UTF8)
        *lines, rest = (rest + block).split(b"\n")
        for line in [*lines, rest] if len(rest) > LINE_CAP else lines:
            number += 1
            if len(line) > LINE_CAP:
                # Stop: skipping to the end of a 1 GB line would read all of it, only to refuse the file anyway.
                cap = f"the line is longer than {LINE_CAP} bytes, allowed: one JSON object of a frame; reading stopped here"
                faults.add(number, (cap,))
                return
            if line and not line.isspace():
                yield number, line
    if rest and not rest.isspace():
        yield number + 1, rest


def count_rows(path: Path) -> int:
    """Lines of a manifest that are not blank: a total for progress, not a judgement."""
    with open_regular(path) as stream:
        return sum(1 for _ in _lines(stream, _Faults(path)))


def _from_legacy(line: bytes, index: int, total: int) -> Frame:
    """A legacy row as a frame: its `depth` is the robot's ToF, its classes are already in Vortex's order."""
    row = refuse_twice(line)
    unknown = row.keys() - set(LEGACY_KEYS)
    if unknown or "stem" not in row:
        fault = f"key {', '.join(map(short, sorted(unknown)))} is unknown" if unknown else "stem is missing"
        raise RowFault(f"{fault} in a manifest with the legacy keys, allowed: {', '.join(LEGACY_KEYS)}")
    depth, teacher, mask = row.get("depth"), row.get("da3_depth"), row.get("sam2_seg")
    row = {
        "id": row["stem"],
        "domain": LEGACY_DOMAIN,
        "split": stream_split(index, total),
        "sequence": "stream",
        "camera": "femto-bolt",
        "rgb": row.get("rgb"),
        "tof": depth,
        # The robot's recorder wrote float metres; a picture file can only hold whole millimetres.
        "tof_unit": None if depth is None else "mm" if str(depth).lower().endswith(".png") else "m",
        "tof_confidence": None if depth is None else row.get("confidence"),
        "teacher_depth": teacher,
        "teacher": None if teacher is None else "da3-metric-large",
        "teacher_unit": None if teacher is None else "m",
        "segmentation": mask,
        "supervision": "none" if mask is None else "partial",
    }
    return parse(json.dumps(row).encode())
