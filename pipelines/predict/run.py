"""`vortex predict`: a version's answers for pictures, as files that are whole or absent."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.depth import millimetres
from core.errors import UsageError, VortexError
from core.files import write_atomic
from core.progress import Progress
from pipelines.hub.classes import class_pixels, untaught
from pipelines.hub.open import hub
from pipelines.pack.decoding import nearest, resized
from pipelines.predict.of_version import predictor_of
from pipelines.predict.runtimes import Answers
from pipelines.predict.sources import RECORD, Picture, Source, source_of
from pipelines.protocol import Runtime
from pipelines.report.pictures import Sheet, class_colours, depth_range, png, sheet, turbo
from pipelines.workspace import Workspace

FORMATS: Final = ("png", "npy")
DEPTH, CLASSES, PICTURES = "depth", "classes", "pictures"
"""The folders of what is written."""
BATCH: Final = 8
CELL_WIDTH: Final = 320


@dataclass(frozen=True)
class Written:
    """What was written of one picture: its name, its size (H, W), the files below the folder, and the median depth in metres."""

    name: str
    size: tuple[int, int]
    files: tuple[str, ...]
    median_m: float | None


@dataclass(frozen=True)
class Predictions:
    """What `predict` did. `classes` says whether class maps were written, `remark` why the export was not used."""

    version: str
    checkpoint: str
    kind: str
    source: str
    runtime: Runtime
    folder: Path
    depth_format: str
    classes: bool
    remark: str = ""
    complete: bool = False
    seconds: float = 0.0
    others: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    pictures: tuple[Written, ...] = field(default=(), repr=False)


def predict(
    ws: Workspace,
    name: str,
    text: str,
    *,
    out: Path | None = None,
    depth_format: str = "png",
    split: str | None = None,
    every: int = 1,
    runtime: str = "auto",
    device: str = "auto",
    pictures: bool = True,
    on_progress: Progress | None = None,
) -> Predictions:
    """Run version `name` over the pictures of `text` (a picture, a folder, a video, a dataset), and write what it answers into `out`.

    Depth and classes have each picture's own size: `depth/NAME.png` in millimetres (16 bits, 0 where nothing is said) or `depth/NAME.npy`
    in metres, `classes/NAME.png` class ids where the classes were trained, `pictures/NAME.png` all of it side by side.
    `predictions.json` says what was made of what. Earlier predictions of the same version and source in `out` are removed first.
    Raises VortexError for a source that is none, an `out` that holds anything else, and at the end for pictures that cannot be read: the
    others are written then.
    """
    if depth_format not in FORMATS:
        raise UsageError(f"unknown format {depth_format!r}, allowed: {', '.join(FORMATS)}", "png is 16-bit millimetres, npy float32 metres")
    registry = hub(ws)
    version = registry.get(name)
    source = source_of(ws, text, split, every)
    folder = out or ws.build / "predictions" / version.name / source.name
    predictor = predictor_of(registry, version, runtime, device)
    taught = not untaught(class_pixels(registry, version))
    record = Predictions(
        version.name,
        version.checkpoint.sha256,
        source.kind,
        source.place,
        predictor.runtime,
        folder,
        depth_format,
        taught,
        predictor.remark,
        others=source.others,
    )
    _require_own(record)
    started = time.perf_counter()
    writer = _Writer(record, pictures, version.size)
    written: list[Written] = []
    unreadable: list[str] = []
    stream = _readable(source, unreadable)
    while batch := list(islice(stream, BATCH)):
        if not written:
            _begin(record)
        small = np.stack([resized(picture, version.size) for _, picture in batch])
        answers = predictor.predict(small)
        written += writer.write(batch, small, answers)
        if on_progress:
            count = len(written) + len(unreadable)
            on_progress(count, max(count, source.count))
    complete = Predictions(
        **{
            **vars(record),
            "complete": True,
            "seconds": time.perf_counter() - started,
            "unreadable": tuple(unreadable),
            "pictures": tuple(written),
        }
    )
    _save(complete)
    if unreadable:
        raise VortexError(
            f"{len(unreadable)} of {len(written) + len(unreadable)} pictures of {text} could not be read"
            + (f"; the other {len(written)} are predicted in {folder}" if written else "; nothing was predicted"),
            "replace them, and run the command again",
            unreadable,
        )
    return complete


def _readable(source: Source, unreadable: list[str]) -> Iterator[tuple[str, Picture]]:
    """Each picture with its name; what is wrong with one that cannot be read goes into `unreadable`."""
    for name, read in source.pictures():
        try:
            picture = read()
        except VortexError as error:
            unreadable.append(error.message)
            continue
        yield name, picture


def _require_own(record: Predictions) -> None:
    """Raise VortexError where the folder holds anything but earlier predictions of the same version and source."""
    folder = record.folder
    if folder.exists() and (not folder.is_dir() or (_holds_something(folder) and _earlier(folder) != _about(vars(record)))):
        raise VortexError(
            f"{folder} holds something other than predictions of {record.version} for {record.source}; nothing was written",
            "name a new folder with -o, or remove that one",
        )


def _holds_something(folder: Path) -> bool:
    """Whether there is anything beside what a killed process left of a record that it was writing."""
    return any(path for path in folder.iterdir() if not fnmatch(path.name, f".{RECORD}.*.staging"))


def _begin(record: Predictions) -> None:
    """Say whose the folder is, and remove what earlier predictions left there: a record never names files that are gone."""
    _save(record)
    for name in (DEPTH, CLASSES, PICTURES):
        if (record.folder / name).is_dir():
            shutil.rmtree(record.folder / name)


def _earlier(folder: Path) -> tuple[Any, ...] | None:
    try:
        return _about(json.loads((folder / RECORD).read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _about(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["version"], record["kind"], record["source"].partition("@")[0]


def _save(record: Predictions) -> None:
    write_atomic(record.folder / RECORD, json.dumps({**asdict(record), "folder": str(record.folder)}, indent=1) + "\n")


class _Writer:
    """Writes the answers for batches of pictures. All pictures share the depth scale of the first batch."""

    def __init__(self, record: Predictions, pictures: bool, size: tuple[int, int]) -> None:
        self.record, self.pictures = record, pictures
        self.cell = (round(CELL_WIDTH * size[0] / size[1]), CELL_WIDTH)
        self.range: tuple[float, float] | None = None
        self.sheet: Sheet | None = None

    def write(self, batch: list[tuple[str, Picture]], small: NDArray[np.uint8], answers: Answers) -> list[Written]:
        """Write the files of a batch of named pictures, whose answers have the size of `small`."""
        classes = answers.logits.argmax(axis=1).astype(np.uint8)
        if self.sheet is None and self.pictures:
            self.range = depth_range(list(answers.depth))
            heads = ("picture", f"depth by {self.record.version}", *(("classes",) if self.record.classes else ()))
            self.sheet = sheet([heads], cell=self.cell, depth=self.range, classes=self.record.classes)
        return [
            self._write(name, (picture.shape[0], picture.shape[1]), small[row], answers.depth[row], classes[row])
            for row, (name, picture) in enumerate(batch)
        ]

    def _write(self, name: str, size: tuple[int, int], rgb: Picture, depth: NDArray[np.float32], classes: NDArray[np.uint8]) -> Written:
        whole = resized(depth, size)
        encode: dict[str, Callable[[], bytes]] = {
            f"{DEPTH}/{name}.{self.record.depth_format}": lambda: _depth(whole, self.record.depth_format)
        }
        if self.record.classes:
            encode[f"{CLASSES}/{name}.png"] = lambda: _grey(nearest(classes, size))
        if self.sheet and self.range:
            panels = [rgb, turbo(np.maximum(depth, 1e-6), *self.range)]
            panels += [class_colours(classes)] if self.record.classes else []
            filled = self.sheet.filled(panels)
            encode[f"{PICTURES}/{name}.png"] = lambda: png(filled)
        for place, content in encode.items():
            write_atomic(self.record.folder / place, content())
        median = float(np.median(depth))
        return Written(name, size, tuple(encode), median if np.isfinite(median) else None)


def _depth(depth: NDArray[np.float32], depth_format: str) -> bytes:
    if depth_format == "png":
        return _grey(millimetres(depth))
    buffer = io.BytesIO()
    np.save(buffer, depth.astype(np.float32), allow_pickle=False)
    return buffer.getvalue()


def _grey(values: NDArray[Any]) -> bytes:
    import cv2

    whole, data = cv2.imencode(".png", values)
    if not whole:
        raise VortexError(f"a map of {values.shape[0]}x{values.shape[1]} pixels cannot be written as PNG", "use --format npy")
    return bytes(data)
