"""Per-frame errors survive the disk, and two versions are paired frame by frame in the order of the stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import VortexError
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors, pair, pooled_errors

BOTH = (SQUARED, COUNT)


def errors(squares: list[float], ids: list[str] | None = None, sequences: tuple[str, ...] = ()) -> FrameErrors:
    names = tuple(ids or [f"f{row:03d}" for row in range(len(squares))])
    return FrameErrors(names, {SQUARED: np.array(squares), COUNT: np.full(len(squares), 100.0)}, (48, 64), sequences)


def test_errors_survive_the_disk_and_hash_alike(tmp_path: Path) -> None:
    sums = {SQUARED: np.array([1.5, 2], np.float32), "confusion": np.ones((2, 6, 6), np.float32)}
    written = FrameErrors(("a", "ü/2"), sums, (48, 64), ("s1", "ß"))
    written.save(tmp_path / "one.npz")
    written.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = FrameErrors.load(tmp_path / "one.npz")
    assert (read.ids, read.size, read.sequences) == (written.ids, (48, 64), ("s1", "ß"))
    assert all(np.array_equal(read.sums[name], written.sums[name]) for name in written.sums)


def test_a_file_without_sequences_is_one_sequence(tmp_path: Path) -> None:
    path = tmp_path / "old.npz"
    np.savez_compressed(path, ids=np.array(["b", "a"]), size=np.array([4, 6]), sum_squared=np.ones(2), sum_count=np.ones(2))
    read = FrameErrors.load(path)
    assert read.sequences == () and pair(read, read, BOTH).lengths == (2,)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "errors.npz"
    path.write_bytes(content)
    with pytest.raises(VortexError, match=r"errors\.npz: not readable as per-frame errors"):
        FrameErrors.load(path)


def test_a_file_with_too_few_sequences_is_named(tmp_path: Path) -> None:
    path = tmp_path / "errors.npz"
    np.savez_compressed(path, ids=np.array(["b", "a"]), size=np.array([4, 6]), sum_squared=np.ones(2), sequences=np.array(["s"]))
    with pytest.raises(VortexError, match="differ in number"):
        FrameErrors.load(path)


def test_frames_are_paired_by_id_and_stand_sequence_after_sequence() -> None:
    a = errors([1, 2, 3, 4], ["x1", "y1", "x2", "y2"], ("x", "y", "x", "y"))
    b = errors([40, 30, 20, 10], ["y2", "x2", "y1", "x1"])
    paired = pair(a, b, BOTH)
    assert paired.a[SQUARED].tolist() == [1, 3, 2, 4] and paired.b[SQUARED].tolist() == [10, 30, 20, 40]
    assert paired.lengths == (2, 2) == pair(b, a, BOTH).lengths, "which of the two knows the sequences does not matter"
    usable = paired.where(np.array([True, True, False, False]))
    assert usable.lengths == (2,) and usable.a[SQUARED].tolist() == [1, 3] and usable.frames == 2


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (errors([1, 1, 1]), errors([1, 1, 1], ["f000", "f001", "x"]), "2 frame.s. were evaluated for only one"),
        (errors([1, np.nan, 1]), errors([1, 1, 1]), "1 frame.s. have errors that are not finite, for example 'f001'"),
        (errors([1]), FrameErrors(("f000",), {SQUARED: np.ones(1)}, (4, 6)), "lack count; they have squared"),
    ],
)
def test_what_cannot_be_paired_is_refused(a: FrameErrors, b: FrameErrors, message: str) -> None:
    with pytest.raises(VortexError, match=message):
        pair(a, b, BOTH)


def test_runs_are_pooled_frame_by_frame() -> None:
    pooled = pooled_errors([errors([1, 2], sequences=("s", "t")), errors([3, 5])])
    assert pooled.sums[SQUARED].tolist() == [4, 7] and pooled.sums[COUNT].tolist() == [200, 200] and pooled.sequences == ("s", "t")
    with pytest.raises(VortexError, match="different frames"):
        pooled_errors([errors([1, 2]), errors([1, 2], ["f000", "x"])])
