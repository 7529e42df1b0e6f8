"""The manifest's reader accepts what it should, and explains everything that it does not."""

from __future__ import annotations

import dataclasses
import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import VortexError
from core.pinhole import Pinhole
from validation import manifest
from validation.manifest import ManifestError, file, load_manifest, read_manifest, stream_split, write_manifest
from validation.rows import Frame

ROW: dict[str, Any] = {
    "id": "frame-000001",
    "domain": "corridor",
    "split": "train",
    "sequence": "monday",
    "camera": "femto-bolt",
    "intrinsics": {"fx": 500, "fy": 500.5, "cx": 320.0, "cy": 240.0, "size": [480, 640]},
    "rgb": "rgb/frame-000001.png",
    "depth": "depth/frame-000001.png",
    "depth_unit": "mm",
    "tof": "tof/frame-000001.npy",
    "tof_unit": "m",
    "tof_confidence": "confidence/frame-000001.png",
    "teacher_depth": "teacher/frame-000001.npy",
    "teacher": "da2-large",
    "teacher_unit": "relative",
    "segmentation": "segmentation/frame-000001.png",
    "supervision": "full",
}
LINE = json.dumps(ROW)


def written(tmp_path: Path, *lines: str | bytes) -> Path:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"".join((line if isinstance(line, bytes) else line.encode()) + b"\n" for line in lines))
    return path


def fault(tmp_path: Path, *lines: str | bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        load_manifest(written(tmp_path, *lines))
    assert "Traceback" not in caught.value.message and "\n" not in caught.value.message
    return " | ".join((caught.value.message, *caught.value.details))


def test_round_trip(tmp_path: Path) -> None:
    [frame] = load_manifest(written(tmp_path, LINE))
    assert frame.intrinsics == Pinhole(500.0, 500.5, 320.0, 240.0, (480, 640))
    assert frame.files()["teacher_depth"] == "teacher/frame-000001.npy"
    assert write_manifest(tmp_path / "again.jsonl", [frame]) == 1
    assert load_manifest(tmp_path / "again.jsonl") == [frame]


def test_frames_are_frozen(tmp_path: Path) -> None:
    [frame] = load_manifest(written(tmp_path, LINE))
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.split = "val"  # type: ignore[misc]
    assert dataclasses.replace(frame, split="val").split == "val"


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n  \n", b""])
def test_line_endings_and_blank_lines_are_tolerated(tmp_path: Path, ending: bytes) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"\n" + LINE.encode() + ending)
    assert len(load_manifest(path)) == 1


def test_minimal_row(tmp_path: Path) -> None:
    keys = ("id", "domain", "split", "sequence", "camera", "rgb")
    [frame] = load_manifest(written(tmp_path, json.dumps({key: ROW[key] for key in keys} | {"depth": None})))
    assert frame.supervision == "none" and frame.depth is None and frame.files() == {"rgb": ROW["rgb"]}


