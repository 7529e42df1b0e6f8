"""The loop, a swap under frames, and a camera that stops: with real ONNX models."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from vortex_jetson.engines.engine import OnnxEngine
from vortex_jetson.errors import DiskFull, RobotError, UsageError
from vortex_jetson.live.runtime import Current, Follower, Output, Summary, into_folder, put_out, work
from vortex_jetson.live.sources import CameraStopped, Frame, folder, newest
from vortex_jetson.perception.perception import UNTAUGHT, Perception, Seen

from tests.unit.jetson.models import METRES, WIDTH, picture, truth
from tests.unit.jetson.versions import CLASSES, SIZE, frames, perception


def into(summary: Summary, *outputs: Output) -> Output:
    """Gives answers to `outputs` and counts them."""
    return lambda frame, seen: put_out(frame, seen, outputs, summary)


def test_a_frame_is_the_students_depth_classes_and_confidence() -> None:
    rgb = picture(0)
    metres, classes = truth(rgb)
    seen = perception("v9").see(rgb)
    np.testing.assert_allclose(seen.depth[1:], metres[1:] / 1000, atol=1e-3)
    np.testing.assert_array_equal(seen.classes[:, 1:], classes[:, 1:])
    assert seen.reason.startswith("no ToF pixel") and 0 < seen.confidence.max() <= 127
    tof = np.where(np.arange(WIDTH) < 8, seen.depth * np.float32(1.5), np.float32(0))
    fused = perception("v9").see(rgb, tof)
    assert fused.scale == pytest.approx(1.5) and fused.reason == ""
    np.testing.assert_allclose(fused.depth, seen.depth * 1.5, rtol=1e-5)
    assert (fused.confidence[:, :8] == 255).all() and (fused.confidence[:, 8:] <= 127).all()


def test_larger_pictures_are_shrunk_and_smaller_ones_are_named() -> None:
    large = np.repeat(np.repeat(picture(0), 3, axis=0), 2, axis=1)
    seen = perception("v9").see(large, np.full(large.shape[:2], 2.0, np.float32))
    np.testing.assert_allclose(seen.depth, perception("v9").see(picture(0), np.full(SIZE, 2.0, np.float32)).depth)
    with pytest.raises(RobotError, match="frame tiny: a picture of 6x8 is smaller than the student's 12x16"):
        work([Frame("tiny", 0.0, np.zeros((6, 8, 3), np.uint8))], Current(perception("v9")), into(Summary()))


def test_classes_that_were_never_taught_are_not_spoken_of() -> None:
    seen = perception("v9", trained=("wall", "glass")).see(picture(0))
    assert set(np.unique(seen.classes)) <= {1, 2}
    none = perception("v9", trained=()).see(picture(0))
    assert (none.classes == UNTAUGHT).all() and (none.confidence == 127).all()


def test_a_swap_is_between_two_frames_and_late_for_none() -> None:
    answers: list[tuple[str, float]] = []
    current, switched = Current(perception("v9")), threading.Event()

    def key() -> str:
        return "v10" if switched.is_set() else "v9"

    def note(frame: Frame, seen: Seen) -> None:
        ratio = float(np.median(seen.depth / (picture(int(frame.name) % 3).astype(np.float32).mean(2) / 255 * METRES)))
        answers.append((seen.version, ratio))
        if len(answers) == 8:
            switched.set()

    told: list[str] = []
    summary = Summary()
    with Follower(current, key, lambda: perception("v10", "half"), told.append, every_s=0.01):
        work(frames(30, 1 / 60), current, into(summary, note))
    assert [version for version, _ in answers] == ["v9"] * summary.frames["v9"] + ["v10"] * summary.frames["v10"]
    assert summary.frames["v9"] >= 8 and summary.frames["v10"] >= 10 and told == ["v10 is at work"]
    for version, ratio in answers:  # no frame has the one's name and the other's depth
        assert ratio == pytest.approx(1.0 if version == "v9" else 0.5, rel=1e-3)


def test_a_version_that_does_not_load_leaves_the_one_at_work() -> None:
    current, told = Current(perception("v9")), list[str]()
    keys = iter(["a", "b"])

    def broken() -> Perception:
        return Perception("v10", OnnxEngine(b"no model", "v10.onnx"), SIZE, CLASSES, CLASSES)

    with Follower(current, lambda: next(keys, "b"), broken, told.append, every_s=0.01):
        deadline = time.monotonic() + 5
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    assert current().version == "v9"
    assert len(told) == 1 and told[0].startswith("v9 goes on: v10.onnx: does not load, for it is no ONNX file")


def test_a_state_that_cannot_be_read_for_a_while_does_not_end_the_following() -> None:
    current, keys, told = Current(perception("v9")), iter(["a", "full", "b"]), list[str]()

    def key() -> str:
        if (name := next(keys, "b")) == "full":
            raise RobotError("state.json cannot be read")
        return name

    with Follower(current, key, lambda: perception("v10"), told.append, every_s=0.01):
        deadline = time.monotonic() + 5
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
    assert (current().version, told) == ("v10", ["v10 is at work"])


def test_a_camera_that_stops_is_said_and_a_slow_reader_skips() -> None:
    def camera() -> Iterator[Frame]:
        yield from frames(20, 0.005)
        time.sleep(0.5)

    names = []
    with pytest.raises(CameraStopped, match=r"no frame for 0\.2 s"):
        for frame in newest(camera(), silent_s=0.2):
            names.append(frame.name)
            time.sleep(0.03)
    assert names == sorted(set(names)) and names[-1] == "019" and len(names) < 15

    def unplugged() -> Iterator[Frame]:
        yield from frames(1)
        raise CameraStopped("camera 0 gives no more frames")

    with pytest.raises(CameraStopped, match="camera 0 gives no more frames"):
        list(newest(unplugged()))
    assert [frame.name for frame in newest(frames(1))] == ["000"]


def test_a_camera_may_take_its_time_to_start_but_not_for_ever() -> None:
    def slow() -> Iterator[Frame]:
        time.sleep(0.1)
        yield from frames(1)

    assert [frame.name for frame in newest(slow(), silent_s=0.02, first_s=5)] == ["000"]
    with pytest.raises(CameraStopped, match=r"no frame for 0\.02 s"):
        list(newest(slow(), silent_s=5, first_s=0.02))


def test_a_frame_that_stands_where_the_students_lie_is_told() -> None:
    summary, blank = Summary(), np.zeros((12, 16), np.uint8)
    seen = Seen("v9", np.zeros((12, 16), np.float32), blank, blank, 1.0, "")
    for shape in ((24, 32, 3), (16, 16, 3), (32, 24, 3), (64, 48, 3)):
        summary.add(Frame(str(shape[0]), 0.0, np.zeros(shape, np.uint8)), seen)
    assert summary.turned == "frame 32 is 32x24 and the student's 12x16: turn the camera or the video"


def write_frames(path: Path, count: int = 2) -> None:
    path.mkdir()
    for number in range(count):
        np.save(path / f"{number:03}.rgb.npy", picture(number))
        np.save(path / f"{number:03}.depth.npy", truth(picture(number))[0])


def test_why_a_scale_was_assumed_is_counted_by_kind_in_the_words_of_the_first() -> None:
    summary, blank = Summary(), np.zeros((1, 1), np.uint8)
    for reason in ("all 40 ToF pixels say 1.205 m; 1 is assumed", "all 38 ToF pixels say 1.310 m; 1 is assumed", "none came", ""):
        summary.add(Frame("000", 0.0, blank), Seen("v9", np.zeros((1, 1), np.float32), blank, blank, 1.0, reason))
    assert summary.reasons == {"all 40 ToF pixels say 1.205 m": 2, "none came": 1}


def test_frames_go_from_folder_to_folder(tmp_path: Path) -> None:
    write_frames(tmp_path / "in")
    summary = Summary()
    work(folder(tmp_path / "in"), Current(perception("v9", "half")), into(summary, into_folder(tmp_path / "out")))
    assert summary.frames == {"v9": 2} and summary.percentile(0.5) > 0 and not summary.reasons
    metres, classes = truth(picture(1))
    np.testing.assert_allclose(np.load(tmp_path / "out/001.depth.npy")[1:], metres[1:], atol=1)
    np.testing.assert_array_equal(np.load(tmp_path / "out/001.classes.npy")[:, 1:], classes[:, 1:])
    assert (np.load(tmp_path / "out/001.confidence.npy")[1:] == 255).all()


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("000.rgb.npy", np.zeros((12, 16), np.uint8), "is no array of 3 dimensions"),
        ("000.rgb.npy", np.zeros((12, 16, 3), np.float32), r"frame 000: a picture is float32 \(12, 16, 3\), allowed: uint8"),
        ("000.depth.npy", np.zeros((12, 16), np.float32), r"frame 000: depth is float32 \(12, 16\), allowed: uint16"),
        ("000.confidence.npy", np.zeros((6, 8), np.uint8), r"frame 000: confidence is uint8 \(6, 8\), allowed: uint8 of depth's shape"),
        ("000.depth.npy", np.array([[{}]], object), "is no array of 2 dimensions"),
    ],
)
def test_frames_of_another_kind_are_named(tmp_path: Path, name: str, array: NDArray[np.generic], words: str) -> None:
    write_frames(tmp_path / "in")
    np.save(tmp_path / "in" / name, array, allow_pickle=True)
    with pytest.raises(RobotError, match=words):
        list(folder(tmp_path / "in"))
    with pytest.raises(UsageError, match="holds no frames"):
        list(folder(tmp_path))


def test_a_folder_of_pictures_is_taken_and_depth_among_them_is_never_colour(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV is an extra")
    for number in range(2):
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), picture(number)[..., ::-1])
    first, second = folder(tmp_path)
    assert (first.name, second.name, first.tof) == ("0", "1", None)
    np.testing.assert_array_equal(second.rgb, picture(1))
    assert cv2.imwrite(str(tmp_path / "0.depth.png"), np.full((12, 16), 2000, np.uint16))
    with pytest.raises(RobotError, match=r"0\.depth\.png: is uint16 and no picture of colour"):
        list(folder(tmp_path))


@pytest.mark.parametrize("shape", ["(4000, 4000, 3000000)", "(12, 16, 3)", "(-12, -16, 3)"])
def test_an_array_that_its_file_does_not_hold_takes_no_memory(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    (tmp_path / "000.rgb.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"few")
    with pytest.raises(RobotError, match=r"000\.rgb\.npy: is no array of 3 dimensions .*, 3 are there"):
        list(folder(tmp_path))


def test_an_answer_that_the_disk_does_not_take_is_not_there_by_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: bytes) -> None:
        os.write(descriptor, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    seen = perception("v9").see(picture(0))
    monkeypatch.setattr("vortex_jetson.files.write_all", full)
    with pytest.raises(DiskFull, match=r"000\.depth\.npy: no space is left on the disk"):
        into_folder(tmp_path / "out")(Frame("000", 0.0, picture(0)), seen)
    assert not list((tmp_path / "out").iterdir())


def test_the_likeliest_class_is_argmax_and_its_confidence_softmax() -> None:
    logits = np.random.default_rng(0).integers(-3, 4, (6, *SIZE)).astype(np.float32)  # many ties: the first one counts
    shares = np.exp(logits) / np.exp(logits).sum(0)

    class Answers:
        def run(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return np.ones(SIZE, np.float32), logits

    seen = Perception("v9", Answers(), SIZE, CLASSES, CLASSES).see(picture(0))
    np.testing.assert_array_equal(seen.classes, logits.argmax(0))
    np.testing.assert_allclose(seen.confidence, shares.max(0) * 127, atol=0.51)
    some = Perception("v9", Answers(), SIZE, CLASSES, ("person", "glass")).see(picture(0))
    np.testing.assert_array_equal(some.classes, np.where(logits[3] > logits[2], 3, 2))
