"""Small honest sets of frames, written by code, for tests to put one fault into."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from core.classes import IGNORE
from validation.data_gate import DataJudgement, judge_statistics
from validation.policies import load_policies
from validation.rows import Frame, Split
from validation.statistics import gather

SIZE = (48, 64)
SPLITS: tuple[Split, ...] = ("train",) * 8 + ("gap",) + ("val",) * 3


@dataclass
class FrameSet:
    """Twelve frames below `root`: a floor that runs away, a box at some distance, noise of its own in every picture."""

    root: Path
    frames: list[Frame] = field(default_factory=list)
    labels: str = "full"
    tof_share: float = 0.6

    def build(self) -> FrameSet:
        """Write the files."""
        for index, split in enumerate(SPLITS):
            name = f"kitchen-{index:06d}"
            depth = scene(index)
            noise = np.random.default_rng(100 + index)
            tof = np.where(noise.random(SIZE) < self.tof_share, depth, 0)
            self.write(f"rgb/{name}.png", noise.integers(0, 255, (*SIZE, 3), dtype=np.uint8))
            self.write(f"depth/{name}.png", (depth * 1000).astype(np.uint16))
            self.write(f"tof/{name}.png", (tof * 1000).astype(np.uint16))
            self.write(f"confidence/{name}.png", np.where(tof > 0, 255, 0).astype(np.uint8))
            self.write(f"teacher/{name}.npy", (depth * noise.normal(1.05, 0.03, SIZE)).astype(np.float32))
            if self.labels != "none":
                labelled = self.labels == "full" or index % 4 == 0
                self.write(f"segmentation/{name}.png", noise.integers(0, 6, SIZE, dtype=np.uint8) if labelled else blank())
            self.frames.append(
                Frame(
                    id=name,
                    domain="kitchen",
                    split=split,
                    sequence="one",
                    camera="kinect",
                    rgb=f"rgb/{name}.png",
                    depth=f"depth/{name}.png",
                    depth_unit="mm",
                    tof=f"tof/{name}.png",
                    tof_unit="mm",
                    tof_confidence=f"confidence/{name}.png",
                    teacher_depth=f"teacher/{name}.npy",
                    teacher="made-up",
                    teacher_unit="m",
                    segmentation=None if self.labels == "none" else f"segmentation/{name}.png",
                    supervision=self.labels,
                )
            )
        return self

    def write(self, relative: str, array: np.ndarray[Any, Any]) -> None:
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npy":
            np.save(path, array)
        else:
            assert cv2.imwrite(str(path), array)

    def change(self, index: int, **fields: Any) -> None:
        """Replace fields of one row."""
        self.frames[index] = replace(self.frames[index], **fields)

    def change_all(self, **fields: Any) -> None:
        """Replace fields of every row."""
        self.frames = [replace(frame, **fields) for frame in self.frames]

    def scale_teacher(self, factor: float, *indices: int) -> None:
        """Multiply the teacher's depth of these frames; without indices, of all."""
        for index in indices or range(len(self.frames)):
            path = self.root / str(self.frames[index].teacher_depth)
            np.save(path, np.load(path) * np.float32(factor))

    def depth_as_floats(self, factor: float, unit: str) -> None:
        """Write the reference of every frame as float .npy, multiplied, and declare `unit`."""
        for index in range(len(self.frames)):
            self.write(f"depth/{index}.npy", (scene(index) * factor).astype(np.float32))
            self.change(index, depth=f"depth/{index}.npy", depth_unit=unit)


def data_judgement(root: Path, frames: Iterable[Frame], kind: str) -> DataJudgement:
    """Measure the frames below `root`, and judge them by the shipped bounds of `kind`."""
    return judge_statistics(gather(root, frames)[0], kind, load_policies())


def scene(index: int) -> np.ndarray[Any, Any]:
    """Depth in metres, 1.1 to 4 m, another one for each index."""
    rows = np.linspace(1, 0, SIZE[0])[:, None] * np.ones(SIZE)
    depth = 1.2 + 2.5 * rows + 0.02 * index
    depth[20:40, 10 + index : 30 + index] = 1.1 + 0.03 * index
    return depth


def blank() -> np.ndarray[Any, Any]:
    """A mask without a labelled pixel."""
    return np.full(SIZE, IGNORE, np.uint8)