@pytest.mark.parametrize(
    ("change", "found", "allowed"),
    [
        ({"split": "training"}, "split is 'training'", "train, gap, val, test"),
        ({"id": "a/b"}, "id is 'a/b'", "letters"),
        ({"id": 5}, "id is 5", "letters"),
        ({"domain": "Two Words"}, "domain is 'Two Words'", "a-z"),
        ({"rgb": "../other/rgb.png"}, "rgb is '../other/rgb.png'", "without '..'"),
        ({"rgb": "rgb/../../x.png"}, "rgb is", "without '..'"),
        ({"depth": "/etc/passwd"}, "depth is '/etc/passwd'", "relative"),
        ({"depth": "depth\\x.png"}, "depth is", "with '/'"),
        ({"rgb": None}, "rgb is null", "relative"),
        ({"depth_unit": "cm"}, "depth_unit is 'cm'", "mm"),
        ({"depth_unit": None}, "depth and depth_unit", "both or neither"),
        ({"depth_unit": "relative"}, "depth_unit is 'relative'", "only a teacher"),
        ({"tof": None}, "tof and tof_unit", "both or neither"),
        ({"tof": None, "tof_unit": None}, "tof_confidence without tof", "only beside tof"),
        ({"teacher": None}, "teacher_depth, teacher and teacher_unit", "all or none"),
        ({"segmentation": None}, "segmentation and supervision", "'none' without a mask"),
        ({"supervision": "some"}, "supervision is 'some'", "none, partial, full"),
        ({"colour": "x"}, "key 'colour' is unknown", "rgb"),
        ({"intrinsics": {"fx": 1}}, "intrinsics.fy is missing", "size [H, W]"),
        ({"intrinsics": ROW["intrinsics"] | {"fx": True}}, "intrinsics.fx is true", "finite numbers"),
        ({"intrinsics": ROW["intrinsics"] | {"fx": 0}}, "intrinsics.fx is 0", "above 0"),
        ({"intrinsics": ROW["intrinsics"] | {"size": [480, 640.0]}}, "intrinsics.size.1 is 640.0", "size [H, W]"),
        ({"intrinsics": ROW["intrinsics"] | {"k1": 0.1}}, "intrinsics.k1 is 0.1", "size [H, W]"),
        ({"intrinsics": [500, 500]}, "intrinsics is [500, 500]", "an object"),
    ],
)
def test_a_fault_names_line_found_and_allowed(tmp_path: Path, change: dict[str, Any], found: str, allowed: str) -> None:
    message = fault(tmp_path, LINE, json.dumps(ROW | {"id": "two"} | change))
    assert "line 2: " in message and found in message and "allowed: " in message and allowed in message


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "allowed: one JSON object"),
        ('"text"', "allowed: one JSON object"),
        (LINE.replace("500.5", "NaN"), "NaN"),
        (LINE.replace("500.5", "-Infinity"), "-inf"),
        (LINE.replace("500.5", "1e999"), "intrinsics.fy is inf"),
        (LINE.replace("500.5", "9" * 5000), "not JSON"),
        (LINE.replace("monday", "\\ud800"), "surrogate"),
        (LINE.replace("monday", "mon\\u0000day"), "sequence is"),
        (LINE.replace('"split"', '"split": "val", "split"'), "key 'split' is there twice"),
        (LINE.replace('"split"', '"split" :"val", "split"'), "key 'split' is there twice"),
        (LINE.replace('"fx"', '"fx": 1, "fx"'), "key 'fx' is there twice"),
        (LINE.replace('"depth"', '"depth": null, "depth"'), "key 'depth' is there twice"),
        (LINE + LINE, "not JSON"),
        ("[" * 200_000, "nested too deeply"),
        (LINE.replace('"monday"', "[" * 50_000 + "]" * 50_000), "nested too deeply"),
        (b"\n\xef\xbb\xbf" + LINE.encode(), "byte order mark"),
        (LINE.encode().replace(b"monday", b"mon\xffday"), "UTF-8"),
        (LINE.encode("utf-16"), "allowed: "),
        (b"\x00" * 300, "not JSON"),
    ],
)
def test_hostile_lines(tmp_path: Path, line: str | bytes, found: str) -> None:
    assert found in fault(tmp_path, line)


def test_a_missing_supervision_cannot_hide_a_duplicate(tmp_path: Path) -> None:
    # Leaving `supervision` out saves four quotes, a second text costs four: the counts are then those of a good row.
    row = {key: value for key, value in ROW.items() if key not in ("segmentation", "supervision")}
    assert "twice" in fault(tmp_path, json.dumps(row).replace('"split"', '"split": "val", "split"'))


@given(st.dictionaries(st.sampled_from(list(ROW)), st.integers(1, 3), max_size=3), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_duplicate_is_ever_accepted(tmp_path_factory: pytest.TempPathFactory, times: dict[str, int], spaced: bool, bare: bool) -> None:
    kept = {key: value for key, value in ROW.items() if not (bare and key in ("segmentation", "supervision"))}
    pairs = [(key, value) for key, value in kept.items() for _ in range(times.get(key, 1))]
    line = "{" + ",".join(f"{json.dumps(key)}{' :' if spaced else ':'}{json.dumps(value)}" for key, value in pairs) + "}"
    path = written(tmp_path_factory.mktemp("pairs"), line)
    if len(pairs) == len(kept):
        assert len(load_manifest(path)) == 1
    else:
        with pytest.raises(ManifestError, match="twice"):
            load_manifest(path)


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: (LINE.replace("monday", text)).encode("utf-8", "replace")))
@settings(max_examples=120, deadline=None)
def test_any_bytes_end_in_frames_or_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "manifest.jsonl"
    path.write_bytes(content)
    try:
        frames = load_manifest(path)
    except ManifestError as error:
        assert str(path) in error.message and error.hint
    else:
        assert write_manifest(path, frames) == len(frames)


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    lines = [json.dumps(ROW | {"id": f"f{index}", "split": "nowhere"}) for index in range(70)]
    with pytest.raises(ManifestError) as caught:
        load_manifest(written(tmp_path, LINE, *lines))
    assert "70 faults (the first 50 are listed), the first on line 2" in caught.value.message
    assert len(caught.value.details) == 50 and caught.value.details[49].startswith("line 51:")


