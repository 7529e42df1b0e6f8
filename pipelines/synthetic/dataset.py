"""Film a world and write it as a dataset: the same bytes for a seed, however many processes share the work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.depth import MILLIMETRES
from core.errors import VortexError
from core.progress import Progress
from pipelines.data.datasets import Dataset, DatasetCard, find, new_dataset
from pipelines.data.publication import refuse_existing
from pipelines.synthetic import teacher as teachers
from pipelines.synthetic.scene import Scene
from pipelines.synthetic.shot import camera_at, shoot
from pipelines.synthetic.worlds import world as find_world
from pipelines.workspace import Workspace, check_name, load
from validation.manifest import MANIFEST, stream_split, write_manifest
from validation.rows import Frame, Split

SIZE: Final = (240, 320)
SIDES: Final = (32, 2048)
FEWEST: Final = 12
"""Frames of the smallest dataset: two sequences, each with a training, a gap and a validation frame."""
PER_SEQUENCE: Final = 6
"""Frames of the shortest sequence but for the smallest sets: four to train on, one in the gap, one to be judged by."""
SEQUENCES: Final = 12
"""Sequences of a large set. Frames of one layout resemble each other, so it takes many layouts to tell two versions apart: a verdict asks
for ten independent frames, and resamples sequences from eight on."""
CHUNK: Final = 16
_HAIR: Final = 1e-9
"""So that a share such as 0.1, which binary numbers miss by a hair, still makes every tenth."""


@dataclass(frozen=True)
class Job:
    """Everything that decides a dataset's bytes."""

    world: str
    domain: str
    frames: int
    seed: int
    size: tuple[int, int]
    teacher: str | None
    labelled: float = 1.0
    """Share of the training frames that keep their class mask; the other splits are there to be measured on, and keep all."""
    held_out: bool = False
    """Every frame is of the split `test`: a set that nothing is ever trained on."""

    def __post_init__(self) -> None:
        find_world(self.world)
        teachers.check(self.teacher)
        if self.frames < FEWEST:
            raise VortexError(
                f"{self.frames} frames are too few, allowed: {FEWEST} or more",
                f"{FEWEST} frames make two sequences, each with at least one frame for training, gap and validation",
            )
        if len(self.size) != 2 or not all(SIDES[0] <= side <= SIDES[1] for side in self.size):
            text = "x".join(map(str, self.size))
            raise VortexError(f"size {text} is not allowed: height and width from {SIDES[0]} to {SIDES[1]} pixels", "for example 240x320")
        if self.seed < 0:
            raise VortexError(f"seed {self.seed} is not allowed: 0 or a positive whole number", "for example --seed 1")

        if not 0 <= self.labelled <= 1:
            raise VortexError(f"labelled share {self.labelled} is not allowed: 0 to 1", "for example --labelled 0.06")

    @property
    def sequences(self) -> list[int]:
        """Frames of each sequence; every sequence is one layout of the world."""
        count = min(SEQUENCES, max(2, self.frames // PER_SEQUENCE))
        return [self.frames // count + (number < self.frames % count) for number in range(count)]

    def split(self, sequence: int, index: int) -> Split:
        """What a frame is for."""
        return "test" if self.held_out else stream_split(index, self.sequences[sequence])

    def keeps_mask(self, sequence: int, index: int) -> bool:
        """Whether a frame keeps its class mask. Those that do are spread evenly over the training frames of all sequences."""
        if self.split(sequence, index) != "train":
            return True
        place = sum(_training(total) for total in self.sequences[:sequence]) + index
        return int((place + 1) * self.labelled + _HAIR) > int(place * self.labelled + _HAIR)

    def chunks(self) -> list[tuple[int, int, int]]:
        """(sequence, first, stop) pieces of work."""
        return [
            (sequence, first, min(first + CHUNK, total))
            for sequence, total in enumerate(self.sequences)
            for first in range(0, total, CHUNK)
        ]


def synthesise(
    ws: Workspace,
    name: str,
    *,
    world: str,
    frames: int,
    seed: int = 0,
    size: tuple[int, int] = SIZE,
    domain: str | None = None,
    teacher: str | None = None,
    labelled: float = 1.0,
    held_out: bool = False,
    workers: int = 1,
    on_frame: Progress | None = None,
) -> Dataset:
    """Film `frames` frames of a procedural `world` and publish them as dataset `name`, with exact depth, classes and a ToF stream.

    The domain defaults to the world's name. `teacher` adds "metric" or "relative" teacher depth. `labelled` is the share of the training
    frames that keep their class mask; with `held_out` every frame is of the split `test`. Raises VortexError for an unknown world or teacher,
    a size, count or share that cannot be, and a name that is taken; then nothing is written.
    """
    refuse_existing(ws, name)
    job = Job(world, check_name("domain", domain or world), frames, seed, size, teacher, labelled, held_out)
    # Another call may have added a domain since this workspace was loaded.
    ws = load(ws.root)
    registered = ws.config.domains.get(job.domain)
    kind = registered.kind if registered else find_world(world).kind
    settings = {"world": world, "seed": seed, "frames": frames, "size": list(size), "sequences": len(job.sequences), "teacher": teacher}
    if labelled < 1:
        settings["labelled"] = labelled
    if held_out:
        settings["held_out"] = True
    card = DatasetCard(name=name, domain=job.domain, kind=kind, format="synthetic", source=f"world {world}, seed {seed}", settings=settings)
    with new_dataset(ws, name, card) as staging:
        write_manifest(staging / MANIFEST, render_dataset(staging, job, workers, on_frame))
    # Only now: a set that did not arrive leaves no domain behind.
    if registered is None:
        ws.add_domain(job.domain, kind)
    return find(ws, name)


def render_dataset(folder: Path, job: Job, workers: int = 1, on_frame: Progress | None = None) -> list[Frame]:
    """Write the files of all frames below `folder` and return the rows, in order. Raises VortexError when a worker process dies."""
    if workers < 1:
        raise VortexError(f"{workers} workers are not allowed: 1 or more", "leave --workers out for one process")
    for part in ("rgb", "depth", "segmentation", "tof", "confidence", *(("teacher",) if job.teacher else ())):
        (folder / part).mkdir(parents=True, exist_ok=True)
    rows: dict[tuple[int, int], list[Frame]] = {}
    rendered = 0
    for place, frames in _parallel(folder, job, workers) if workers > 1 else _alone(folder, job):
        rows.setdefault(place, []).extend(frames)
        rendered += len(frames)
        if on_frame:
            on_frame(rendered, job.frames)
    return [frame for place in sorted(rows) for frame in rows[place]]


@lru_cache(maxsize=16)
def _training(total: int) -> int:
    """How many frames of a sequence are for training: its first ones."""
    return next((index for index in range(total) if stream_split(index, total) != "train"), total)


def _alone(folder: Path, job: Job) -> Iterator[tuple[tuple[int, int], list[Frame]]]:
    for sequence, first, stop in job.chunks():
        for index in range(first, stop):
            yield (sequence, index), [_film(folder, job, sequence, index)]


def _parallel(folder: Path, job: Job, workers: int) -> Iterator[tuple[tuple[int, int], list[Frame]]]:
    from multiprocessing import get_context

    # Spawned, not forked: the caller's progress display runs threads, and a fork would copy their locks.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread)
    try:
        pending = {pool.submit(_film_chunk, folder, job, *chunk): chunk for chunk in job.chunks()}
        for future in as_completed(pending):
            yield pending[future][:2], future.result()
    except BrokenProcessPool as error:
        raise VortexError("a rendering process was killed, perhaps for memory", "run the command again with fewer --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _film_chunk(folder: Path, job: Job, sequence: int, first: int, stop: int) -> list[Frame]:
    return [_film(folder, job, sequence, index) for index in range(first, stop)]


@lru_cache(maxsize=2)
def _scene(world: str, seed: int, sequence: int) -> Scene:
    return find_world(world).build((seed, sequence))


def _film(folder: Path, job: Job, sequence: int, index: int) -> Frame:
    """Render and write one frame. Its randomness is its own: (seed, sequence, index)."""
    world, total = find_world(job.world), job.sequences[sequence]
    rng = np.random.default_rng([job.seed, sequence, index])
    shot = shoot(world, _scene(job.world, job.seed, sequence), index / total, job.size, rng)
    name = f"s{sequence}-{index:05d}"
    # High quality JPEG: as cameras deliver, 20 times as fast to write as PNG (measured), and the same bytes each time.
    _write(folder / f"rgb/{name}.jpg", shot.rgb[..., ::-1])
    _write(folder / f"depth/{name}.png", _millimetres(shot.depth))
    _write(folder / f"tof/{name}.png", _millimetres(shot.tof))
    masked = job.keeps_mask(sequence, index)
    if masked:
        _write(folder / f"segmentation/{name}.png", shot.label)
    _write(folder / f"confidence/{name}.png", np.rint(shot.confidence * 255).astype(np.uint8))
    source, unit = teachers.TEACHERS[job.teacher] if job.teacher else (None, None)
    if job.teacher:
        np.save(folder / f"teacher/{name}.npy", teachers.predict(job.teacher, shot.depth, rng))
    return Frame(
        id=name, domain=job.domain, split=job.split(sequence, index), sequence=f"s{sequence}", camera=world.camera,
        intrinsics=camera_at(world, job.size).pinhole, rgb=f"rgb/{name}.jpg", depth=f"depth/{name}.png",
        depth_unit="mm", tof=f"tof/{name}.png", tof_unit="mm", tof_confidence=f"confidence/{name}.png",
        teacher_depth=f"teacher/{name}.npy" if job.teacher else None, teacher=source, teacher_unit=unit,
        segmentation=f"segmentation/{name}.png" if masked else None, supervision="full" if masked else "none",
    )  # fmt: skip


def _millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.rint(np.minimum(depth, np.float32(65.0)) * np.float32(MILLIMETRES)).astype(np.uint16)


def _write(path: Path, picture: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    import cv2

    jpeg = path.suffix == ".jpg"
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if jpeg else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    good, data = cv2.imencode(path.suffix, np.ascontiguousarray(picture), options)
    if not good:
        raise VortexError(f"{path}: the picture could not be encoded", "please report this as a bug")
    path.write_bytes(data.tobytes())
