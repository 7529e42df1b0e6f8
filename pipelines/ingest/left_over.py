"""Pictures of a folder that no frame has: they are counted and named, so that nobody finds out by their absence."""

from __future__ import annotations

import os
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Final

from core.stream_order import natural
from pipelines.ingest.adapter import FrameSet, printable
from pipelines.ingest.role_checks import sources

MEDIA: Final = frozenset((".png", ".jpg", ".jpeg", ".npy", ".npz", ".pgm", ".ppm", ".pnm", ".bmp", ".tif", ".tiff", ".webp", ".exr"))
"""Suffixes, in lower case, of what may be a picture or a map, whether Vortex reads it or not."""
FOLDERS: Final = 6
"""Folders that are remarked on; there are as many as somebody cares to make."""
NAMES: Final = 3


def left_over(root: Path, frame_set: FrameSet) -> list[str]:
    """A remark for each folder below `root` with pictures or maps that belong to no frame of the set.

    Folders of one name count together: every sequence has its own `segmentation/`. What is hidden is not looked at.
    """
    real = cache(os.path.realpath)  # of folders: a set may be named by a link, and an adapter may have followed it
    pairs = (pair for recording in frame_set.recordings for pair in recording.pairs)
    paths = (path for pair in pairs for source in sources(pair).values() for path in _paths(source))
    used = {os.path.join(real(path.parent), path.name) for path in paths}
    lone: defaultdict[str, list[str]] = defaultdict(list)
    totals: defaultdict[str, int] = defaultdict(int)
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        label = "" if Path(folder) == root else f"{Path(folder).name}/"
        for name in files:
            if Path(name).suffix.lower() in MEDIA and not name.startswith("."):
                totals[label] += 1
                if os.path.join(real(Path(folder)), name) not in used:
                    lone[label].append(name)
    remarks = [_remark(label, lone[label], totals[label]) for label in sorted(lone, key=natural)]
    more = len(remarks) - FOLDERS
    return [*remarks[:FOLDERS], *([f"{more} more folders hold pictures that belong to no frame"] if more > 0 else [])]


def _paths(source: object) -> list[Path]:
    """The file that is copied, or the files that a computed map is made of."""
    return [source] if isinstance(source, Path) else [value for value in vars(source).values() if isinstance(value, Path)]


def _remark(label: str, names: list[str], total: int) -> str:
    examples = ", ".join(printable(name) for name in sorted(names, key=natural)[:NAMES])
    return (
        f"{printable(label)}{': ' if label else ''}{len(names)} of {total} pictures or maps belong to no frame: left out "
        f"({examples}{', …' if len(names) > NAMES else ''})"
    )
