"""Frames in native formats become datasets. One adapter a format: its file, one line here, its test."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from core.errors import UsageError, VortexError
from pipelines.ingest.adapter import Adapter, printable
from pipelines.ingest.diode import Diode
from pipelines.ingest.femto_bolt import FemtoBolt
from pipelines.ingest.lilocbench import LilocBench
from pipelines.ingest.nyu.labelled import NyuLabelled
from pipelines.ingest.nyu.raw import NyuRaw
from pipelines.ingest.nyu.sync import NyuSync
from pipelines.ingest.plain import Plain
from pipelines.ingest.seven_scenes import SevenScenes
from pipelines.ingest.sun_rgbd import SunRgbd
from pipelines.ingest.tum import Tum

ADAPTERS: Final[dict[str, Adapter]] = {
    "7scenes": SevenScenes(),
    "tum": Tum(),
    "nyu-mat": NyuLabelled(),
    "nyu-sync": NyuSync(),
    "nyu-raw": NyuRaw(),
    "lilocbench": LilocBench(),
    "femto-bolt": FemtoBolt(),
    "diode": Diode(),
    "sun-rgbd": SunRgbd(),
    "plain": Plain(),
}
"""By the word after `--format`; detection tries them in this order, the most particular first."""
FILLED: Final = frozenset(name for name, each in ADAPTERS.items() if getattr(each, "in_painted", False))
"""Formats that hold both what the sensor measured and an in-painted depth."""


def adapter(root: Path, name: str | None) -> tuple[str, Adapter]:
    """The adapter of that name, or the one that recognises the folder. Raises VortexError saying what each one looks for."""
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise VortexError(f"{printable(root)}: {state}, allowed: a folder of frames", "name the folder that holds the frames")
    if name is not None:
        if name not in ADAPTERS:
            raise UsageError(f"unknown format {name!r}; Vortex reads: {', '.join(ADAPTERS)}", "leave --format out to have it detected")
        return name, ADAPTERS[name]
    for format_, candidate in ADAPTERS.items():
        if candidate.recognises(root):
            return format_, candidate
    layouts = [f"{format_}: {candidate.layout}" for format_, candidate in ADAPTERS.items()]
    raise VortexError(
        f"{printable(root)}: is in none of the formats that Vortex reads", "arrange the frames in one of these layouts", layouts
    )
