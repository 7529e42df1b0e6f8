"""Frames as arrays of one size, read through the dataset's pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from core.progress import Progress
from pipelines.pack.decoding import Arrays, unpack
from pipelines.pack.preparing import prepare
from pipelines.pack.reading import Selection

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from validation.rows import Frame


@dataclass(frozen=True)
class FrameArrays:
    """Frames of one set at one size (H, W); nothing of them is held in memory. Index it for a frame's arrays.

    `rgb` uint8 [H,W,3]; what the frame has of `reference`, `tof_depth`, `teacher_depth` float32 [H,W] (metres, 0 invalid; a relative
    teacher keeps its own unit), `tof_confidence` float32 [H,W] in [0,1], `segmentation` uint8 [H,W].
    """

    frames: tuple[Frame, ...]
    selection: Selection = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.selection.pack.size

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Arrays]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Arrays:
        stored = self.selection.pack.stored(int(self.selection.frames[index]))
        return {"teacher_depth" if role == "teacher_relative" else role: unpack(role, array) for role, array in stored.items()}


def load_arrays(
    packs: Path, ref: DataRef, frames: Sequence[Frame], size: tuple[int, int], *, on_progress: Progress | None = None
) -> FrameArrays:
    """The arrays of `frames` of `ref` at `size` (H, W). The first call for a dataset and size packs it into the folder `packs`.

    Metric depth is kept in whole millimetres (what the sensors and the files give); beyond 65.5 m it is invalid.
    Raises VortexError as `pipelines.pack.preparing.prepare` does.
    """
    pack = prepare(packs, ref, size, progress=on_progress).pack
    return FrameArrays(tuple(frames), Selection(pack, pack.find([frame.id for frame in frames])))
