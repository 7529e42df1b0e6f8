from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.pinhole import Pinhole
from models.teachers import da3, make
from models.teachers.contract import TeacherError, View
from models.teachers.da3 import DepthAnything3, DepthAnything3Settings, metric
from tests.unit.models import da3_loaders
from tests.unit.models.tiny_teachers import picture

LOADERS = Path(da3_loaders.__file__)
CAMERA = Pinhole(100.0, 110.0, 63.5, 47.5, (96, 128))


def write_weights(folder: Path, name: str = "da3metric-large") -> Path:
    """A folder as the published model has it; what is in the file matters to the loaders of tests alone."""
    from safetensors.numpy import save_file

    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_name": name}))
    save_file({"x": np.zeros(1, np.float32)}, folder / "model.safetensors")
    return folder


def view(mood: int = 0, camera: Pinhole | None = CAMERA, name: str = "f1") -> View:
    rgb = picture((96, 128))
    rgb[0, 0] = mood
    return View(name, rgb, camera)


@pytest.fixture
def started(tmp_path: Path) -> Iterator:
    """Make a teacher whose process loads one of da3_loaders' models; all are ended afterwards."""
    made: list[DepthAnything3] = []

    def start(loader: str, **settings: object) -> DepthAnything3:
        values = {"python": sys.executable, "weights": str(write_weights(tmp_path / "weights")), "device": "cpu", "process_res": 112}
        teacher = DepthAnything3(DepthAnything3Settings(**{**values, **settings}), loader=f"{LOADERS}:{loader}")  # type: ignore[arg-type]
        made.append(teacher)
        return teacher

    yield start
    for teacher in made:
        teacher.close()


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process that may belong to anybody has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_metres_use_the_focal_length_of_the_picture_that_the_network_saw(started) -> None:
    # 128 -> 112 pixels: the focal lengths shrink by 7/8, and 84 rows of 96 are the same factor.
    depth = started("flat").depth(view())
    assert depth.unit == "m" and depth.depth.shape == (96, 128) and depth.depth.dtype == np.float32
    np.testing.assert_allclose(depth.depth, 2.0 * (100 + 110) / 2 * 112 / 128 / 300, rtol=1e-6)


def test_640_pixels_shown_as_504_are_not_overscaled() -> None:
    native = Pinhole(518.86, 519.47, 325.58, 253.74, (480, 640))
    metres = metric(np.ones((378, 504), np.float32), native)
    assert metres[0, 0] == pytest.approx((518.86 + 519.47) / 2 * 0.7875 / 300, rel=1e-6)
    assert (518.86 + 519.47) / 2 / 300 / metres[0, 0] == pytest.approx(1.27, abs=0.001)


def test_chatter_on_standard_output_leaves_the_protocol_alone(started) -> None:
    teacher = started("moody")
    first, second = teacher.depth(view()), teacher.depth(view())
    assert first.depth.tobytes() == second.depth.tobytes() and np.ptp(first.depth) > 0.1
    pid = teacher.process.pid
    assert teacher.depth(view(name="other")).depth.tobytes() == first.depth.tobytes() and teacher.process.pid == pid
    assert started("moody", seed=1).depth(view()).depth.tobytes() != first.depth.tobytes()


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        (da3_loaders.NAN, "1 of 9408 pixels are not finite"),
        (da3_loaders.RAISE, "RuntimeError: out of memory, or so it says"),
        (da3_loaders.WRONG_SHAPE, "wanted (1, h, w)"),
    ],
)
def test_one_bad_frame_is_an_error_that_names_it_and_the_process_lives_on(started, mood: int, says: str) -> None:
    teacher = started("moody")
    teacher.depth(view())
    pid = teacher.process.pid
    with pytest.raises(TeacherError) as caught:
        teacher.depth(view(mood, name="frame-7"))
    assert "frame-7" in caught.value.message and says in caught.value.message and "\n" not in caught.value.message
    assert np.isfinite(teacher.depth(view()).depth).all() and teacher.process.pid == pid


