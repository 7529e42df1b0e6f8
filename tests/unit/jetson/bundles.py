"""Bundles for the tests of the robot: a good one, whose depth is the picture's brightness, made of plain bytes where no model runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vortex_jetson.formats.bundle import Bounds, Bundle, File, Fusion, Health, HealthFrame, Model

CLASSES = ("floor", "wall", "glass", "person", "furniture", "other")
PLAIN = {
    "models/v9-fp32.onnx": b"a model",
    "models/v9-fp16.onnx": b"half a model",
    "health/000.rgb.npy": b"a picture",
    "health/000.depth.npy": b"its depth",
    "health/000.classes.npy": b"its classes",
    "card.md": b"# v9\n",
}


def bundle_of(contents: dict[str, bytes], version: str = "v9") -> Bundle:
    """The bundle that has these files; PLAIN's names are the ones that it speaks of."""
    return Bundle(
        version=version,
        channel="orin/corridor",
        checkpoint_sha256="1" * 64,
        created_at="2026-11-28T12:00:00Z",
        size=(48, 64),
        models=(Model("models/v9-fp32.onnx", "fp32", "host", True), Model("models/v9-fp16.onnx", "fp16", "jetson", True)),
        classes=CLASSES,
        classes_trained=("floor", "wall", "glass"),
        preprocessing={"vortex.colour_order": "RGB", "vortex.range": "bytes / 255"},
        fusion=Fusion(0.5, 0.05, 10.0),
        inflation={"glass": 0.3, "person": 0.5},
        health=Health((HealthFrame("health/000.rgb.npy", "health/000.depth.npy", "health/000.classes.npy"),), Bounds(0.2, 0.3, 0.5)),
        files={path: File(hashlib.sha256(content).hexdigest(), len(content)) for path, content in contents.items()},
    )


def write(folder: Path, contents: dict[str, bytes]) -> None:
    """Put files below a folder."""
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def plain_bundle(folder: Path) -> Bundle:
    """A bundle of plain bytes, written into `folder`."""
    write(folder, PLAIN)
    return bundle_of(PLAIN)
