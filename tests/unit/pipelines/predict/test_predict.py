"""`vortex predict` on what people have: pictures, folders, videos, datasets, and what is none of these."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.depth import millimetres
from core.errors import UsageError, VortexError
from pipelines.hub.open import hub
from pipelines.pack.decoding import resized
from pipelines.predict.run import predict
from pipelines.predict.runtimes import flipped, of_student
from pipelines.predict.sources import source_of
from pipelines.ship.export.run import export
from pipelines.workspace import Workspace
from tests.unit.pipelines.conftest import SIZE
from validation.decode import read_rgb


@pytest.fixture
def album(small_set: Path, tmp_path: Path) -> Path:
    """Two pictures of other sizes than the student's, one of them in a folder below, and a text."""
    folder = tmp_path / "album"
    (folder / "deeper").mkdir(parents=True)
    picture = cv2.imread(str(small_set.parent / "rgb" / "000.png"))
    cv2.imwrite(str(folder / "deeper" / "hall 2.jpg"), cv2.resize(picture, (150, 100)))
    cv2.imwrite(str(folder / "größe.png"), cv2.resize(picture, (48, 32)))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def answers(ws: Workspace, name: str, picture: Path) -> np.ndarray:
    """The depth that a version's network says of a picture, at the picture's own size."""
    from models import checkpoint

    registry = hub(ws)
    student, _ = checkpoint.load(registry.artifacts.path(registry.get(name).checkpoint))
    rgb = read_rgb(picture)
    return resized(of_student(student)(resized(rgb, SIZE)[None]).depth[0], rgb.shape[:2])


