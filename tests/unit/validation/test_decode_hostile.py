"""Files that are made to mislead: bombs, flipped bits, foreign chunks, odd headers. Refused, or decoded to what is really there."""

from __future__ import annotations

import random
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from validation import headers
from validation.decode import read_depth, read_mask, read_rgb, read_segmentation, read_steps
from validation.headers import FrameFileError, read_header

pytestmark = pytest.mark.usefixtures("others_garbage")

SIZE = (24, 32)
DEPTH = np.arange(24 * 32, dtype=np.uint16).reshape(SIZE) * 80
ROWS = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEPTH)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path: Path, *, image: bytes | None = None, before: bytes = b"", after: bytes = b"", size: tuple[int, int] = SIZE) -> Path:
    """A 16-bit grey PNG, chunk by chunk, every checksum right."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 16, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(ROWS) if image is None else image)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + before + pixels + after + chunk(b"IEND", b""))
    return path


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _depth(path: Path) -> Any:
    return read_depth(path, "mm")


def test_2000_flipped_bits_never_change_a_png_silently(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dice = random.Random(0)
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    kinds: list[tuple[np.ndarray[Any, Any], Callable[[Path], Any]]] = [
        (DEPTH, _depth),
        (noise, read_rgb),
        ((noise[..., 0] % 6).astype(np.uint8), read_segmentation),
    ]
    for values, reader in kinds:
        path = tmp_path / "p.png"
        assert cv2.imwrite(str(path), values)
        data, before, refused = path.read_bytes(), reader(path), 0
        for _ in range(700):
            flipped = bytearray(data)
            flipped[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            path.write_bytes(flipped)
            try:
                np.testing.assert_array_equal(reader(path), before)
            except FrameFileError as error:
                refused += 1
                assert str(path) in error.message
        assert refused > 650
    assert not capfd.readouterr().err, "a decoder printed by itself"


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_compressed_notes_are_never_unpacked(tmp_path: Path, kind: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    head = b"k\0\0" if kind != b"iTXt" else b"k\0\1\0\0\0"
    path, before, started = png(tmp_path / "d.png", before=chunk(kind, head + bomb)), megabytes(), time.process_time()
    np.testing.assert_array_equal(np.rint(_depth(path) * 1000).astype(np.uint16), DEPTH)
    assert megabytes() - before < 30 and time.process_time() - started < 0.5
    assert not capfd.readouterr().err


def test_image_data_that_inflates_beyond_its_rows(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    bomb = packer.compress(ROWS) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    before, started = megabytes(), time.process_time()
    with pytest.raises(FrameFileError, match="damaged"):
        _depth(png(tmp_path / "d.png", image=bomb))
    assert megabytes() - before < 30 and time.process_time() - started < 0.2


def test_image_data_that_ends_early_or_breaks_its_own_checksum(tmp_path: Path) -> None:
    for image in (zlib.compress(ROWS[: len(ROWS) // 2]), zlib.compress(ROWS)[:-1] + b"\0", b"\x09" + zlib.compress(ROWS), b""):
        with pytest.raises(FrameFileError, match="damaged"):
            _depth(png(tmp_path / "d.png", image=image))


def test_foreign_chunks_do_not_change_the_picture(tmp_path: Path) -> None:
    for before in (
        chunk(b"acTL", struct.pack(">II", 2, 0)),  # the start of an animation: OpenCV would take its frames for the picture
        chunk(b"tRNS", b"\0\0"),
        chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"sBIT", b"\x0c") + chunk(b"pHYs", bytes(9)),
        chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    ):
        path = png(tmp_path / "d.png", before=before)
        np.testing.assert_array_equal(read_steps(path), DEPTH)
    for before in (chunk(b"ABCD", b"critical"), chunk(b"IHDR", bytes(13))):
        with pytest.raises(FrameFileError):
            _depth(png(tmp_path / "d.png", before=before))


def test_a_file_longer_than_its_pixels_can_need_is_not_read(tmp_path: Path) -> None:
    path = png(tmp_path / "d.png")
    with open(path, "r+b") as stream:
        stream.truncate(2_000_000_000)  # a hole, that a copy would fill
    before = megabytes()
    with pytest.raises(FrameFileError, match=r"found 2000000000 bytes for 24×32 pixels, allowed: at most"):
        _depth(path)
    numbers = tmp_path / "d.npy"
    np.save(numbers, DEPTH.astype(np.float32))
    with open(numbers, "r+b") as stream:
        stream.truncate(2_000_000_000)
    with pytest.raises(FrameFileError, match="found 2000000000 bytes"):
        _depth(numbers)
    with pytest.raises(FrameFileError, match="its header speaks of"):
        read_header(numbers, whole=True)
    assert megabytes() - before < 30


def test_a_million_chunks(tmp_path: Path) -> None:
    started = time.process_time()
    with pytest.raises(FrameFileError, match="damaged"):
        _depth(png(tmp_path / "d.png", before=chunk(b"tEXt", b"") * 1_000_000))
    assert time.process_time() - started < 2


def test_numbers_of_either_byte_order(tmp_path: Path) -> None:
    for order in "<>":
        path = tmp_path / f"{ord(order)}.npy"
        np.save(path, DEPTH.astype(f"{order}u2"))
        np.testing.assert_array_equal(np.rint(read_depth(path, "mm") * 1000).astype(np.uint16), DEPTH)
        np.save(path, (DEPTH / 1000).astype(f"{order}f4"))
        np.testing.assert_allclose(read_depth(path, "m"), DEPTH / 1000, rtol=1e-6)


def npy(said: str, data: bytes = bytes(32), version: bytes = b"\x01\x00") -> bytes:
    text = said.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<f6', 'fortran_order': False, 'shape': (2, 4)}"),
        npy("{'descr': '<fd', 'fortran_order': False, 'shape': (2, 4)}"),
        npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 4)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4.0)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -4)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), 'more': 1}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 5)}"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 4)}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 4)}"),
        npy("['descr', 'fortran_order', 'shape']"),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}", version=b"\x09\x00"),
        npy("(" * 9000),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}" + " " * 20_000, version=b"\x02\x00"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b"(" * 1000,
        b"\x93NUMPY",
    ],
)
def test_odd_headers_of_npy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "d.npy"
    path.write_bytes(content)
    for reader in (lambda path: read_depth(path, "m"), lambda path: read_header(path, whole=True)):
        with pytest.raises(FrameFileError, match="allowed: "):
            reader(path)


def test_any_byte_of_an_npy_header_may_be_wrong(tmp_path: Path) -> None:
    path = tmp_path / "d.npy"
    np.save(path, DEPTH.astype(np.float32))
    data = path.read_bytes()
    for place in range(128):
        for bit in (0, 1, 2, 5):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            try:
                values = read_depth(path, "m")
            except FrameFileError:
                continue
            # The byte order is one bit, and so is C or Fortran order's first letter; no flip changes the shape.
            assert values.shape == SIZE


def test_jpeg_damage_that_looks_like_a_marker(tmp_path: Path) -> None:
    path = tmp_path / "c.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    cv2.imwrite(str(path), noise)
    data = path.read_bytes()
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    for marker in (b"\xff\x03", b"\xff\xd8", b"\xff\xd9", b"\xff\xe0\xff\xff"):
        path.write_bytes(data[:middle] + marker + data[middle + len(marker) :])
        with pytest.raises(FrameFileError, match="the JPEG is damaged"):
            read_rgb(path)
    # What a phone hangs on behind the end is no damage.
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    for tail in (b"\0" * 1000, data, b"trailer"):
        path.write_bytes(data + tail)
        np.testing.assert_array_equal(read_rgb(path), whole)


def test_honest_jpegs_of_every_kind(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    for flags in (
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
        [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
        [cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_QUALITY, 5],
    ):
        path = tmp_path / "c.jpg"
        cv2.imwrite(str(path), noise, flags)
        np.testing.assert_array_equal(read_rgb(path), cv2.imread(str(path))[..., ::-1])
        assert read_header(path, whole=True).size == (50, 70)


def test_a_jpeg_of_endless_scans(tmp_path: Path) -> None:
    path = tmp_path / "c.jpg"
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    data = path.read_bytes()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:-2] + data[last:-2] * (headers.SCAN_CAP + 1) + data[-2:])
    with pytest.raises(FrameFileError, match="the JPEG is damaged"):
        read_rgb(path)


def test_masks_of_zeros_and_ones(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    cv2.imwrite(str(path), np.eye(4, dtype=np.uint8))
    np.testing.assert_array_equal(read_mask(path), np.eye(4, dtype=bool))
    cv2.imwrite(str(path), np.full((4, 4), 255, np.uint8))
    with pytest.raises(FrameFileError, match="other than 0 and 1"):
        read_mask(path)
    with pytest.raises(FrameFileError, match="allowed: a 16-bit grey PNG"):
        read_steps(path)
