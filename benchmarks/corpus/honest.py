"""Honest sets of every shape that the gate must let through, and the real ones where they are present."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.corpus.sets import SIZE, Delivery
from core.pinhole import Pinhole
from validation.manifest import stream_split
from validation.rows import Frame


@dataclass(frozen=True)
class Honest:
    """`shape` makes an honest set of a copy of the base set of `world`. `referred`: judged against the base set's reference too."""

    name: str
    shape: Callable[[Delivery], object]
    world: str = "rooms"
    seed: int = 0
    referred: bool = False


def partly_labelled(set_: Delivery) -> None:
    """A mask with labels in every fourth frame."""
    set_.change(supervision="partial")
    set_.each("segmentation", lambda mask: np.full_like(mask, 255), [place for place in range(len(set_.rows)) if place % 4])


def as_tum(set_: Delivery) -> None:
    """Names of time stamps, depth in 1/5000 m, no labels, no ToF camera, no teacher."""
    set_.each("depth", lambda depth: depth * 5)
    set_.without("tof", "teacher_depth", "segmentation")
    for place in range(len(set_.rows)):
        set_.change([place], id=f"{1305031102.175304 + place * 0.033:.6f}", depth_unit="m/5000")


def as_7scenes(set_: Delivery) -> None:
    """Lossless pictures, 65535 for pixels without depth, every fourth frame of a stream."""
    set_.each("depth", lambda depth: np.where(np.random.default_rng(1).random(depth.shape) < 0.1, 65535, depth).astype(np.uint16))
    set_.without("tof", "teacher_depth", "segmentation")
    for place in range(len(set_.rows)):
        set_.write(place, "rgb", set_.read(place, "rgb"), ".png")
        set_.change([place], id=f"frame-{place * 4:06d}" if set_.rows[place].sequence == "s0" else f"late-{place * 4:06d}")


def as_floats(set_: Delivery) -> None:
    """Depth and ToF as arrays of metres."""
    set_.metres("depth", lambda depth: depth)
    set_.metres("tof", lambda depth: depth)


def for_evaluation(set_: Delivery) -> None:
    """Every frame of split `test`."""
    set_.change(split="test")


def parked(set_: Delivery) -> None:
    """A robot that stands in its dock when the recording begins and when it ends: the same view in training and validation."""
    noise = np.random.default_rng(2)
    for name in ("s0", "s1"):
        places = [place for place, row in enumerate(set_.rows) if row.sequence == name]
        for place in [*places[:3], *places[-2:]]:
            for role in ("depth", "tof", "tof_confidence", "teacher_depth", "segmentation"):
                set_.write(place, role, set_.read(places[0], role))
            picture = set_.read(places[0], "rgb").astype(int) + noise.integers(-3, 4, (*SIZE, 3))
            set_.write(place, "rgb", np.clip(picture, 0, 255).astype(np.uint8), ".png")


HONEST = [
    Honest("rooms", lambda set_: None),
    Honest("rooms, other rooms, against the reference", lambda set_: None, seed=1, referred=True),
    Honest("corridor", lambda set_: None, "corridor"),
    Honest("corridor, another one, against the reference", lambda set_: None, "corridor", 1, referred=True),
    Honest("ToF camera alone", lambda set_: set_.without("depth", "teacher_depth", "segmentation"), "corridor"),
    Honest("teacher alone", lambda set_: set_.without("depth", "tof", "segmentation")),
    Honest("no labels", lambda set_: set_.without("segmentation")),
    Honest("labels in every fourth frame", partly_labelled),
    Honest("no intrinsics", lambda set_: set_.change(intrinsics=None)),
    Honest("TUM style", as_tum),
    Honest("7-Scenes style", as_7scenes),
    Honest("arrays of metres", as_floats),
    Honest("for evaluation only", for_evaluation, "corridor"),
    Honest("parked at both ends", parked, "corridor"),
]


def real() -> Iterator[tuple[str, Delivery]]:
    """The real frames that VORTEX_FRAMES names, read where they are; nothing is written there."""
    folder = os.environ.get("VORTEX_FRAMES")
    if not folder:
        return
    for name, kind, pattern, depth, focal in (
        ("kitchen_kinect", "room", "*.color.jpg", "{}.depth.png", (585.0, 585.0, 320.0, 240.0, (480, 640))),
        ("office_hololens", "indoor", "images/*.png", "depth/{}.png", (495.57, 495.48, 269.5, 169.19, (360, 540))),
        ("home_realsense", "robot_home", "color/*.png", "depth/{}.png", (617.25, 617.55, 317.39, 245.98, (480, 640))),
    ):
        root = Path(folder) / name
        stems = [(path, path.name.partition(".")[0]) for path in sorted(root.glob(pattern))]
        rows = [
            Frame(
                id=stem,
                domain="real",
                split=stream_split(place, len(stems)),
                sequence="stream",
                camera=name,
                intrinsics=Pinhole(*focal),
                rgb=path.relative_to(root).as_posix(),
                depth=depth.format(stem),
                depth_unit="mm",
            )
            for place, (path, stem) in enumerate(stems)
        ]
        if rows:
            yield f"{name}, {len(rows)} real frames", Delivery(root, rows, kind, registered=name != "kitchen_kinect")
