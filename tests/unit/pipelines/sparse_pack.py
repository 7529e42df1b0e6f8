"""A pack of any length in no time: its arrays are holes in files, which read as zeros."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from pipelines.pack import writing
from pipelines.pack.layout import ROLES, array_file
from pipelines.pack.reading import Pack
from validation.rows import Frame


def sparse_pack(folder: Path, frames: int, size: tuple[int, int]) -> Pack:
    """Frames with image, reference depth and classes, all black."""
    folder.mkdir()
    rows = [
        Frame(
            id=f"frame-{number:07d}", domain="rooms", split="train", sequence="s", camera="c", rgb="r.png",
            depth="d.png", depth_unit="mm", segmentation="s.png", supervision="full",
        )
        for number in range(frames)
    ]  # fmt: skip
    plan = writing.Plan.of(rows)
    about = {"name": "sparse", "manifest": "/manifest.jsonl", "manifest_sha256": "0" * 64, "digest": "0" * 64}
    checksums = {role: np.full(count, zlib.crc32(bytes(ROLES[role].row_bytes(size))), "<u4") for role, count in plan.counts.items()}
    writing.write_tables(folder, plan, checksums, size, about)
    for role, count in plan.counts.items():
        with open(folder / array_file(role), "wb") as stream:
            os.truncate(stream.fileno(), count * ROLES[role].row_bytes(size))
    return Pack.open(folder)
