from __future__ import annotations

import resource
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from vortex_jetson.errors import RobotError, UsageError
from vortex_jetson.live.recording import Recording, image_cdr, millimetres
from vortex_jetson.live.runtime import Current, Spared, work
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception.perception import Seen

from tests.unit.jetson.models import HEIGHT, WIDTH, picture
from tests.unit.jetson.versions import frames, perception

reader = pytest.importorskip("mcap.reader", reason="mcap is an extra")


def test_an_image_is_aligned_as_ros_reads_it() -> None:
    data = image_cdr(3_000_000_007, "16UC1", np.array([[1, 2, 3]], np.uint16))
    assert data[:4] == b"\0\1\0\0"
    assert struct.unpack_from("<iII7s", data, 4) == (3, 7, 7, b"camera\0")
    assert struct.unpack_from("<IIIB", data, 24) == (1, 3, 6, ord("1"))  # height, width, and the encoding after its length
    assert data[36:42] == b"16UC1\0" and data[42] == 0
    assert struct.unpack_from("<II3H", data, 44) == (6, 6, 1, 2, 3)  # step, bytes, and the pixels
    assert len(data) == 58


def test_a_recording_holds_what_was_seen_and_by_which_version(tmp_path: Path) -> None:
    path, current = tmp_path / "run.mcap", Current(perception("v9"))
    recording = Recording(path)
    work(frames(2), current, recording.add)
    current.swap(perception("v10", "half"))
    tof = np.full((HEIGHT, WIDTH), 2.5, np.float32)
    tof[0, 0] = 2.6
    work([Frame("last", 0.0, picture(0), tof)], current, recording.add)
    recording.close()
    with path.open("rb") as stream:
        messages = [(channel.topic, message.data) for _, channel, message in reader.make_reader(stream).iter_messages(log_time_order=False)]
    topics = [topic for topic, _ in messages]
    assert {topic: topics.count(topic) for topic in sorted(set(topics))} == {
        "/color/image_raw": 3, "/depth_registered/image_raw": 1, "/vortex/confidence": 3, "/vortex/depth": 3, "/vortex/mask": 3,
        "/vortex/version": 2,
    }  # fmt: skip
    assert [data[8:-1].decode() for topic, data in messages if topic == "/vortex/version"] == ["v9", "v10"]
    depth = next(data for topic, data in messages if topic == "/vortex/depth")
    np.testing.assert_array_equal(
        np.frombuffer(depth[-2 * HEIGHT * WIDTH :], np.uint16).reshape(HEIGHT, WIDTH),
        millimetres(perception("v9").see(picture(0)).depth),
    )


@pytest.mark.parametrize("room", [1000, 700_000])
def test_a_disk_that_takes_no_more_is_told_in_words(tmp_path: Path, room: int) -> None:
    """Also where the stream still has something to write when it is closed, after the error."""
    noise = np.random.default_rng(0)
    pictures = [Frame(str(n), 0.0, noise.integers(0, 256, (240, 320, 3), np.uint8)) for n in range(12)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    recording = Recording(tmp_path / "run.mcap")
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(RobotError, match=r"run\.mcap: cannot be written \(File too large\)"), closing(recording):
            work(pictures, Current(perception("v9")), recording.add)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "run.mcap").stat().st_size <= room


def test_a_robot_at_work_goes_on_where_its_recording_cannot(tmp_path: Path) -> None:
    noise, told, answered = np.random.default_rng(0), [], []
    pictures = [Frame(str(n), 0.0, noise.integers(0, 256, (240, 320, 3), np.uint8)) for n in range(12)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    recording = Recording(tmp_path / "run.mcap")
    spared = Spared(recording.add, told.append)

    def output(frame: Frame, seen: Seen) -> None:
        spared(frame, seen)
        answered.append(frame.name)

    resource.setrlimit(resource.RLIMIT_FSIZE, (700_000, hard))
    try:
        with closing(recording):
            work(pictures, Current(perception("v9")), output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert answered == [str(n) for n in range(12)]
    assert told == [f"{tmp_path / 'run.mcap'}: cannot be written (File too large); the run goes on without it"]
    assert spared.failed


def test_in_a_folder_every_run_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.gmtime", lambda: (1970, 1, 1, 0, 0, 7, 3, 1, 0))  # a clock that every boot sets back
    for _ in range(3):
        with closing(Recording(tmp_path)) as recording:
            work(frames(1), Current(perception("v9")), recording.add)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1970-01-01T00-00-07Z-2.mcap", "1970-01-01T00-00-07Z-3.mcap", "1970-01-01T00-00-07Z.mcap",
    ]  # fmt: skip


def test_a_file_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "run.mcap").write_text("mine")
    with pytest.raises(UsageError, match=r"run\.mcap: is there already"):
        Recording(tmp_path / "run.mcap")
    assert (tmp_path / "run.mcap").read_text() == "mine"


def test_far_and_unknown_depth_has_its_millimetres() -> None:
    assert millimetres(np.array([0.0, 0.0004, 1.2345, 65.534, 70.0, np.inf], np.float32)).tolist() == [0, 0, 1234, 65534, 65534, 65534]
