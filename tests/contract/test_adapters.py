"""What every adapter promises, asked of each: one small subclass a format."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.errors import VortexError
from pipelines.ingest import ADAPTERS, adapter
from tests.contract.adapter_contract import ComputedContract, CopiedContract, colour, contracts, depth, write
from tests.unit.pipelines.nyu_sets import write_labelled, write_raw, write_sync


class TestSevenScenes(CopiedContract):
    format, unit = "7scenes", "mm"

    def sequence(self, folder: Path, count: int) -> None:
        for index in range(count):
            write(folder / f"frame-{index * 4:06d}.color.jpg", colour(index))
            write(folder / f"frame-{index * 4:06d}.depth.png", depth(index))
            (folder / f"frame-{index * 4:06d}.pose.txt").write_text("1 0 0 0\n")
        (folder / "camera-intrinsics.txt").write_text("58.5 0 32\n0 58.5 24\n0 0 1\n")

    def depth_file(self, folder: Path) -> Path:
        return folder / "frame-000008.depth.png"


class TestTum(CopiedContract):
    format, unit = "tum", "m/5000"

    def sequence(self, folder: Path, count: int) -> None:
        lists: dict[str, list[str]] = {"rgb": ["# colour"], "depth": ["# depth"]}
        for index in range(count):
            for name, make, late in (("rgb", colour, 0.0), ("depth", depth, 0.012)):
                stamp = f"{1305031102.175304 + index / 30 + late:.6f}"
                write(folder / name / f"{stamp}.png", make(index))
                lists[name].append(f"{stamp} {name}/{stamp}.png")
        for name, lines in lists.items():
            (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")

    def depth_file(self, folder: Path) -> Path:
        return sorted((folder / "depth").iterdir())[2]


class TestPlain(CopiedContract):
    format, unit = "plain", "mm"
    options: ClassVar[dict[str, Any]] = {"unit": "mm"}

    def sequence(self, folder: Path, count: int) -> None:
        for index in range(count):
            write(folder / "images" / f"{index + 8}.png", colour(index))  # 8, 9, 10: people's order, not the alphabet's
            write(folder / "depth" / f"{index + 8}.png", depth(index))
        (folder / "K.txt").write_text("58.5 0 32 0 58.5 24 0 0 1")

    def depth_file(self, folder: Path) -> Path:
        return folder / "depth" / "10.png"


class TestNyuLabelled(ComputedContract):
    format = "nyu-mat"

    def sequence(self, folder: Path, count: int) -> None:
        write_labelled(folder, count)


class TestNyuSync(CopiedContract):
    format, unit = "nyu-sync", "mm"

    def sequence(self, folder: Path, count: int) -> None:
        write_sync(folder, count)

    def depth_file(self, folder: Path) -> Path:
        return folder / "sync_depth_00002.png"


class TestNyuRaw(ComputedContract):
    format = "nyu-raw"

    def sequence(self, folder: Path, count: int) -> None:
        write_raw(folder, count)


def test_every_adapter_is_under_contract() -> None:
    for path in sorted(Path(__file__).parent.glob("test_*adapters.py")):
        importlib.import_module(f"tests.contract.{path.stem}")
    assert {cls.format for cls in contracts()} == set(ADAPTERS)


def test_a_folder_of_no_format_is_told_all_layouts(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="none of the formats") as caught:
        adapter(tmp_path, None)
    assert len(caught.value.details) == len(ADAPTERS)
    shutil.rmtree(tmp_path)
    with pytest.raises(VortexError, match="does not exist"):
        adapter(tmp_path, "plain")
