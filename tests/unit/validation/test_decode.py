"""Files are decoded exactly, or refused by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from validation.decode import read_confidence, read_depth, read_rgb, read_segmentation
from validation.headers import FrameFileError, image_size, read_header

DEPTH = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80


def png(path: Path, values: np.ndarray[Any, Any]) -> Path:
    assert cv2.imwrite(str(path), values)
    return path


def npy(path: Path, values: np.ndarray[Any, Any]) -> Path:
    np.save(path, values)
    return path


def test_depth_of_sixteen_bits(tmp_path: Path) -> None:
    stored = DEPTH.copy()
    stored[0, :3] = (0, 65535, 2500)
    path = png(tmp_path / "d.png", stored)
    depth = read_depth(path, "mm")
    assert depth.dtype == np.float32 and depth.shape == (24, 32)
    assert depth[0, :3].tolist() == [0.0, 0.0, 2.5]
    assert read_depth(path, "m/5000")[0, 2] == pytest.approx(0.5)
    assert image_size(path) == (24, 32)


def test_float_depth_keeps_what_validation_must_see(tmp_path: Path) -> None:
    values = np.array([[0.0, np.nan], [-1.0, np.inf]], np.float64)
    depth = read_depth(npy(tmp_path / "d.npy", values), "m")
    np.testing.assert_array_equal(depth, values.astype(np.float32))
    np.testing.assert_array_equal(read_depth(npy(tmp_path / "r.npy", values), "relative"), values.astype(np.float32))


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 1), (1, 24, 32)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_shapes_and_orders(tmp_path: Path, shape: tuple[int, ...], order: Any) -> None:
    values = np.asarray(DEPTH.reshape(shape), np.float32, order=order)
    path = npy(tmp_path / "d.npy", values)
    assert image_size(path) == (24, 32)
    np.testing.assert_array_equal(read_depth(path, "m"), DEPTH.astype(np.float32))


def test_colour_comes_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((24, 32, 3), np.uint8)
    red[..., 2] = 250  # cv2 writes BGR
    assert read_rgb(png(tmp_path / "c.png", red))[5, 5].tolist() == [250, 0, 0]
    assert read_rgb(png(tmp_path / "c.jpg", red))[5, 5, 0] > 240


def test_exif_rotation_is_not_applied(tmp_path: Path) -> None:
    path = png(tmp_path / "c.jpg", np.zeros((24, 32, 3), np.uint8))
    data = path.read_bytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert read_rgb(path).shape == (24, 32, 3) == (*image_size(path), 3)


def test_confidence_and_classes(tmp_path: Path) -> None:
    grey = np.tile(np.array([0, 51, 255], np.uint8), (4, 2))
    np.testing.assert_allclose(read_confidence(png(tmp_path / "k.png", grey))[0, :3], [0, 0.2, 1])
    np.testing.assert_allclose(read_confidence(npy(tmp_path / "k.npy", np.full((2, 2), 0.5))), 0.5)
    np.testing.assert_array_equal(read_segmentation(png(tmp_path / "s.png", grey)), grey)
    np.testing.assert_array_equal(read_segmentation(npy(tmp_path / "s.npy", grey.astype(np.int64))), grey)


def test_a_jpeg_with_a_long_header(tmp_path: Path) -> None:
    path = png(tmp_path / "c.jpg", np.zeros((24, 32, 3), np.uint8))
    data = path.read_bytes()
    padding = (b"\xff\xe2" + (65000).to_bytes(2, "big") + bytes(64998)) * 3
    path.write_bytes(data[:2] + padding + data[2:])
    assert read_header(path, whole=True).size == (24, 32)


Reader = Callable[[Path], Any]


def _depth(path: Path) -> Any:
    return read_depth(path, "mm")


@pytest.mark.parametrize(
    ("reader", "make", "found"),
    [
        (_depth, lambda p: png(p / "x.png", np.zeros((4, 4), np.uint8)), "8-bit PNG"),
        (_depth, lambda p: png(p / "x.png", np.zeros((4, 4, 3), np.uint16)), "3 channels"),
        (_depth, lambda p: png(p / "x.jpg", np.zeros((4, 4), np.uint8)), "8-bit JPEG"),
        (_depth, lambda p: npy(p / "x.npy", np.zeros((4, 4, 2), np.float32)), "2 channels"),
        (_depth, lambda p: npy(p / "x.npy", np.zeros((4, 4), np.int64)), "i8 .npy"),
        (_depth, lambda p: npy(p / "x.npy", np.zeros(4, np.float32)), "header"),
        (_depth, lambda p: npy(p / "x.npy", np.zeros((0, 4), np.float32)), "0×4 pixels"),
        (_depth, lambda p: npy(p / "x.npy", np.array([[{}]], object)), "header"),
        (read_rgb, lambda p: png(p / "x.png", np.zeros((4, 4), np.uint16)), "16-bit PNG"),
        (read_rgb, lambda p: npy(p / "x.npy", np.zeros((4, 4, 3), np.uint8)), ".npy"),
        (read_segmentation, lambda p: png(p / "x.png", np.zeros((4, 4, 3), np.uint8)), "3 channels"),
        (read_segmentation, lambda p: npy(p / "x.npy", np.full((2, 2), 300)), "class ids from 300"),
        (read_confidence, lambda p: npy(p / "x.npy", np.full((2, 2), np.nan)), "not finite"),
        (read_confidence, lambda p: npy(p / "x.npy", np.full((2, 2), 1.5)), "outside [0, 1]"),
    ],
)
def test_the_wrong_kind_of_file(tmp_path: Path, reader: Reader, make: Callable[[Path], Path], found: str) -> None:
    path = make(tmp_path)
    with pytest.raises(FrameFileError) as caught:
        reader(path)
    assert str(path) in caught.value.message and found in caught.value.message and "allowed: " in caught.value.message


def test_missing_empty_foreign_and_odd_files(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("absent.png", "empty.png", "text.png", "pipe.png", "."):
        for reader in (_depth, read_rgb, image_size):
            with pytest.raises(FrameFileError, match="allowed: "):
                reader(tmp_path / name)


def test_a_huge_claim_is_refused_before_decoding(tmp_path: Path) -> None:
    path = png(tmp_path / "d.png", DEPTH)
    data = bytearray(path.read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    path.write_bytes(data)
    for reader in (_depth, image_size):
        with pytest.raises(FrameFileError, match="60000×60000 pixels"):
            reader(path)
    (tmp_path / "d.npy").write_bytes(
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (999999, 999999), }".ljust(128)
    )
    with pytest.raises(FrameFileError, match="pixels"):
        image_size(tmp_path / "d.npy")


def test_every_truncation_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    for path, reader in (
        (png(tmp_path / "d.png", DEPTH), _depth),
        (png(tmp_path / "c.jpg", noise), read_rgb),
        (npy(tmp_path / "d.npy", DEPTH.astype(np.float32)), _depth),
    ):
        data = path.read_bytes()
        for length in range(0, len(data), max(1, len(data) // 97)):
            path.write_bytes(data[:length])
            with pytest.raises(FrameFileError):
                reader(path)
            if length:
                with pytest.raises(FrameFileError):
                    read_header(path, whole=True)
    assert not capfd.readouterr().err, "a decoder printed by itself"


@pytest.mark.frames
def test_real_frames(real_frames: Path) -> None:
    depth = read_depth(real_frames / "kitchen_kinect" / "frame-000000.depth.png", "mm")
    assert depth.shape == (480, 640) and 1.5 < np.median(depth[depth > 0]) < 2.5 and depth.max() < 10
    assert read_rgb(real_frames / "kitchen_kinect" / "frame-000000.color.jpg").shape == (480, 640, 3)
    header = read_header(real_frames / "office_hololens" / "depth" / "00003.png", whole=True)
    assert (header.kind, header.bits, header.size) == ("png", 16, (360, 540))
