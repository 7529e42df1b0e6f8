"""Datasets of a few bytes: what versions of data/ are told apart by, without pictures."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipelines.data.datasets import DatasetCard, new_dataset
from pipelines.workspace import Workspace
from validation.manifest import write_manifest
from validation.rows import Frame


def row(name: str, split: str = "train", *, masked: bool = False) -> Frame:
    """One row with a picture and a depth file, and with a mask if asked for."""
    frame = Frame(
        id=name,
        domain="rooms",
        split=split,  # type: ignore[arg-type]
        sequence="one",
        camera="kinect",
        rgb=f"rgb/{name}.png",
        depth=f"depth/{name}.png",
        depth_unit="mm",
    )
    return replace(frame, segmentation=f"masks/{name}.png", supervision="full") if masked else frame


def publish(ws: Workspace, name: str, frames: Mapping[str, Frame], content: Mapping[str, str] | None = None) -> None:
    """Make the frames dataset `name`, in place of one that has that name. A file holds its path, or what `content` says for it."""
    shutil.rmtree(ws.data / name, ignore_errors=True)
    with new_dataset(ws, name, DatasetCard(name=name, domain="rooms", kind="room", format="test")) as staging:
        for frame in frames.values():
            for path in frame.files().values():
                file = staging / path
                file.parent.mkdir(exist_ok=True)
                file.write_text((content or {}).get(path, path))
        write_manifest(staging / "manifest.jsonl", list(frames.values()))


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
