"""Rows and files of sets that bring more than colour and depth: roles, splits, cameras, computed maps, and the first look at them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from core.depth import millimetres
from core.errors import UsageError, VortexError
from pipelines.ingest import ADAPTERS
from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording
from pipelines.ingest.add import Added, add_dataset
from pipelines.ingest.cameras import StatedCamera
from pipelines.ingest.frame_files import encodable
from pipelines.workspace import Workspace
from validation.decode import read_confidence, read_depth, read_segmentation
from validation.headers import FrameFileError
from validation.manifest import load_manifest

SIZE = (16, 24)


@dataclass(frozen=True)
class Made:
    """A computed map, or a reason why there is none."""

    values: NDArray[Any]
    fault: str = ""
    origin: Path = Path("/sets/archive.bin")
    claims: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.claims or (self.values.shape[0], self.values.shape[1])

    def read(self) -> NDArray[Any]:
        if self.fault:
            raise FrameFileError(f"{self.origin}: {self.fault}", "replace it", ["a detail"])
        return self.values


@dataclass
class Fake:
    """An adapter that finds what it is told to."""

    found: FrameSet
    layout: str = "anything"
    registered: bool = True
    asked: list[Options] = field(default_factory=list)

    def recognises(self, root: Path) -> bool:
        return False

    def read(self, root: Path, options: Options) -> FrameSet:
        self.asked.append(options)
        return self.found


RGB = Made(np.arange(16 * 24 * 3, dtype=np.uint8).reshape(16, 24, 3))
DEPTH = Made(np.full(SIZE, 2.0004, np.float32))
PAIR = Pair(stem="0", rgb=RGB, depth=DEPTH)


def add(ws: Workspace, monkeypatch: pytest.MonkeyPatch, pairs: list[Pair], *, camera: StatedCamera | None = None, **more: Any) -> Added:
    options = {key: more.pop(key) for key in ("split", "filled", "workers", "on_frame", "name") if key in more}
    found = FrameSet([Recording("", pairs, camera)], more.pop("unit", "mm"), None, **more)
    monkeypatch.setitem(ADAPTERS, "plain", Fake(found))
    return add_dataset(ws, options.pop("name", "s"), ws.root, format="plain", domain="rooms", **options)


def frames_of(added: Added) -> list[Any]:
    return load_manifest(added.dataset.manifest)


def test_computed_maps_become_png_in_their_roles(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.save(tmp_path / "tof.npy", np.full(SIZE, 1.5, np.float32))
    pair = replace(
        PAIR,
        tof=tmp_path / "tof.npy",
        tof_confidence=Made(np.full(SIZE, 0.5, np.float32)),
        teacher_depth=Made(np.full(SIZE, 3.0)),
        segmentation=Made(np.full(SIZE, 4, np.uint8)),
    )
    added = add(workspace, monkeypatch, [pair], unit="m/5000", tof_unit="m", teacher=("da3", "m"))
    frame, root = frames_of(added)[0], added.dataset.root
    assert (frame.depth_unit, frame.tof_unit, frame.teacher_unit, frame.teacher) == ("mm", "m", "mm", "da3")
    assert frame.tof == "tof/0.npy" and frame.supervision == "partial" and frame.rgb == "rgb/0.png"
    np.testing.assert_array_equal(cv2.imread(str(root / frame.rgb))[..., ::-1], RGB.values)
    np.testing.assert_allclose(read_depth(root / frame.depth, "mm"), 2.0)
    np.testing.assert_allclose(read_depth(root / frame.teacher_depth, "mm"), 3.0)
    assert (read_segmentation(root / frame.segmentation) == 4).all()
    np.testing.assert_allclose(read_confidence(root / frame.tof_confidence), 128 / 255)
    said = added.dataset.card.settings["statistics"]
    assert said["tof"]["median"] == 1.5 and said["teacher_depth"]["median"] == 3.0 and said["depth"]["valid"] == 1.0


def test_millimetres_at_the_edges() -> None:
    metres = np.array([0.0004, 0.0006, 1.2345, 65.534, 65.5346, 66, 1e9, -1, np.nan, np.inf, -np.inf, 0], np.float64)
    assert millimetres(metres).tolist() == [0, 1, 1234, 65534, 0, 0, 0, 0, 0, 0, 0, 0]
    assert millimetres(np.array([65.534], np.float32)).tolist() == [65534]


@pytest.mark.parametrize(
    ("role", "values"),
    [
        ("rgb", np.zeros(SIZE, np.uint8)),
        ("rgb", np.zeros((*SIZE, 3), np.float32)),
        ("depth", np.zeros(SIZE, np.uint16)),
        ("depth", np.zeros(SIZE[::-1], np.float32)),
        ("segmentation", np.zeros(SIZE, np.int64)),
        ("tof_confidence", np.full(SIZE, 1.5, np.float32)),
        ("tof_confidence", np.full(SIZE, np.nan, np.float32)),
    ],
)
def test_a_map_of_another_shape_or_type_is_refused(role: str, values: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        encodable(role, values, SIZE)


def test_a_map_that_cannot_be_computed_names_its_frame_and_leaves_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = (workspace.root / "data.dvc").read_bytes()
    bad = [
        replace(PAIR, stem="9", depth=Made(DEPTH.values, "bits are missing")),
        replace(PAIR, stem="9", depth=Made(np.zeros((4, 4)), claims=SIZE)),
    ]
    for pair, said in zip(bad, ("archive.bin: bits are missing", "its depth came out as float64"), strict=True):
        with pytest.raises(FrameFileError, match=rf"frame 9: .*{said}") as caught:
            add(workspace, monkeypatch, [PAIR, pair])
        assert caught.value.hint and not any(workspace.data.iterdir()) and (workspace.root / "data.dvc").read_bytes() == pointer
        assert not any((workspace.build / "staging").iterdir())


@dataclass(frozen=True)
class Dying(Made):
    """Takes its process with it."""

    def read(self) -> NDArray[Any]:
        os._exit(9)


@pytest.mark.parametrize(
    ("depth", "said"),
    [(Dying(DEPTH.values), "was killed, perhaps for memory"), (Made(DEPTH.values, "bits are missing"), "frame 3: .*bits are missing")],
)
def test_worker_processes_that_fail_or_die(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, depth: Made, said: str) -> None:
    pairs = [replace(PAIR, stem=str(index)) for index in range(20)]
    pairs[3] = replace(pairs[3], depth=depth)
    with pytest.raises(VortexError, match=said) as caught:
        add(workspace, monkeypatch, pairs, workers=2)
    assert caught.value.hint and not any(workspace.data.iterdir()) and not any((workspace.build / "staging").iterdir())


def test_a_failure_stops_the_threads_before_the_folder_goes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pairs = []
    for index in range(120):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((*SIZE, 3), np.uint8))
        pairs.append(Pair(stem=str(index), rgb=tmp_path / f"{index}.png", depth=None))

    def interrupt(what: str, done: int, total: int) -> None:
        if what == "writing" and done:
            raise KeyboardInterrupt

    with pytest.raises(VortexError, match="interrupted: dataset 's' was not added"):
        add(workspace, monkeypatch, pairs, workers=3, on_frame=interrupt)
    assert not any((workspace.build / "staging").iterdir()) and not any(workspace.data.iterdir())
    with pytest.raises(UsageError, match="--workers 0 is not allowed"):
        add(workspace, monkeypatch, pairs, workers=0)


def test_official_splits_outrank_the_stream_unless_the_user_says_otherwise(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [replace(PAIR, stem=str(index), split="test" if index < 5 else "train" if index == 5 else None) for index in range(16)]
    added = add(workspace, monkeypatch, pairs)
    assert [frame.split for frame in frames_of(added)] == ["test"] * 5 + ["train"] + ["train"] * 7 + ["gap"] + ["val"] * 2
    assert added.dataset.card.settings["split"] == "official" and any("official splits hold" in note for note in added.notes)
    own = add(workspace, monkeypatch, pairs, split=(50, 0, 50), name="own")
    assert [frame.split for frame in frames_of(own)] == ["train"] * 8 + ["val"] * 8
    assert own.dataset.card.settings["split"] == [50, 0, 50] and any("replaces the official" in note for note in own.notes)


def test_each_frame_may_have_its_own_camera_and_then_its_own_size(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = StatedCamera(20, 20, 12, 8, None, "K.txt")
    other = replace(shared, fx=30.0, size=(32, 48), cx=24.0, cy=16.0)
    bigger = Pair(stem="2", rgb=Made(np.zeros((32, 48, 3), np.uint8)), depth=Made(np.ones((32, 48))), camera=other)
    frames = frames_of(add(workspace, monkeypatch, [PAIR, replace(PAIR, stem="1", camera=other), bigger], camera=shared))
    assert [frame.intrinsics.fx for frame in frames] == [20, 15, 30]
    assert [frame.intrinsics.size for frame in frames] == [SIZE, SIZE, (32, 48)]
    with pytest.raises(VortexError, match="allowed: one size a recording"):
        add(workspace, monkeypatch, [PAIR, replace(bigger, camera=None)], name="t")


def test_intrinsics_follow_a_resize(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = StatedCamera(20, 21, 11.5, 7.5, None, "K.txt")
    camera = frames_of(add(workspace, monkeypatch, [PAIR], camera=shared))[0].intrinsics
    half = camera.scaled((8, 12))
    # The ray through a pixel's centre stays the same: the centre of the small pixel (0, 0) lies at (0.5, 0.5) of the large picture.
    assert (half.fx, half.fy, half.size) == (10, 10.5, (8, 12))
    assert (0 - half.cx) / half.fx == pytest.approx((0.5 - camera.cx) / camera.fx)
    assert (0 - half.cy) / half.fy == pytest.approx((0.5 - camera.cy) / camera.fy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"depth": Made(np.ones(SIZE[::-1]))}, "depth is 24×16, its colour picture 16×24.*axes look swapped"),
        ({"segmentation": Made(np.ones((8, 12), np.uint8))}, "segmentation is 8×12"),
        ({"tof": Made(np.ones((24, 16)))}, "the same view"),
        ({"tof": Made(np.ones((8, 12))), "tof_confidence": Made(np.ones(SIZE, np.uint8))}, "the size of its tof"),
        ({"teacher_depth": Made(np.ones(SIZE))}, "does not say whose depth"),
    ],
)
def test_maps_that_do_not_fit_their_picture(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(VortexError, match=said):
        add(workspace, monkeypatch, [replace(PAIR, **change)])


def test_a_sensor_may_have_its_own_resolution(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    half = replace(PAIR, tof=Made(np.ones((8, 12))), tof_confidence=Made(np.ones((8, 12), np.uint8)))
    frame = frames_of(add(workspace, monkeypatch, [half]))[0]
    assert frame.tof == "tof/0.png" and frame.tof_unit == "mm" and frame.tof_confidence == "tof_confidence/0.png"


def test_a_camera_of_another_resolution_is_one_fault(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for camera, said in (
        (StatedCamera(20, 20, 6, 4, None, "K.txt"), "is it for another resolution"),
        (StatedCamera(20, 20, 48, 32, None, "K.txt"), "lie outside the frames"),
        (StatedCamera(20, 20, 12, 8, (20, 24), "K.json"), "is for pictures of 20×24"),
    ):
        with pytest.raises(VortexError, match=said) as caught:
            add(workspace, monkeypatch, [PAIR, replace(PAIR, stem="1")], camera=camera)
        assert not caught.value.details


@pytest.mark.parametrize(
    ("metres", "unit", "said"), [(2500.0, "m", "65.5 m or more"), (0.0025, "mm", "0.003 m"), (0.0, "mm", "no valid pixel")]
)
def test_an_implausible_unit_is_said_at_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, metres: float, unit: str, said: str
) -> None:
    np.save(tmp_path / "d.npy", np.full(SIZE, metres if unit == "m" else metres * 1000, np.float32))
    added = add(workspace, monkeypatch, [replace(PAIR, depth=tmp_path / "d.npy")], unit=unit)
    assert any(said in note for note in added.notes), added.notes


def test_statistics_are_those_of_every_pixel_of_a_stated_subsample(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.arange(16 * 24, dtype=np.float64).reshape(SIZE) / 100
    pairs = [replace(PAIR, stem=str(index), depth=Made(ramp + (index % 2) * 1e-9)) for index in range(70)]
    said = json.loads((add(workspace, monkeypatch, pairs).dataset.root / "dataset.json").read_text())["settings"]["statistics"]
    assert (said["frames"], said["of"]) == (32, 70)
    valid = ramp[ramp > 0]
    assert said["depth"]["valid"] == pytest.approx(383 / 384, abs=1e-4)
    for name, share in (("p5", 5), ("median", 50), ("p95", 95)):
        assert said["depth"][name] == pytest.approx(np.percentile(valid, share), abs=0.011)
    assert said["brightness"] == pytest.approx(RGB.values.mean() / 255, abs=1e-3)


def test_filled_depth_only_where_a_set_has_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VortexError, match=r"format plain has no in-painted depth, only .*nyu-mat"):
        add(workspace, monkeypatch, [PAIR], filled=True)
