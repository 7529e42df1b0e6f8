"""What a pack looks like on disk: one array per role, small binary tables beside it, and an index that does not grow with the frames."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from core.classes import IGNORE
from core.errors import UsageError, VortexError
from validation.rows import Split

FORMAT: Final = 1
INDEX: Final = "index.json"
IDS, OFFSETS, SPLITS = "ids.utf8", "ids.offsets", "splits.u8"
SIDES: Final = (32, 4096)
"""Least and greatest side in pixels: what a recipe may train at."""
SPLIT_NAMES: Final[tuple[Split, ...]] = get_args(Split)
"""A frame's split is stored as its place in here."""
ABSENT: Final = -1
"""What a row table says of a frame that does not have the role."""


class PackError(VortexError):
    """A pack that cannot be used as it lies there: damaged, incomplete, or of another format."""


@dataclass(frozen=True)
class Role:
    """How the pixels of a role are stored. `missing` is what a batch holds where a frame lacks the role."""

    dtype: np.dtype[np.generic]
    suffix: str
    channels: int = 0
    missing: int = 0

    def shape(self, size: tuple[int, int]) -> tuple[int, ...]:
        """Shape of one frame of `size` (H, W)."""
        return (*size, self.channels) if self.channels else size

    def row_bytes(self, size: tuple[int, int]) -> int:
        """Bytes of one frame."""
        return size[0] * size[1] * max(1, self.channels) * self.dtype.itemsize


_U8, _U16, _F16 = np.dtype(np.uint8), np.dtype("<u2"), np.dtype("<f2")
ROLES: Final[dict[str, Role]] = {
    "rgb": Role(_U8, "u8", channels=3),
    # Metric depth in whole millimetres, 0 invalid: what the sensors and the files give.
    "reference": Role(_U16, "u16"),
    "tof_depth": Role(_U16, "u16"),
    # 255 is certain.
    "tof_confidence": Role(_U8, "u8"),
    "teacher_depth": Role(_U16, "u16"),
    # Unbounded inverse depth up to about 2000. Halves keep it within 0.05 % everywhere; 16-bit steps of 2000/65535 = 0.03 would
    # lose far surfaces, whose inverse depth is small.
    "teacher_relative": Role(_F16, "f16"),
    "segmentation": Role(_U8, "u8", missing=IGNORE),
}
TEACHERS: Final = ("teacher_depth", "teacher_relative")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArrayEntry(_Part):
    """One array: its file, and how many frames have the role."""

    file: str
    dtype: str
    rows: int = Field(ge=0)
    bytes: int = Field(ge=0)


class TableEntry(_Part):
    """A small file (row table, row checksums, ids): bytes and SHA-256."""

    bytes: int = Field(ge=0)
    sha256: str


class Index(_Part):
    """`index.json`. `digest` is the dataset's (its manifest and every file's SHA-256), `manifest` where it lay when it was packed."""

    format: int
    name: str
    manifest: str
    manifest_sha256: str
    digest: str
    size: tuple[int, int]
    frames: int = Field(ge=1)
    splits: dict[str, int]
    arrays: dict[str, ArrayEntry]
    tables: dict[str, TableEntry]


def array_file(role: str) -> str:
    """File of a role's pixels."""
    return f"{role}.{ROLES[role].suffix}"


def rows_file(role: str) -> str:
    """File of a role's row table: int32 for each frame of the set, `ABSENT` where it lacks the role."""
    return f"{role}.rows"


def checksums_file(role: str) -> str:
    """File of a role's checksums: CRC-32 of each of its rows."""
    return f"{role}.crc32"


def folder_name(name: str, size: tuple[int, int], digest: str) -> str:
    """Folder of the pack of a dataset at a size: another content, size or format is another folder."""
    key = hashlib.sha256(f"{FORMAT} {size[0]}x{size[1]} {digest}".encode()).hexdigest()[:12]
    return f"{name}-{size[0]}x{size[1]}-{key}"


def is_folder_of(name: str, folder: str) -> bool:
    """Whether `folder` is the name of some pack of the dataset `name`."""
    return re.fullmatch(rf"{re.escape(name)}-\d+x\d+-[0-9a-f]{{12}}", folder) is not None


def is_staging_of(name: str, folder: str) -> bool:
    """Whether `folder` is what a packer of the dataset `name` was writing (as `core.files.staged_directory` names it)."""
    return re.fullmatch(rf"\.{re.escape(name)}-\d+x\d+-[0-9a-f]{{12}}\.[0-9a-f]{{8}}\.staging", folder) is not None


def check_size(size: tuple[int, int]) -> None:
    """Raise UsageError unless frames can be packed at `size` (H, W)."""
    low, high = SIDES
    if len(size) != 2 or not all(isinstance(side, int) and low <= side <= high for side in size):
        text = "x".join(map(str, size))
        raise UsageError(f"size {text} is not allowed: height and width from {low} to {high} pixels each", "for example --size 240x320")


def read_index(path: Path) -> Index:
    """The index of the pack in the folder `path`. Raises PackError when it is missing, damaged, or of another format."""
    import json

    again = "remove the folder; it is packed again when it is needed"
    try:
        raw = json.loads((path / INDEX).read_bytes())
    except FileNotFoundError as error:
        raise PackError(f"{path}: is no pack, its {INDEX} is missing", again) from error
    except (OSError, ValueError) as error:
        raise PackError(f"{path / INDEX}: cannot be read ({error})", again) from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise PackError(f"{path}: has the pack format {version!r}, this vortex reads {FORMAT}", again)
    try:
        return Index.model_validate(raw)
    except ValueError as error:
        raise PackError(f"{path / INDEX}: is not the index of a pack", again) from error
