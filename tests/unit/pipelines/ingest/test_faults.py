"""Sets whose files are damaged, whose names are no text, whose links lead in a circle."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import VortexError
from pipelines.ingest.adapter import printable
from pipelines.ingest.add import add_dataset
from pipelines.workspace import Workspace
from validation.headers import FrameFileError
from validation.manifest import load_manifest

SIZE = (16, 24)


def test_a_damaged_picture_in_the_subsample_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    for part in ("rgb", "depth"):
        (tmp_path / "s" / part).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "s" / "rgb" / "0.png"), np.full((*SIZE, 3), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "s" / "depth" / "0.png"), np.full(SIZE, 1000, np.uint16))
    data = bytearray((tmp_path / "s" / "depth" / "0.png").read_bytes())
    data[45] ^= 0x10
    (tmp_path / "s" / "depth" / "0.png").write_bytes(data)
    with pytest.raises(FrameFileError, match=r"frame 0: depth/0\.png: the PNG is damaged"):
        add_dataset(workspace, "s", tmp_path / "s", domain="rooms", unit="mm")
    assert not any(workspace.data.iterdir())


def test_names_that_are_no_text_links_in_a_circle_and_read_only_sources(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "s"
    for part in ("rgb", "depth"):
        (source / part).mkdir(parents=True)
        shape = (*SIZE, 3) if part == "rgb" else SIZE
        for index in range(10):
            cv2.imwrite(
                str(source / part / f"{index}.png"),
                np.full(shape, 900 if part == "depth" else 9, np.uint16 if part == "depth" else np.uint8),
            )
        os.rename(source / part / "3.png", os.fsencode(source / part) + b"/3\xff.png")
    (source / "here").symlink_to(source)
    (source / "round").symlink_to(source / "round")
    for path in (source, *source.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    frames = load_manifest(add_dataset(workspace, "s", source, domain="rooms", unit="mm", workers=2).dataset.manifest)
    assert len(frames) == 10 and "3_" in {frame.id for frame in frames}
    for path in (source, *source.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    (source / "depth" / "5.png").unlink()
    (source / "depth" / "5.png").symlink_to("5.png")
    os.truncate(os.fsencode(source / "rgb") + b"/3\xff.png", 40)
    with pytest.raises(VortexError, match="2 faults") as caught:
        add_dataset(workspace, "t", source, domain="rooms", unit="mm")
    text = "\n".join(caught.value.details)
    assert "depth/5.png: cannot be read" in text and "3\\xff.png" in text
    text.encode()  # a lone surrogate could not be printed
    assert printable(os.fsdecode(b"a\xff")) == "a\\xff"


def test_a_set_on_a_path_that_is_no_text(workspace: Workspace, tmp_path: Path) -> None:
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/s\xe9"))
    source.mkdir()
    with pytest.raises(VortexError) as caught:
        add_dataset(workspace, "s", source, domain="rooms")
    caught.value.message.encode()
    (source / "rgb").mkdir()
    (source / "depth").mkdir()
    with pytest.raises(VortexError, match="no stem has both") as caught:
        add_dataset(workspace, "s", source, domain="rooms", unit="mm")
    caught.value.message.encode()
