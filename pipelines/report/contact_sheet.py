"""The contact sheet of a dataset: a few frames from all over it, as colour, depth in turbo, and classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from core.classes import IGNORE
from core.progress import Progress
from models.teachers.merge import SOURCES
from pipelines.data.datasets import Dataset
from pipelines.report.pictures import UNKNOWN, Picture, Tile, class_colours, depth_range, edges_on_colour, save_grid, turbo
from validation.decode import read_confidence, read_depth, read_rgb, read_segmentation
from validation.manifest import file, load_manifest
from validation.rows import Frame, metres_of

_HEADS: Final = {
    "rgb": "colour",
    "depth": "depth",
    "tof": "ToF depth",
    "edges": "depth edges on colour",
    "tof_confidence": "ToF confidence",
    "teacher_depth": "teacher depth",
    "segmentation": "classes",
    "segmentation_sources": "who decided",
}
_SOURCE_COLOURS: Final = (("black", (0, 0, 0)), ("blue", (76, 114, 176)), ("orange", (221, 132, 82)))
"""A colour for each of `models.teachers.merge.SOURCES`, in their order."""
_CELL_WIDTH: Final = 300

Depth = npt.NDArray[np.float32]


def contact_sheet(dataset: Dataset, path: Path, *, frames: int = 8, only: Frame | None = None, on_frame: Progress | None = None) -> Path:
    """Write the sheet of `frames` frames, evenly spread over the dataset, or of one alone, as PNG to `path`.

    All metric depth shares one stated range. Raises VortexError when the manifest or a file is broken.
    """
    selection = [only] if only else spread(load_manifest(dataset.manifest), frames)
    maps: list[dict[str, Any]] = []
    for number, frame in enumerate(selection, 1):
        maps.append(_read(dataset.root, frame))
        if on_frame:
            on_frame(number, len(selection))
    roles = [role for role in _HEADS if any(role in read for read in maps)]
    metric = [depth for read, frame in zip(maps, selection, strict=True) for depth in _metric(read, frame)]
    depths = depth_range(metric) if metric else None
    shape = maps[0]["rgb"].shape
    groups = 2 if len(roles) <= 2 and len(selection) > 1 else 1
    cells = [[_tile(role, frame, read, depths) for role in roles] for frame, read in zip(selection, maps, strict=True)]
    rows = [[tile for group in cells[start : start + groups] for tile in group] for start in range(0, len(cells), groups)]
    card = dataset.card
    counts = ", ".join(f"{count} {split}" for split, count in card.frames.items())
    return save_grid(
        path,
        rows,
        columns=[_HEADS[role] for role in roles] * groups,
        cell=(round(_CELL_WIDTH * shape[0] / shape[1]), _CELL_WIDTH),
        title=card.name,
        subtitle=f"domain {card.domain} ({card.kind})   ·   camera {', '.join(card.cameras)}   ·   frames: {counts}   ·   "
        f"{shape[0]}×{shape[1]} (H×W)",
        group=len(roles),
        depth=depths,
        classes="segmentation" in roles,
    )


def spread(frames: Sequence[Frame], count: int) -> list[Frame]:
    """`count` frames evenly over the sequence, the first and the last among them."""
    places = np.linspace(0, len(frames) - 1, max(1, min(count, len(frames)))).round().astype(int)
    return [frames[place] for place in places]


def _read(root: Path, frame: Frame) -> dict[str, Any]:
    read: dict[str, Any] = {"rgb": read_rgb(file(root, frame.rgb))}
    if frame.depth and frame.depth_unit:
        read["depth"] = read_depth(file(root, frame.depth), frame.depth_unit)
    if frame.tof and frame.tof_unit:
        read["tof"] = read_depth(file(root, frame.tof), frame.tof_unit)
    reference = read.get("depth", read.get("tof"))
    if reference is not None:
        read["edges"] = edges_on_colour(read["rgb"], reference)
    if frame.tof_confidence:
        read["tof_confidence"] = read_confidence(file(root, frame.tof_confidence))
    if frame.teacher_depth and frame.teacher_unit:
        read["teacher_depth"] = read_depth(file(root, frame.teacher_depth), frame.teacher_unit)
    if frame.segmentation:
        read["segmentation"] = read_segmentation(file(root, frame.segmentation))
    if frame.segmentation_sources:
        read["segmentation_sources"] = read_segmentation(file(root, frame.segmentation_sources))
    return read


def _metric(read: dict[str, Any], frame: Frame) -> list[Depth]:
    teacher = frame.teacher_unit is not None and metres_of(frame.teacher_unit) is not None
    return [read[role] for role in ("depth", "tof", *(("teacher_depth",) if teacher else ())) if role in read]


def _tile(role: str, frame: Frame, read: dict[str, Any], depths: tuple[float, float] | None) -> Tile:
    if role == "rgb":
        return Tile(read["rgb"], f"{_short(frame.id)}  ·  {frame.split}")
    if role not in read:
        return Tile(None, "none")
    values = read[role]
    if role == "edges":
        return Tile(values, "red: borders of what is nearer")
    if role == "segmentation":
        labelled = float((values != IGNORE).mean())
        makers = f" by {_short(frame.segmentation_teacher)}" if frame.segmentation_teacher else ""
        return Tile(class_colours(values), f"{labelled:.0%} labelled{makers}")
    if role == "segmentation_sources":
        return _sources(values)
    if role == "tof_confidence":
        return Tile(_grey(values), f"{float((values >= 0.5).mean()):.0%} at 0.5 or more")
    if role == "teacher_depth" and frame.teacher_unit == "relative":
        return Tile(turbo(values, *depth_range([values])), f"{frame.teacher}: relative, own colours")
    assert depths is not None
    valid = values[np.isfinite(values) & (values > 0)]
    middle = f"median {float(np.median(valid)):.2f} m, " if valid.size else ""
    return Tile(turbo(values, *depths), f"{middle}{valid.size / values.size:.0%} valid")


def _sources(values: npt.NDArray[np.uint8]) -> Tile:
    """Who decided each pixel: the geometry, an outlined object, or nobody."""
    table = np.full((256, 3), UNKNOWN, np.uint8)
    table[: len(_SOURCE_COLOURS)] = [colour for _, colour in _SOURCE_COLOURS]
    shares = [
        f"{colour} {name} {float((values == index).mean()):.0%}"
        for index, (name, (colour, _)) in enumerate(zip(SOURCES, _SOURCE_COLOURS, strict=True))
        if index and (values == index).any()
    ]
    return Tile(table[values], ", ".join(shares) or "nobody")


def _grey(confidence: npt.NDArray[np.float32]) -> Picture:
    return (confidence[..., None] * 255).astype(np.uint8).repeat(3, 2)


def _short(text: str) -> str:
    return text if len(text) <= 30 else f"…{text[-29:]}"
