"""Teachers of a few lines that keep the contract honestly, and some that do not; and frames without labels for them to label."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.pinhole import Pinhole
from models.teachers import TEACHERS, TeacherKind
from models.teachers.contract import Boxes, DepthMap, Masks, TeacherError, View
from pipelines.data.datasets import DatasetCard, new_dataset
from pipelines.workspace import Workspace
from validation.manifest import load_manifest, write_manifest
from validation.rows import Frame

SIZE = (24, 32)


@dataclass
class _Base:
    """What they share. `settings`: `weights` (stands for them), `bad` (a frame's id), `how` (what goes wrong with it), `log`."""

    name: str
    settings: Mapping[str, Any]

    def describe(self) -> dict[str, object]:
        weights = str(self.settings.get("weights", "tiny"))
        return {"teacher": self.name, "model": type(self).__name__, "weights_sha256": weights * 16, "library": "none", "parameters": {}}

    def close(self) -> None:
        """Nothing is held."""

    def see(self, view: View) -> bool:
        """Note the frame; whether this is the one that goes wrong. Raises, or dies, when it is to."""
        if log := self.settings.get("log"):
            with open(log, "a") as stream:
                stream.write(f"{self.name} {view.id}\n")
        if view.id != self.settings.get("bad") and self.settings.get("bad") != "all":
            return False
        how = self.settings.get("how")
        if how == "raise":
            raise TeacherError(f"teacher {self.name}: it is too dark")
        if how == "bug":
            raise KeyError("who knows")
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        return True


class Depth(_Base):
    """Metres that grow with brightness."""

    def depth(self, view: View) -> DepthMap:
        depth = 1 + view.rgb.mean(-1, dtype=np.float32) / 50
        how = self.settings.get("how") if self.see(view) else None
        if how == "nan":
            depth[3, 4] = np.nan
        elif how == "inf":
            depth[0, 0] = np.inf
        elif how == "negative":
            depth[:2] *= -1
        elif how == "shape":
            depth = depth[1:]
        elif how == "zero":
            depth[:] = 0
        elif how == "far":
            depth += 100
        elif how == "whole numbers":
            depth = depth.astype(np.int32)
        return DepthMap(depth, "relative" if how == "unit" else "m")


class Relative(_Base):
    """Inverse depth without a unit."""

    def depth(self, view: View) -> DepthMap:
        self.see(view)
        return DepthMap((300 / (1 + view.rgb.mean(-1, dtype=np.float32) / 50)).astype(np.float32), "relative")


class Boxer(_Base):
    """One box in the middle, furniture."""

    def boxes(self, view: View) -> Boxes:
        self.see(view)
        height, width = view.size
        xyxy = np.float32([[width / 4, height / 4, width / 2, height / 2]])
        return Boxes(xyxy, np.uint8([4]), np.float32([0.9]))


class Masker(_Base):
    """The box itself as its mask."""

    def masks(self, view: View, boxes: Boxes) -> Masks:
        bad = self.see(view)
        masks = np.zeros((len(boxes.scores), *view.size), bool)
        for mask, (left, top, right, bottom) in zip(masks, boxes.xyxy.astype(int), strict=True):
            mask[top:bottom, left:right] = True
        return Masks(masks[:, 1:] if bad else masks, boxes.classes, boxes.scores)


class Structure(_Base):
    """What is near is floor, what is far is wall, what has no depth is unknown. It needs what the real one needs."""

    def structure(self, view: View) -> NDArray[np.uint8]:
        self.see(view)
        assert view.depth is not None and view.camera is not None and view.camera.size == view.size == view.depth.shape
        return np.where(view.depth == 0, 255, np.where(view.depth < 3, 0, 1)).astype(np.uint8)


def _depth(settings: Mapping[str, Any]) -> Depth:
    return Depth("da3", settings)


def _relative(settings: Mapping[str, Any]) -> Relative:
    return Relative("da2", settings)


def _boxer(settings: Mapping[str, Any]) -> Boxer:
    return Boxer("yolo", settings)


def _masker(settings: Mapping[str, Any]) -> Masker:
    return Masker("sam2", settings)


def _structure(settings: Mapping[str, Any]) -> Structure:
    if settings.get("how") == "missing":
        raise TeacherError("teacher geometric: no weights", "get them")
    return Structure("geometric", settings)


TINY = {
    "da3": TeacherKind("depth", "", "", _depth, unit="m"),
    "da2": TeacherKind("depth", "", "", _relative, unit="relative"),
    "yolo": TeacherKind("boxes", "", "", _boxer),
    "sam2": TeacherKind("masks", "", "", _masker, requires=("boxes",)),
    "geometric": TeacherKind("structure", "", "", _structure),
}
"""Under the real names, in place of the real ones."""
REAL = dict(TEACHERS)


def install(monkeypatch: Any) -> None:
    """Let `vortex label` find these teachers."""
    for name, kind in TINY.items():
        monkeypatch.setitem(TEACHERS, name, kind)


def frames(ws: Workspace, name: str = "place", *, count: int = 6, **changes: Any) -> None:
    """A dataset of pictures with intrinsics and nothing else; `changes` is added to each row. With `depth`, a reference comes along."""
    import cv2

    random = np.random.default_rng(0)
    card = DatasetCard(name=name, domain="rooms", kind="room", format="test")
    with new_dataset(ws, name, card) as staging:
        rows = []
        for part in ("rgb", "depth", "masks"):
            (staging / part).mkdir()
        for number in range(count):
            rgb = cv2.GaussianBlur(random.integers(0, 256, (*SIZE, 3), np.uint8), (9, 9), 3)
            cv2.imwrite(str(staging / f"rgb/{number}.png"), rgb)
            cv2.imwrite(str(staging / f"depth/{number}.png"), np.full(SIZE, 1000 * (1 + number), np.uint16))
            cv2.imwrite(str(staging / f"masks/{number}.png"), np.full(SIZE, 5, np.uint8))
            row = Frame(
                id=f"f{number}",
                domain="rooms",
                split="train" if number < count - 2 else "val",
                sequence="one",
                camera="kinect",
                intrinsics=Pinhole(60.0, 60.0, 31.5, 23.5, (48, 64)),
                rgb=f"rgb/{number}.png",
            )
            made = {key: value.format(number) if isinstance(value, str) else value for key, value in changes.items()}
            rows.append(Frame(**{**vars(row), **made}))
        write_manifest(staging / "manifest.jsonl", rows)


TRUTH = {"segmentation": "masks/{}.png", "supervision": "full"}
REFERENCE = {"depth": "depth/{}.png", "depth_unit": "mm"}


def content(ws: Workspace, name: str = "place") -> dict[str, str]:
    """Every file of a dataset, and the pointer, by hash."""
    root = ws.data / name
    found = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {at: hashlib.sha256(path.read_bytes()).hexdigest() for at, path in {**found, "data.dvc": ws.root / "data.dvc"}.items()}


def rows(ws: Workspace, name: str = "place") -> dict[str, Frame]:
    return {frame.id: frame for frame in load_manifest(ws.data / name / "manifest.jsonl")}
