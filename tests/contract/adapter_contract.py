"""What every adapter promises. `CopiedContract` is for formats whose files are taken as they are, `ComputedContract` for the others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import VortexError
from pipelines.ingest import ADAPTERS
from pipelines.ingest.adapter import Options
from pipelines.ingest.add import add_dataset
from pipelines.workspace import Workspace
from validation.decode import read_depth
from validation.manifest import file, load_manifest
from validation.rows import Unit

COUNT = 25
SIZE = (48, 64)


def colour(seed: int) -> NDArray[Any]:
    """Noise."""
    return np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)


def depth(seed: int) -> NDArray[Any]:
    """One distance a frame."""
    return np.full(SIZE, 1000 + seed, np.uint16)


def write(path: Path, picture: NDArray[Any]) -> None:
    """A picture by the suffix of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


def fingerprint(root: Path) -> dict[str, tuple[str, int, int]]:
    """Bytes, mode and links of every file: a source must be exactly as it was."""
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode, path.stat().st_nlink)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def contracts(base: type[AdapterContract] | None = None) -> Iterator[type[AdapterContract]]:
    """Every format under contract, so far as its test is imported."""
    for cls in (base or AdapterContract).__subclasses__():
        if hasattr(cls, "format"):
            yield cls
        yield from contracts(cls)


class AdapterContract:
    """Asked of every format."""

    format: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}

    def sequence(self, folder: Path, count: int) -> None:
        """Write `count` frames in the native layout."""
        raise NotImplementedError

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        folder = tmp_path / "source"
        self.sequence(folder, COUNT)
        return folder

    def add(self, ws: Workspace, source: Path, **more: Any) -> list[str]:
        return add_dataset(ws, "set", source, domain="rooms", **{**self.options, **more}).notes

    def test_detected_and_the_source_is_untouched(self, workspace: Workspace, source: Path) -> None:
        before = fingerprint(source)
        added = add_dataset(workspace, "set", source, domain="rooms", **self.options)
        assert f"format {self.format} detected" in added.notes
        frames = load_manifest(added.dataset.manifest)
        assert {frame.split for frame in frames} >= {"train", "val"}
        assert fingerprint(source) == before
        said = added.dataset.card.settings["statistics"]
        assert said["of"] == len(frames) and 0 < said["brightness"] < 1

    def test_an_empty_folder_says_what_is_expected(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(VortexError) as caught:
            ADAPTERS[self.format].read(tmp_path / "empty", Options(unit="mm"))
        text = "\n".join((caught.value.message, *caught.value.details))
        assert ("found" in text or "missing" in text) and ADAPTERS[self.format].layout in caught.value.hint

    def test_an_empty_folder_is_not_recognised(self, tmp_path: Path) -> None:
        assert not ADAPTERS[self.format].recognises(tmp_path)


class CopiedContract(AdapterContract):
    """Asked of formats whose pictures arrive byte for byte."""

    unit: ClassVar[Unit]

    def depth_file(self, folder: Path) -> Path:
        """The depth of the third frame."""
        raise NotImplementedError

    def test_taken_unchanged_and_in_order(self, workspace: Workspace, source: Path) -> None:
        self.add(workspace, source)
        root = workspace.data / "set"
        frames = load_manifest(root / "manifest.jsonl")
        assert [frame.split for frame in frames] == ["train"] * 18 + ["gap"] * 2 + ["val"] * 5
        originals = {digest for digest, _, _ in fingerprint(source).values()}
        for index, frame in enumerate(frames):
            assert frame.depth and frame.depth_unit == self.unit
            for name in frame.files().values():
                assert hashlib.sha256(file(root, name).read_bytes()).hexdigest() in originals
            steps = read_depth(file(root, frame.depth), frame.depth_unit) / {"mm": 0.001, "m/5000": 0.0002}[self.unit]
            np.testing.assert_allclose(steps, 1000 + index, rtol=1e-5)

    def test_one_folder_a_sequence(self, workspace: Workspace, tmp_path: Path) -> None:
        for name, count in (("seq-02", 5), ("seq-10", 10)):
            self.sequence(tmp_path / "sets" / name, count)
        self.add(workspace, tmp_path / "sets", workers=2)
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
        stem = gone.name.split(".")[0].removeprefix("sync_depth_")
        assert stem in "\n".join((caught.value.message, *caught.value.details))

    def test_depth_of_another_size_is_refused_by_every_frame(self, workspace: Workspace, source: Path) -> None:
        for path in source.rglob("*.png"):
            if "depth" in str(path):
                write(path, np.zeros((24, 32), np.uint16))
        with pytest.raises(VortexError, match=f"{COUNT} faults"):
            self.add(workspace, source)


class ComputedContract(AdapterContract):
    """Asked of formats whose depth has to be computed."""

    def test_depth_is_written_in_millimetres(self, workspace: Workspace, source: Path) -> None:
        self.add(workspace, source)
        root = workspace.data / "set"
        for frame in load_manifest(root / "manifest.jsonl"):
            assert frame.depth and frame.depth_unit == "mm" and frame.depth.endswith(".png")
            metres = read_depth(file(root, frame.depth), "mm")
            assert metres.shape == SIZE and 0.2 < np.median(metres[metres > 0]) < 20
