"""What every adapter promises, asked of each: one base, one small subclass a format."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from core.errors import VortexError
from pipelines.ingest import ADAPTERS, adapter
from pipelines.ingest.add import add_dataset
from pipelines.ingest.contract import Options
from pipelines.workspace import Workspace
from validation.decode import read_depth
from validation.manifest import Unit, file, load_manifest

COUNT = 25
SIZE = (48, 64)


def colour(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)


def depth(seed: int) -> np.ndarray[Any, Any]:
    return np.full(SIZE, 1000 + seed, np.uint16)


def write(path: Path, picture: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def fingerprint(root: Path) -> dict[str, tuple[str, int, int]]:
    """Bytes, mode and links of every file: a source must be exactly as it was."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode, path.stat().st_nlink)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


class AdapterContract:
    format: ClassVar[str]
    unit: ClassVar[Unit]
    options: ClassVar[dict[str, Any]] = {}

    def sequence(self, folder: Path, count: int) -> None:
        raise NotImplementedError

    def depth_file(self, folder: Path) -> Path:
        """The depth of the third frame."""
        raise NotImplementedError

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = tmp_path / "source"
        self.sequence(folder, COUNT)
        return folder

    def add(self, ws: Workspace, source: Path, **more: Any) -> list[str]:
        return add_dataset(ws, "set", source, domain="rooms", **{**self.options, **more}).notes

    def test_detected_and_taken_unchanged(self, workspace: Workspace, source: Path) -> None:
        before = fingerprint(source)
        notes = self.add(workspace, source)
        assert f"format {self.format} detected" in notes
        root = workspace.data / "set"
        frames = load_manifest(root / "manifest.jsonl")
        assert [frame.split for frame in frames] == ["train"] * 18 + ["gap"] * 2 + ["val"] * 5
        originals = {digest for digest, _, _ in before.values()}
        for index, frame in enumerate(frames):
            assert frame.depth and frame.depth_unit == self.unit
            for name in frame.files().values():
                assert hashlib.sha256(file(root, name).read_bytes()).hexdigest() in originals
            steps = read_depth(file(root, frame.depth), frame.depth_unit) / {"mm": 0.001, "m/5000": 0.0002}[self.unit]
            np.testing.assert_allclose(steps, 1000 + index, rtol=1e-5)
        assert fingerprint(source) == before

    def test_one_folder_a_sequence(self, workspace: Workspace, tmp_path: Path) -> None:
        for name, count in (("seq-02", 5), ("seq-10", 10)):
            self.sequence(tmp_path / "sets" / name, count)
        self.add(workspace, tmp_path / "sets")
        frames = load_manifest(workspace.data / "set" / "manifest.jsonl")
        assert [frame.sequence for frame in frames] == ["seq-02"] * 5 + ["seq-10"] * 10
        for name, validation in (("seq-02", 1), ("seq-10", 2)):
            assert [frame.split for frame in frames if frame.sequence == name].count("val") == validation
        assert len({frame.id for frame in frames}) == 15

    def test_every_broken_file_is_named(self, workspace: Workspace, source: Path) -> None:
        victims = sorted(path for path in source.rglob("*.png") if "depth" in str(path))[:3]
        write(victims[0], np.zeros(SIZE, np.uint8))
        victims[1].write_bytes(victims[1].read_bytes()[:-20])
        write(victims[2], np.zeros((24, 32), np.uint16))
        with pytest.raises(VortexError) as caught:
            self.add(workspace, source)
        text = "\n".join((caught.value.message, *caught.value.details))
        assert all(victim.name in text for victim in victims), text
        assert "8-bit" in text and "truncated" in text and "24×32" in text
        assert not list(workspace.data.iterdir()) and "rooms" in workspace.config.domains

    def test_a_missing_file_is_named(self, workspace: Workspace, source: Path) -> None:
        gone = self.depth_file(source)
        gone.unlink()
        with pytest.raises(VortexError) as caught:
            self.add(workspace, source)
        stem = gone.name.split(".")[0]
        assert stem in "\n".join((caught.value.message, *caught.value.details))

    def test_an_empty_folder_says_what_is_expected(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(VortexError) as caught:
            ADAPTERS[self.format].read(tmp_path / "empty", Options(unit="mm"))
        assert "found" in caught.value.message and ADAPTERS[self.format].layout in caught.value.hint

    def test_depth_of_another_size_is_refused_by_every_frame(self, workspace: Workspace, source: Path) -> None:
        for path in source.rglob("*.png"):
            if "depth" in str(path):
                write(path, np.zeros((24, 32), np.uint16))
        with pytest.raises(VortexError, match=f"{COUNT} faults"):
            self.add(workspace, source)


class TestSevenScenes(AdapterContract):
    format, unit = "7scenes", "mm"

    def sequence(self, folder: Path, count: int) -> None:
        for index in range(count):
            write(folder / f"frame-{index * 4:06d}.color.jpg", colour(index))
            write(folder / f"frame-{index * 4:06d}.depth.png", depth(index))
            (folder / f"frame-{index * 4:06d}.pose.txt").write_text("1 0 0 0\n")
        (folder / "camera-intrinsics.txt").write_text("58.5 0 32\n0 58.5 24\n0 0 1\n")

    def depth_file(self, folder: Path) -> Path:
        return folder / "frame-000008.depth.png"


class TestTum(AdapterContract):
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


class TestPlain(AdapterContract):
    format, unit = "plain", "mm"
    options: ClassVar[dict[str, Any]] = {"unit": "mm"}

    def sequence(self, folder: Path, count: int) -> None:
        for index in range(count):
            write(folder / "images" / f"{index + 8}.png", colour(index))  # 8, 9, 10: people's order, not the alphabet's
            write(folder / "depth" / f"{index + 8}.png", depth(index))
        (folder / "K.txt").write_text("58.5 0 32 0 58.5 24 0 0 1")

    def depth_file(self, folder: Path) -> Path:
        return folder / "depth" / "10.png"


def test_every_adapter_is_under_contract() -> None:
    assert {cls.format for cls in AdapterContract.__subclasses__()} == set(ADAPTERS)


def test_a_folder_of_no_format_is_told_all_layouts(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="none of the formats") as caught:
        adapter(tmp_path, None)
    assert len(caught.value.details) == len(ADAPTERS)
    shutil.rmtree(tmp_path)
    with pytest.raises(VortexError, match="does not exist"):
        adapter(tmp_path, "plain")
