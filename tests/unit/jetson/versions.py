"""Versions at work, by real ONNX models, and frames for them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from vortex_jetson.engines.engine import OnnxEngine
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception.perception import Perception

from tests.unit.jetson.models import HEIGHT, WIDTH, model, picture

CLASSES = ("floor", "wall", "glass", "person", "furniture", "other")
SIZE = (HEIGHT, WIDTH)


def perception(version: str, kind: str = "good", trained: tuple[str, ...] = CLASSES) -> Perception:
    return Perception(version, OnnxEngine(model(kind), f"{version}.onnx"), SIZE, CLASSES, trained)


def frames(count: int, period_s: float = 0.0) -> Iterator[Frame]:
    start = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number * period_s - time.monotonic()))
        yield Frame(f"{number:03}", time.monotonic(), picture(number % 3))