@pytest.mark.parametrize(
    ("mood", "says"),
    [(da3_loaders.CRASH, "ended by signal 11; its last line: about to crash"), (da3_loaders.EXIT, "ended with exit code 7")],
)
def test_a_crash_is_told_with_its_last_words_and_the_next_frame_starts_a_new_process(started, mood: int, says: str) -> None:
    teacher = started("moody")
    before = teacher.depth(view())
    pid = teacher.process.pid
    with pytest.raises(TeacherError, match="frame f1") as caught:
        teacher.depth(view(mood))
    assert says in caught.value.message
    after = teacher.depth(view())
    assert teacher.process.pid != pid and gone(pid) and after.depth.tobytes() == before.depth.tobytes()


def test_a_process_that_keeps_crashing_is_given_up(started) -> None:
    teacher = started("moody", restarts=1)
    for _ in range(2):
        with pytest.raises(TeacherError, match="ended with exit code 7"):
            teacher.depth(view(da3_loaders.EXIT))
    with pytest.raises(TeacherError, match="failed 2 times in a row and is not started again"):
        teacher.depth(view())


def test_an_answer_between_two_crashes_starts_the_count_again(started) -> None:
    teacher = started("moody", restarts=1)
    for _ in range(3):
        with pytest.raises(TeacherError, match="exit code 7"):
            teacher.depth(view(da3_loaders.EXIT))
        teacher.depth(view())


def test_silence_is_ended_by_the_clock(started) -> None:
    teacher = started("moody", answer_seconds=2.5)
    teacher.depth(view())
    pid = teacher.process.pid
    with pytest.raises(TeacherError, match=r"gave no answer in 2\.5 s"):
        teacher.depth(view(da3_loaders.HANG))
    assert gone(pid)
    with pytest.raises(TeacherError, match=r"gave no answer in 0\.5 s"):
        started("endless", start_seconds=0.5).depth(view())


def test_a_model_that_cannot_be_loaded_says_so(started) -> None:
    with pytest.raises(TeacherError, match=r"could not load its model: ValueError: size mismatch for head\.weight"):
        started("broken").depth(view())


def test_a_worker_that_talks_nonsense_is_ended(tmp_path: Path) -> None:
    from models.teachers.isolated import Isolated

    for reply, says in [
        ("hello", "broke the protocol"),
        ('{"v": 2, "ready": true}', "not a message of version 1"),
        ('{"v": 1}', "did not say that it is ready"),
        ('{"v": 1, "ready": true}\\n{"v": 1, "id": 1, "shape": [1000000, 1000000]}', "of shape"),
        ('{"v": 1, "ready": true}\\n{"v": 1, "id": 9, "shape": [1, 1]}', "to question 1"),
        ('{"v": 1, "ready": true}\\n{"v": 1, "id": 1, "shape": [4, 4]}', "ended with exit code 0"),
    ]:
        script = f"import sys; sys.stdout.write('{reply}\\n'); sys.stdout.flush(); sys.stdin.buffer.readline()"
        if "exit code" not in says:
            script += "; import time; time.sleep(60)"
        process = Isolated("da3", [sys.executable, "-c", script], {}, start_seconds=20, answer_seconds=20, restarts=0)
        with pytest.raises(TeacherError, match=says):
            process.ask("frame f", {"shape": [1]}, b"x\n")
        process.close()


@pytest.mark.parametrize("busy", [False, True])
def test_no_process_outlives_a_killed_parent(tmp_path: Path, busy: bool) -> None:
    script = f"""
import sys, threading
from tests.unit.models.test_teachers_da3 import *
teacher = DepthAnything3(DepthAnything3Settings(python=sys.executable, weights={str(write_weights(tmp_path / "w"))!r}, process_res=112),
                         loader="{LOADERS}:moody")
teacher.depth(view())
print(teacher.process.pid, flush=True)
teacher.depth(view(da3_loaders.HANG)) if {busy} else time.sleep(600)
"""
    root = Path(__file__).parents[3]
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.3 if busy else 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


