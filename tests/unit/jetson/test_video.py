"""Real video files, written here by PyAV, and cameras that are not there."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from vortex_jetson.cli import main
from vortex_jetson.errors import RobotError, UsageError
from vortex_jetson.live import sources

av = pytest.importorskip("av", reason="videos are written with PyAV, which the robot has no need of")
pytest.importorskip("cv2", reason="videos are read with OpenCV, the extra `camera`")
COUNT = 40


def video(path: Path, size: tuple[int, int] = (48, 64), **options: str) -> Path:
    """A video of COUNT frames, each brighter than the one before; mp4 with its index in front."""
    height, width = size
    with av.open(str(path), "w", options={"movflags": "faststart", **options}) as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(COUNT):
            picture = np.full((height, width, 3), 20 + 5 * number, np.uint8)
            picture[:, : width // 2] += np.random.default_rng(number).integers(0, 30, (height, width // 2, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


def rotated(path: Path, source: Path) -> Path:
    """The same video, said to be turned by 90°: the matrix of its track's header."""
    content = bytearray(source.read_bytes())
    place = content.index(b"tkhd") + 44
    content[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(content)
    return path


def test_a_video_runs_and_its_depth_follows_its_pictures(pulled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--state", str(pulled), "--source", str(video(tmp_path / "hall.mp4")), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{COUNT} frames by v8" and "turn the camera" not in lines[-1]
    depths = [float(np.load(path)[:, 10:].mean()) for path in sorted((tmp_path / "out").glob("*.depth.npy"))]
    # Depth is brightness times 5 m; what mpeg4 loses is some grey levels.
    assert depths == pytest.approx([(20 + 5 * number) / 255 * 5000 for number in range(COUNT)], abs=80)


def test_a_video_that_is_turned_is_shown_upright_and_told(pulled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turned = rotated(tmp_path / "turned.mp4", video(tmp_path / "hall.mp4"))
    assert {frame.rgb.shape for frame in sources.video(turned)} == {(64, 48, 3)}
    assert main(["run", "--state", str(pulled), "--source", str(turned)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "frame 000000 is 64x48 and the student's 12x16: turn the camera or the video"


def test_a_video_that_is_too_small_or_broken_is_told_in_one_line(pulled: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: 2 * len(whole) // 3])
    (tmp_path / "words.mp4").write_bytes(b"no video" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    video(tmp_path / "tiny.mp4", (8, 16))
    expected = {
        "cut": "cut.mp4: breaks off after ",
        "words": "words.mp4: is no video that OpenCV can open",
        "empty": "empty.mp4: is no video that OpenCV can open",
        "tiny": "frame 000000: a picture of 8x16 is smaller than the student's 12x16",
    }
    for name, words in expected.items():
        assert main(["run", "--state", str(pulled), "--source", str(tmp_path / f"{name}.mp4")]) in (1, 2)
        error = capfd.readouterr().err.splitlines()
        assert words in error[0] and len(error) == 2, error
    with pytest.raises(RobotError, match=rf"breaks off after \d+ of its {COUNT} frames"):
        list(sources.video(tmp_path / "cut.mp4"))


def test_a_camera_that_is_not_there_is_told_in_one_line(pulled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--state", str(pulled), "--source", "camera:63"]) == 2
    assert capfd.readouterr().err.splitlines() == [
        "error: camera 63 cannot be opened: there is no /dev/video63",
        "  name a camera's number, as camera:0, and see ls /dev/video*",
    ]
    with pytest.raises(UsageError, match="camera 63 cannot be opened"):
        next(sources.newest(sources.camera(63)))
