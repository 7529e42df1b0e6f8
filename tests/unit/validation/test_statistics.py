"""Statistics on disk: what is written is what is read, kept rows are not measured again, and damage is no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.validation.frame_sets import SIZE, FrameSet
from validation import frames as measuring
from validation.policies import load_policies
from validation.profile import compare, parse, profile
from validation.rows import Frame
from validation.statistics import PIECE, Statistics, gather, load, save, stored_digest


@pytest.fixture
def honest(tmp_path: Path) -> FrameSet:
    return FrameSet(tmp_path).build()


def equal(one: Statistics, other: Statistics) -> bool:
    return one.table.equals(other.table) and all((one.bins[name] == other.bins[name]).all() for name in one.bins)


def key(frame: Frame) -> str:
    return frame.id


def test_round_trip(honest: FrameSet, tmp_path: Path) -> None:
    made, _ = gather(honest.root, honest.frames, key=key)
    path = tmp_path / "kept" / "table.parquet"
    save(path, made, "abc")
    assert stored_digest(path) == "abc"
    read = load(path, keys=True)
    assert read is not None and equal(made, read)
    assert read.keys is not None and list(read.keys) == [frame.id for frame in honest.frames]


def test_known_rows_are_taken_over_in_the_new_order(honest: FrameSet) -> None:
    known, _ = gather(honest.root, honest.frames, key=key)
    honest.write(honest.frames[3].rgb, np.zeros((*SIZE, 3), np.uint8))
    shuffled = [honest.frames[place] for place in (5, 3, 0, 11, 7)]
    mixed, read = gather(honest.root, shuffled, earlier=known, key=lambda frame: "" if frame.id.endswith("3") else frame.id)
    fresh, _ = gather(honest.root, shuffled)
    assert read == 1 and equal(mixed, fresh)
    assert mixed.table["brightness"].tolist()[1] == 0
    again, read = gather(honest.root, shuffled, earlier=mixed, key=key)
    assert read == 1 and equal(again, mixed)  # a row without a key is nobody's: it is read again


def test_what_a_row_of_the_manifest_says_is_never_taken_over(honest: FrameSet) -> None:
    known, _ = gather(honest.root, honest.frames, key=key)
    honest.change_all(split="test", sequence="another")
    moved, read = gather(honest.root, honest.frames, earlier=known, key=key)
    assert read == 0 and set(moved.table["split"]) == {"test"} and set(moved.table["sequence"]) == {"another"}


def test_pieces_make_no_difference(honest: FrameSet, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = gather(honest.root, honest.frames)
    assert len(honest.frames) < PIECE  # so that this was one piece
    monkeypatch.setattr("validation.statistics.PIECE", 5)
    assert equal(gather(honest.root, honest.frames)[0], whole)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"{}", b"PAR1" + b"\0" * 200 + b"PAR1"])
def test_a_damaged_table_is_no_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    assert stored_digest(path) is None and load(path) is None


def test_a_table_that_was_edited_is_no_table(honest: FrameSet, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "table.parquet"
    save(path, gather(honest.root, honest.frames)[0], "abc")
    assert stored_digest(path) == "abc"
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, table.schema.field(0), table.column(0).take(list(range(len(table)))[::-1])), path)
    assert pq.read_schema(path).metadata[b"vortex.digest"] == b"abc"
    assert stored_digest(path) is None and load(path) is None


def test_another_version_is_measured_again(honest: FrameSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.parquet"
    save(path, gather(honest.root, honest.frames)[0], "abc")
    monkeypatch.setattr("validation.statistics.VERSION", measuring.VERSION + 1)
    assert load(path) is None


def test_a_profile_survives_its_file_and_is_at_no_distance_from_itself(honest: FrameSet) -> None:
    made = profile(gather(honest.root, honest.frames)[0], domain="kitchen", name="set", digest="d", kind="room", made="2026-01-01")
    assert parse(made.json(), "here") == made
    assert {drift.distance for drift in compare(made, made, load_policies().data.kind("room").drift)} == {0.0}