def test_good_frames_stream_before_the_error(tmp_path: Path) -> None:
    frames = read_manifest(written(tmp_path, LINE, "{"))
    assert next(frames).id == "frame-000001"
    with pytest.raises(ManifestError, match="line 2"):
        next(frames)


def test_duplicate_ids_name_both_lines(tmp_path: Path) -> None:
    assert "line 3: id 'frame-000001' is already on line 1" in fault(tmp_path, LINE, "", LINE)


def test_a_gigabyte_line_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with open(path, "wb") as stream:
        stream.write(LINE.encode() + b"\n")
        stream.seek(1 << 30)  # sparse: the file costs no disk
        stream.write(b"x\n")
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ManifestError, match="line 2: the line is longer than 1048576 bytes"):
        load_manifest(path)
    assert time.monotonic() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_missing_empty_and_odd_files(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jsonl", tmp_path, Path("/dev/zero")):
        with pytest.raises(ManifestError, match=str(path)):
            load_manifest(path)
    assert "no frames" in fault(tmp_path, "")


def test_writing_is_strict_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    good = Frame(id="a", domain="rooms", split="train", sequence="s", camera="c", rgb="rgb/a.png")
    write_manifest(path, [good])
    before = path.read_bytes()
    for bad in (
        dataclasses.replace(good, rgb="../a.png"),
        dataclasses.replace(good, depth="depth/a.png"),
        dataclasses.replace(good, sequence="\ud800"),
        dataclasses.replace(good, intrinsics=Pinhole(float("nan"), 1, 1, 1, (4, 4))),
        good,
    ):
        with pytest.raises(ManifestError, match=str(path)):
            write_manifest(path, [good, bad])
    with pytest.raises(ManifestError, match="no frames to write"):
        write_manifest(path, [])
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["manifest.jsonl"]


def test_legacy_rows(tmp_path: Path) -> None:
    rows = [
        {
            "stem": f"{index:05d}",
            "rgb": f"rgb/{index:05d}.png",
            "depth": f"depth/{index:05d}.npy",
            "da3_depth": f"da3_depth/{index:05d}.npy" if index % 2 else None,
            "sam2_seg": None,
            "confidence": f"confidence/{index:05d}.npy",
        }
        for index in range(50)
    ]
    frames = load_manifest(written(tmp_path, *map(json.dumps, rows)))
    assert [frame.split for frame in frames] == ["train"] * 36 + ["gap"] * 4 + ["val"] * 10
    assert frames[0].teacher is None and frames[1].teacher == "da3-metric-large" and frames[1].teacher_unit == "m"
    assert (frames[0].tof, frames[0].tof_unit, frames[0].depth) == ("depth/00000.npy", "m", None)
    assert frames[0].domain == manifest.LEGACY_DOMAIN and frames[0].supervision == "none"
    assert write_manifest(tmp_path / "today.jsonl", frames) == 50
    assert "key 'mask' is unknown in a manifest with the legacy keys" in fault(tmp_path, json.dumps(rows[0] | {"mask": "x"}))
    assert "without '..'" in fault(tmp_path, json.dumps(rows[0] | {"rgb": "../x.png"}))


def test_files_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "secret.png").touch()
    (tmp_path / "set" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(VortexError, match="through a link"):
        file(tmp_path / "set", "link.png")


def test_stream_split_is_ordered() -> None:
    for total in range(1, 300):
        splits = [stream_split(index, total) for index in range(total)]
        assert splits == sorted(splits, key=["train", "gap", "val"].index)
        assert splits.count("val") == (total * 20 + 50) // 100
    kitchen = [stream_split(index, 250) for index in range(250)]
    assert (kitchen.count("train"), kitchen.count("gap"), kitchen.count("val")) == (180, 20, 50)


def test_intrinsics_scale_with_the_picture() -> None:
    half = Pinhole(585, 585, 319.5, 239.5, (480, 640)).scaled((240, 320))
    assert half == Pinhole(292.5, 292.5, 159.5, 119.5, (240, 320))