def test_closing_ends_the_process_and_asking_again_starts_one(started) -> None:
    teacher = started("flat")
    teacher.depth(view())
    pid = teacher.process.pid
    teacher.close()
    teacher.close()
    assert gone(pid) and teacher.process.pid is None
    teacher.depth(view())
    assert teacher.process.pid not in (None, pid)


def test_a_network_with_random_numbers_in_it_gives_the_same_depth_in_any_order(started) -> None:
    teacher = started("convolution")
    one, other = view(), View("f2", picture((96, 128), seed=3), CAMERA)
    forwards = [teacher.depth(frame).depth.tobytes() for frame in (one, other)]
    assert [teacher.depth(frame).depth.tobytes() for frame in (other, one)] == forwards[::-1]


def test_what_cannot_be_asked_is_refused_before_a_process_starts(started) -> None:
    teacher = started("flat")
    with pytest.raises(TeacherError, match="no camera"):
        teacher.depth(view(camera=None))
    with pytest.raises(TeacherError, match="wanted uint8"):
        teacher.depth(View("f", np.zeros((4, 4), np.uint8), CAMERA))
    assert teacher.process.pid is None


def test_checkpoints_without_metres_are_refused(tmp_path: Path) -> None:
    for name in ("da3-large", "da3mono-large", ""):
        with pytest.raises(TeacherError, match="not in metres"):
            make("da3", {"weights": str(write_weights(tmp_path / "w", name)), "python": sys.executable})


def test_without_its_environment_the_error_gives_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = str(write_weights(tmp_path / "w"))
    monkeypatch.delenv(da3.PYTHON_VARIABLE, raising=False)
    monkeypatch.setattr(da3, "PROJECT", tmp_path)
    with pytest.raises(TeacherError) as caught:
        make("da3", {"weights": weights})
    assert "uv sync --project" in caught.value.hint
    # This very environment has no depth-anything-3: describing what would be made says so.
    with pytest.raises(TeacherError, match="does not have the package depth-anything-3"):
        make("da3", {"weights": weights, "python": sys.executable}).describe()


def test_describe_holds_what_decides_the_output(started) -> None:
    teacher = started("flat")
    described = teacher.describe()
    assert json.loads(json.dumps(described)) == described and described["unit"] == "m"
    assert teacher.process.pid is None
    assert started("flat", seed=1).describe() != described and started("flat", answer_seconds=3.0).describe() == described


def test_settings_out_of_range_are_reported_together() -> None:
    with pytest.raises(TeacherError, match="process_res = 500") as caught:
        make("da3", {"process_res": 500, "restarts": -1})
    assert "restarts = -1" in caught.value.details[0]


def environment() -> str:
    """The interpreter of the teacher's own environment, or a skip that says how to make it."""
    python = Path(os.environ.get(da3.PYTHON_VARIABLE, "") or da3.PROJECT / ".venv" / "bin" / "python")
    if not python.exists():
        pytest.skip(f"Depth Anything 3 itself is not run: no {python}; make it with: uv sync --project {da3.PROJECT} --compile-bytecode")
    return str(python)


def test_depth_anything_3_itself_on_random_weights(started) -> None:
    python = environment()
    teacher = started("depth_anything", python=python, start_seconds=240.0)
    first = teacher.depth(view())
    assert first.depth.shape == (96, 128) and np.isfinite(first.depth).all() and first.depth.min() > 0 and np.ptp(first.depth) > 0
    teacher.depth(View("between", picture((60, 130), seed=2), CAMERA.scaled((60, 130))))
    assert teacher.depth(view()).depth.tobytes() == first.depth.tobytes()
    twice = Pinhole(200.0, 220.0, 63.5, 47.5, (96, 128))
    np.testing.assert_allclose(teacher.depth(view(camera=twice)).depth, 2 * first.depth, rtol=1e-5)
    assert "depth-anything-3 0.1.1" in str(teacher.describe()["library"])


def test_depth_anything_3_with_a_tensor_missing_is_refused(started) -> None:
    teacher = started("depth_anything_cut", python=environment(), start_seconds=240.0)
    with pytest.raises(TeacherError, match=r"1 of the network's tensors are not in model\.safetensors"):
        teacher.depth(view())
