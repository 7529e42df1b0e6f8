"""Fill the arrays of a batch from packs: copied, or augmented, straight into their places. Knows numpy and OpenCV, nothing of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import local
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.pack.layout import ABSENT, ROLES, TEACHERS
from pipelines.pack.reading import Selection

HAS_TEACHER: Final = "has_teacher"
"""Besides the roles: which frames of a batch have a teacher's depth, bool [B]."""
Arrays = Mapping[str, NDArray[Any]]


class Augment(Protocol):
    """What `models.augment.build` makes."""

    @property
    def changes(self) -> bool:
        """Whether it does anything at all."""

    def into(self, rgb: NDArray[Any], maps: Arrays, seed: int, rgb_out: NDArray[Any], maps_out: Arrays) -> None:
        """Augment one frame into the arrays given for it."""


class Filler:
    """Fills batches from selections that are laid end to end. Threads may share one; each has its own augmentation."""

    def __init__(self, parts: Sequence[Selection], augmentation: Callable[[], Augment], seed: int) -> None:
        self.parts, self.seed = tuple(parts), seed
        self.roles = tuple(role for role in ROLES if any(role in part.roles for part in parts))
        self.size = self.parts[0].pack.size
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self._make, self._own = augmentation, local()

    def shapes(self, count: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and type of every array of a batch."""
        roles = {role: ((count, *ROLES[role].shape(self.size)), ROLES[role].dtype) for role in self.roles}
        return {**roles, HAS_TEACHER: ((count,), np.dtype(np.bool_))}

    def places(self, numbers: NDArray[np.int64]) -> tuple[tuple[Selection, int], ...]:
        """Whose frames these are: the selection, and the frame in its pack."""
        parts = self._part_of(numbers)
        return tuple(
            (self.parts[part], int(self.parts[part].frames[number - self._starts[part]]))
            for part, number in zip(parts, numbers, strict=True)
        )

    def fill(self, arrays: Arrays, numbers: NDArray[np.int64], positions: Sequence[int], epoch: int) -> None:
        """Put the frames `numbers` into `arrays` (of `shapes`); `positions` are their places in the epoch, which decide their seeds."""
        augment = self._augment()
        sources: list[dict[str, NDArray[Any]]] | None = [{} for _ in positions] if augment.changes else None
        part_of = self._part_of(numbers)
        arrays[HAS_TEACHER][:] = False
        for number in np.unique(part_of).tolist():
            part, slots = self.parts[number], np.flatnonzero(part_of == number)
            frames = part.frames[numbers[slots] - self._starts[number]]
            for role in self.roles:
                self._take(role, part, frames, slots, arrays, sources)
        for slot, frame in enumerate(sources or ()):
            rgb = frame.pop("rgb")
            maps = {_map_name(role): source for role, source in frame.items()}
            seed = self.augmentation_seed(epoch, positions[slot])
            augment.into(rgb, maps, seed, arrays["rgb"][slot], {_map_name(role): arrays[role][slot] for role in frame})

    def augmentation_seed(self, epoch: int, position: int) -> int:
        """By position in the epoch, not by frame: a frame that is repeated within an epoch is augmented anew each time."""
        return int(np.random.SeedSequence([self.seed, epoch, position]).generate_state(1)[0])

    def _take(
        self,
        role: str,
        part: Selection,
        frames: NDArray[np.int32],
        slots: NDArray[np.intp],
        arrays: Arrays,
        sources: list[dict[str, NDArray[Any]]] | None,
    ) -> None:
        """Copy a role of some frames of a part into their slots, or only point at it where it will be augmented."""
        out, pack = arrays[role], part.pack
        if role not in pack.tables:
            out[slots] = ROLES[role].missing
            return
        rows, stored = pack.tables[role][frames], pack.arrays[role]
        pack.check(role, rows)
        if role in TEACHERS:
            arrays[HAS_TEACHER][slots[rows != ABSENT]] = True
        for slot, row in zip(slots.tolist(), rows.tolist(), strict=True):
            if row == ABSENT:
                out[slot] = ROLES[role].missing
            elif sources is None:
                out[slot] = stored[row]
            else:
                sources[slot][role] = stored[row]

    def _part_of(self, numbers: NDArray[np.int64]) -> NDArray[np.intp]:
        return np.searchsorted(self._starts, numbers, side="right") - 1

    def _augment(self) -> Augment:
        if not hasattr(self._own, "augment"):
            self._own.augment = self._make()
        augment: Augment = self._own.augment
        return augment


def _map_name(role: str) -> str:
    """A relative teacher moves as a metric one does."""
    return "teacher_depth" if role == "teacher_relative" else role
