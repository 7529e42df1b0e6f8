"""Frames as a camera leaves them, 640×480 JPEG and PNG, and the naive loader that decodes, resizes and normalises each sample anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from validation.manifest import write_manifest
from validation.rows import Frame

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
DISTINCT = 32
"""Different pictures; more frames are copies of their files, which cost as much to decode."""


def write_frames(folder: Path, count: int, *, fast: bool = False) -> Path:
    """A textured room with a noisy sensor: JPEG of about 100 kB, depth PNG of about 250 kB, class PNG. Returns the manifest."""
    random = np.random.default_rng(0)
    for name in ("rgb", "depth", "classes"):
        (folder / name).mkdir(parents=True)
    height, width = (96, 128) if fast else (480, 640)
    rows, columns = np.mgrid[:height, :width]
    rendered: list[tuple[bytes, bytes, bytes]] = []
    frames = []
    for number in range(count):
        if number < DISTINCT:
            depth = 5.0 - 4.0 * rows / height + np.sin(columns / 40 + number)
            noise = random.normal(0, 0.004, depth.shape) * depth**2
            coarse = cv2.resize(random.integers(0, 255, (height // 16, width // 16, 3)).astype(np.uint8), (width, height))
            rgb = np.clip(coarse + random.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)
            classes = (rows // (height // 4) + (columns // (width // 3)) % 2).astype(np.uint8)
            pictures = ((".jpg", rgb), (".png", np.rint(1000 * (depth + noise)).astype(np.uint16)), (".png", classes))
            rendered.append(tuple(cv2.imencode(kind, picture)[1].tobytes() for kind, picture in pictures))  # type: ignore[arg-type]
        names = (f"rgb/{number:05d}.jpg", f"depth/{number:05d}.png", f"classes/{number:05d}.png")
        for name, content in zip(names, rendered[number % DISTINCT], strict=True):
            (folder / name).write_bytes(content)
        frames.append(
            Frame(
                id=f"{number:05d}", domain="rooms", split="train", sequence="one", camera="kinect", rgb=names[0],
                depth=names[1], depth_unit="mm", segmentation=names[2], supervision="full",
            )
        )  # fmt: skip
    write_manifest(folder / "manifest.jsonl", frames)
    return folder / "manifest.jsonl"


def warm(folder: Path) -> None:
    """Bring every file into the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()


def decode(folder: Path, number: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, depth and classes at `size`, as plain OpenCV gives them."""
    shape = (size[1], size[0])
    rgb = cv2.cvtColor(cv2.imread(str(folder / f"rgb/{number:05d}.jpg")), cv2.COLOR_BGR2RGB)
    depth = cv2.imread(str(folder / f"depth/{number:05d}.png"), cv2.IMREAD_UNCHANGED)
    classes = cv2.imread(str(folder / f"classes/{number:05d}.png"), cv2.IMREAD_UNCHANGED)
    return (
        cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA),
        cv2.resize(depth, shape, interpolation=cv2.INTER_NEAREST),
        cv2.resize(classes, shape, interpolation=cv2.INTER_NEAREST),
    )


def naive_batches(folder: Path, size: tuple[int, int], batch: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Shuffled batches: float32 normalised images [B,3,H,W], metres, classes."""
    count = len(list((folder / "rgb").iterdir()))
    while True:
        for rows in np.random.permutation(count)[: count // batch * batch].reshape(-1, batch):
            images, depths, masks = [], [], []
            for row in rows:
                rgb, depth, classes = decode(folder, int(row), size)
                images.append(((rgb.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1))
                depths.append(depth.astype(np.float32) / 1000)
                masks.append(classes.astype(np.int64))
            yield np.stack(images), np.stack(depths), np.stack(masks)
