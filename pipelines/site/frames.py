"""Single frames of a version's exams: the worst ones, from the errors that the registry keeps, and pictures of them where the data is here."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np

from core.errors import VortexError
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.compare.versions import frame_errors
from pipelines.data.datasets import resolve
from pipelines.evaluate.predictions import draw
from pipelines.workspace import Workspace
from registry.records import Metrics, Version
from registry.versions import Hub

WORST: Final = 8
"""Frames that are named."""
FILMS: Final = (".mp4", ".webm")
DRAWN: Final = 3
"""Frames of each kind in a picture: spread over the set, and the worst."""


@dataclass(frozen=True)
class WorstFrames:
    """The frames of an exam with the largest RMSE, the worst first, each with its RMSE in metres as text."""

    place: str
    frames: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Figure:
    """A picture of the site: its file below the site's folder, its size in pixels, and what it shows."""

    file: str
    width: int
    height: int
    caption: str


@dataclass(frozen=True)
class Film:
    """A film of the site, and what it shows."""

    file: str
    caption: str


def films(ws: Workspace, version: str, folder: Path) -> Iterator[Film]:
    """What `vortex video` made of a version, copied below `folder`/videos."""
    for path in sorted((ws.build / "videos" / version).glob("*")):
        if path.suffix in FILMS and path.is_file():
            target = folder / "videos" / version / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            yield Film(f"videos/{version}/{quote(path.name)}", f"{version} on {path.stem}")


def worst_frames(registry: Hub, version: Version) -> Iterator[WorstFrames]:
    """Of each exam whose errors of frames are kept."""
    for metrics in _exams(version):
        errors = _errors(registry, version, metrics)
        if errors is not None:
            rmse = _rmse(errors)
            frames = tuple((errors.ids[row], f"{rmse[row]:.3f} m") for row in _order(rmse)[:WORST])
            yield WorstFrames(metrics.series.place, frames)


def figures(ws: Workspace, registry: Hub, version: Version, folder: Path) -> Iterator[Figure | str]:
    """A picture of each exam below `folder`/pictures, or in words why there is none.

    A picture is drawn once for a checkpoint and a state of the data, and kept in build/report-pictures.
    """
    for metrics in _exams(version):
        place = metrics.series.place
        try:
            ref = resolve(ws, name_or_manifest=metrics.dataset, domain=metrics.domain)
        except VortexError as error:
            yield f"no picture of {place}: {error.message}"
            continue
        if ref.digest != metrics.digest:
            yield f"no picture of {place}: {metrics.dataset} in data/ is not as it was measured"
            continue
        errors = _errors(registry, version, metrics)
        if errors is None:
            yield f"no picture of {place}: errors of single frames were not kept"
            continue
        try:
            yield _figure(ws, version, metrics, errors, folder)
        except VortexError as error:
            yield f"no picture of {place}: {error.message}"


def _figure(ws: Workspace, version: Version, metrics: Metrics, errors: FrameErrors, folder: Path) -> Figure:
    worst = [errors.ids[row] for row in _order(_rmse(errors))[:DRAWN]]
    spread = [errors.ids[row] for row in np.linspace(0, len(errors.ids) - 1, min(DRAWN, len(errors.ids))).round().astype(int)]
    ids = list(dict.fromkeys((*spread, *worst)))
    key = hashlib.sha256(json.dumps([version.checkpoint.sha256, metrics.digest, metrics.domain, ids]).encode()).hexdigest()[:16]
    stored = ws.build / "report-pictures" / f"{key}.png"
    if not stored.exists():
        split = metrics.protocol.partition("-")[0]
        draw(ws, version.name, metrics.domain, stored, data=metrics.dataset, split=split, ids=ids)
    target = folder / "pictures" / f"{key}.png"
    target.parent.mkdir(exist_ok=True)
    shutil.copyfile(stored, target)
    width, height = struct.unpack(">II", target.read_bytes()[16:24])
    caption = f"{version.name} on {metrics.series.place}: {len(ids)} frames, some from all over the set, then the worst"
    return Figure(f"pictures/{target.name}", width, height, caption)


def _exams(version: Version) -> list[Metrics]:
    return [metrics for metrics in version.metrics if metrics.series.exam]


def _errors(registry: Hub, version: Version, metrics: Metrics) -> FrameErrors | None:
    """The stored errors; None where none were kept, or they are gone or not whole: `vortex doctor` says so."""
    try:
        errors = frame_errors(registry, version.name, metrics)
    except VortexError:
        return None
    return errors if SQUARED in errors.sums and errors.sums[COUNT].any() else None


def _rmse(errors: FrameErrors) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """[frames]: RMSE of each frame in metres; -1 where it has no valid pixel."""
    squared, count = (np.asarray(errors.sums[name], np.float64) for name in (SQUARED, COUNT))
    return np.where(count > 0, np.sqrt(squared / np.maximum(count, 1)), -1.0)


def _order(rmse: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[int]:
    """Rows of the frames that have an error, the largest first; what is not finite is the worst."""
    values = np.where(np.isnan(rmse), np.inf, rmse)
    return [int(row) for row in np.argsort(-values, kind="stable") if values[row] >= 0]
