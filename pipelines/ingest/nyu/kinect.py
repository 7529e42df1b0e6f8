"""The colour camera of NYU Depth V2, as its toolbox publishes it, and the unit of depth that is computed."""

from __future__ import annotations

from typing import Final

from pipelines.ingest.adapter import Options
from pipelines.ingest.cameras import StatedCamera

KINECT: Final = StatedCamera(518.85790117, 519.46961112, 325.58244941, 253.73616633, (480, 640), "the toolbox's Kinect calibration")


def unit_faults(options: Options) -> list[str]:
    """A fault when the user states another unit than that in which computed depth is written."""
    if options.unit in (None, "mm"):
        return []
    return [f"--unit {options.unit} does not go with this format: its depth is computed and written in millimetres"]