def test_a_folder_keeps_names_and_sizes(workspace: Workspace, album: Path, make_version: Callable[..., str]) -> None:
    name, steps = make_version(), []
    predictions = predict(workspace, name, str(album), on_progress=lambda *step: steps.append(step))
    folder = workspace.build / "predictions" / name / "album"
    assert predictions.folder == folder and steps == [(2, 2)] and predictions.others == ("notes.txt",)
    assert [(entry.name, entry.size) for entry in predictions.pictures] == [("deeper/hall 2", (100, 150)), ("größe", (32, 48))]
    depth = cv2.imread(str(folder / "depth" / "deeper" / "hall 2.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and np.array_equal(depth, millimetres(answers(workspace, name, album / "deeper" / "hall 2.jpg")))
    assert cv2.imread(str(folder / "pictures" / "größe.png")).shape[1] > 3 * 320
    assert set(np.unique(cv2.imread(str(folder / "classes" / "größe.png"), cv2.IMREAD_UNCHANGED))) <= set(range(6))
    record = json.loads((folder / "predictions.json").read_text())
    assert record["complete"] and record["checkpoint"] == hub(workspace).get(name).checkpoint.sha256
    # Once more, in metres: the earlier files are gone.
    predict(workspace, name, str(album), depth_format="npy", pictures=False)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "classes/deeper/hall 2.png", "classes/größe.png", "depth/deeper/hall 2.npy", "depth/größe.npy", "predictions.json",
    ]  # fmt: skip
    assert np.allclose(np.load(folder / "depth" / "größe.npy"), answers(workspace, name, album / "größe.png"), atol=1e-6)


def test_what_cannot_be_read_is_named_and_the_rest_is_predicted(
    workspace: Workspace, album: Path, make_version: Callable[..., str], tmp_path: Path
) -> None:
    name = make_version()
    os.mkfifo(album / "pipe.jpg")
    (album / "torn.png").write_bytes((album / "größe.png").read_bytes()[:-20])
    with pytest.raises(VortexError, match=r"2 of 4 pictures of .*album could not be read; the other 2 are predicted in") as caught:
        predict(workspace, name, str(album), out=tmp_path / "out", pictures=False)
    assert any("pipe.jpg: cannot be read (a named pipe is not a file)" in line for line in caught.value.details)
    assert any("torn.png" in line for line in caught.value.details)
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["unreadable"] == list(caught.value.details)
    assert len(list((tmp_path / "out" / "depth").rglob("*.png"))) == 2


def test_nothing_of_the_users_is_replaced(workspace: Workspace, album: Path, make_version: Callable[..., str], tmp_path: Path) -> None:
    name, before = make_version(), sorted(path.name for path in album.rglob("*"))
    for out in (album, album / "notes.txt"):
        with pytest.raises(VortexError, match="holds something other than predictions of"):
            predict(workspace, name, str(album), out=out)
    assert sorted(path.name for path in album.rglob("*")) == before
    predict(workspace, name, str(album / "größe.png"), out=tmp_path / "out")
    with pytest.raises(VortexError, match="holds something other than predictions of"):
        predict(workspace, name, str(album), out=tmp_path / "out")
    (album / "größe.JPG").write_bytes((album / "deeper" / "hall 2.jpg").read_bytes())
    with pytest.raises(VortexError, match=r"1 name\(s\) belong to several pictures: größe.JPG and größe.png"):
        predict(workspace, name, str(album))


def test_what_was_killed_is_taken_up(
    workspace: Workspace, album: Path, make_version: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = make_version(), tmp_path / "out"
    out.mkdir()
    (out / ".predictions.json.00000000.staging").write_text('{"version"')  # at the very first write
    assert predict(workspace, name, str(album), out=out, pictures=False).complete
    assert sorted(path.name for path in out.iterdir()) == ["classes", "depth", "predictions.json"]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipelines.predict.run.shutil.rmtree", killed)
        predict(workspace, name, str(album), out=out, pictures=False)
    record = json.loads((out / "predictions.json").read_text())
    assert not record["complete"] and record["pictures"] == [], "it names no file that may be gone"
    assert predict(workspace, name, str(album), out=out, pictures=False).complete
    (out / "notes.txt").write_text("mine")
    (out / "predictions.json").rename(out / ".predictions.json.00000000.staging")
    with pytest.raises(VortexError, match="holds something other than predictions of"):
        predict(workspace, name, str(album), out=out)


def test_predictions_within_the_folder_are_no_pictures_of_it(workspace: Workspace, album: Path, make_version: Callable[..., str]) -> None:
    name = make_version()
    (album / ".cache").mkdir()
    (album / ".cache" / "hidden.png").write_bytes(b"no picture")
    for _ in range(2):
        assert len(predict(workspace, name, str(album), out=album / "predicted").pictures) == 2
    assert source_of(workspace, str(album)).others == ("notes.txt",)


def test_a_dataset_is_read_by_its_splits(workspace: Workspace, small_set: Path, make_version: Callable[..., str]) -> None:
    source = source_of(workspace, str(small_set.parent), "val", every=4)
    assert (source.kind, source.name, source.count) == ("dataset", "small", 2)
    predictions = predict(workspace, make_version(), str(small_set), split="val", every=4)
    assert [entry.name for entry in predictions.pictures] == ["rooms-003", "rooms-007"]


def test_a_video_is_numbered(workspace: Workspace, make_version: Callable[..., str], tmp_path: Path) -> None:
    film = cv2.VideoWriter(str(tmp_path / "walk.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (96, 64))
    for number in range(5):
        film.write(np.full((64, 96, 3), 40 * number, np.uint8))
    film.release()
    predictions = predict(workspace, make_version(), str(tmp_path / "walk.avi"), every=2)
    assert [entry.name for entry in predictions.pictures] == ["000000", "000002", "000004"]
    (tmp_path / "torn.mp4").write_bytes((tmp_path / "walk.avi").read_bytes()[:300])
    with pytest.raises(VortexError, match=r"torn.mp4: (cannot be opened as a video|no picture of it can be decoded)"):
        predict(workspace, "v10", str(tmp_path / "torn.mp4"))
    assert not (workspace.build / "predictions" / "v10" / "torn").exists()


def test_what_is_no_source_is_said(workspace: Workspace, small_set: Path, make_version: Callable[..., str], tmp_path: Path) -> None:
    name = make_version()
    (tmp_path / "empty").mkdir()
    for text, options, message in (
        ("nowhere.png", {}, "nowhere.png is no picture, folder, video or dataset; this workspace has the datasets: none yet"),
        ("/dev/zero", {}, "a device is not a file"),
        (str(tmp_path / "empty"), {}, "none of its 0 files is a PNG or JPEG"),
        (str(small_set), {"split": "test"}, "has no frames of split 'test'"),
    ):
        with pytest.raises(VortexError, match=message):
            predict(workspace, name, text, **options)
    with pytest.raises(UsageError, match="the source is empty"):
        predict(workspace, name, " ")
    for options, message in (({"depth_format": "exr"}, "unknown format 'exr'"), ({"runtime": "trt"}, "unknown runtime 'trt'")):
        with pytest.raises(UsageError, match=message):
            predict(workspace, name, str(small_set), **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"--split val, but .*empty is no dataset"):
        predict(workspace, name, str(tmp_path / "empty"), split="val")


def test_the_export_answers_where_it_is_whole_and_alike(
    workspace: Workspace, album: Path, make_version: Callable[..., str], tmp_path: Path
) -> None:
    import dataclasses

    name = make_version()
    assert "has no ONNX export" in predict(workspace, name, str(album)).remark
    exported = export(workspace, name)  # on noise, for no frames are in data/: that says nothing
    assert predict(workspace, name, str(album)).runtime == "torch"
    with pytest.raises(VortexError, match="is not known to answer as its network"):
        predict(workspace, name, str(album), runtime="onnx")
    registry = hub(workspace)
    registry.add_export(name, dataclasses.replace(exported, parity_on="rooms", detail={"parity_domain": "rooms"}), actor="test")
    predictions = predict(workspace, name, str(album), depth_format="npy", pictures=False)
    assert (predictions.runtime, predictions.remark) == ("onnx", "")
    metres = np.load(predictions.folder / "depth" / "größe.npy")
    assert np.abs(metres - answers(workspace, name, album / "größe.png")).max() < 1e-4
    path = registry.artifacts.path(exported.artifact)
    path.write_bytes(path.read_bytes() + b"0")
    assert "not what was registered" in predict(workspace, name, str(album)).remark


def test_flipping_averages_the_mirror_image() -> None:
    from pipelines.predict.runtimes import Answers

    def columns(rgb: np.ndarray) -> Answers:
        left = rgb[..., 0].astype(np.float32)
        left[..., 0] += 8  # an answer that is wrong at the left border of whatever it sees
        return Answers(left, left[:, None])

    picture = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    expected = picture[..., 0] + np.float32(4)
    assert np.array_equal(flipped(columns)(picture).depth, expected) and np.array_equal(flipped(columns)(picture).logits[:, 0], expected)
