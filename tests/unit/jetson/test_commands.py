"""`run`, `calibrate` and `nav2-params` as their user types them, on a device that has pulled a version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from vortex_jetson.cli import main
from vortex_jetson.update import device as devices
from vortex_jetson.update.device import Device

from tests.unit.jetson.models import HEIGHT, METRES, WIDTH, picture, truth


@pytest.fixture
def at_work(pulled: Path, tmp_path: Path) -> Device:
    """A copy of it that a test may change."""
    shutil.copytree(pulled, tmp_path / "device", symlinks=True)
    return devices.load(tmp_path / "device")


def frames(path: Path, count: int, grey: int | None = None) -> Path:
    """Frames of a picture, or of a wall of one grey with a little noise; ToF in the first kind alone."""
    path.mkdir()
    for number in range(count):
        rgb = picture(number)
        if grey is not None:
            rgb = (np.full((HEIGHT, WIDTH, 3), grey) + np.random.default_rng(number).integers(-1, 2, (HEIGHT, WIDTH, 3))).astype(np.uint8)
        else:
            np.save(path / f"{number:03}.depth.npy", truth(rgb)[0])
        np.save(path / f"{number:03}.rgb.npy", rgb)
    return path


def test_run_answers_a_folder(at_work: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state", str(at_work.folder)]
    assert main(["run", *state, "--source", str(frames(tmp_path / "in", 3)), "--out", str(tmp_path / "out"), "--frames", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 frames by v8" and "ms a frame, p99" in lines[1]
    np.testing.assert_allclose(np.load(tmp_path / "out/001.depth.npy")[1:], truth(picture(1))[0][1:], atol=1)
    assert not (tmp_path / "out/002.depth.npy").exists()


def test_run_says_why_there_was_no_scale(at_work: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--state", str(at_work.folder), "--json", "--source", str(frames(tmp_path / "in", 2, grey=100))]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["frames"] == {"v8": 2} and document["p99_ms"] > 0
    assert document["assumed_scale"] == {"no ToF pixel has confidence 0.5 or more": 2}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere", "nowhere: is no file, folder or camera"),
        ("camera:front", "camera:front: is no camera"),
        ("camera:99999999999999999999", "camera:99999999999999999999: is no camera"),
        ("camera:\u0663", "camera:\u0663: is no camera"),
        ("ros", "rclpy is not installed here"),
    ],
)
def test_run_refuses_what_is_no_source(at_work: Device, source: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--state", str(at_work.folder), "--source", source]) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith(f"error: {words}") and error[1].startswith("  ")


def test_answers_are_not_written_over_the_frames(at_work: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = frames(tmp_path / "in", 1)
    before = (source / "000.depth.npy").read_bytes()
    (tmp_path / "link").symlink_to(source)
    for out in (source, tmp_path / "in/../in", tmp_path / "link"):
        assert main(["run", "--state", str(at_work.folder), "--source", str(source), "--out", str(out)]) == 2
        assert capsys.readouterr().err.startswith(f"error: --out {out} is the folder of the frames, whose depth would be written over\n")
    assert (source / "000.depth.npy").read_bytes() == before and len(list(source.iterdir())) == 2


def test_a_run_that_answered_no_frame_leaves_nothing(at_work: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    assert main(["run", "--state", str(at_work.folder), "--source", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    assert "holds no frames" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recording_of_no_frame_is_none(at_work: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mcap", reason="mcap is an extra")
    (tmp_path / "in").mkdir()
    assert main(["run", "--state", str(at_work.folder), "--source", str(tmp_path / "in"), "--record", str(tmp_path / "run.mcap")]) == 2
    assert "holds no frames" in capsys.readouterr().err
    assert not (tmp_path / "run.mcap").exists()


@pytest.mark.parametrize("words", [["--confidence", "tof/sure"], ["--depth-frame", "tof"], ["--rectified"], ["--ros", "-r", "a:=b"]])
def test_options_of_ros_are_of_ros_alone(at_work: Device, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--state", str(at_work.folder), "--source", str(tmp_path), *words]) == 2
    assert capsys.readouterr().err.startswith(f"error: {words[0]} is of --source ros, and the source is {tmp_path}\n")


@pytest.mark.parametrize("command", ["run", "calibrate"])
def test_frames_are_counted_from_one(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for count in ("0", "-1", "x"):
        with pytest.raises(SystemExit) as error:
            main([command, "--source", str(tmp_path), "--frames", count])
        assert error.value.code == 2 and f"--frames: '{count}' is no whole number of 1 and more" in capsys.readouterr().err


def test_a_device_that_runs_nothing_says_what_to_do(device: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["run", "--source", str(tmp_path)], ["nav2-params"], ["calibrate", "--undo"]):
        assert main([*words, "--state", str(device.folder)]) == 2
        assert capsys.readouterr().err == "error: nothing runs on this device\n  pull first: vortex-jetson pull\n"


def test_calibrate_scales_the_next_run_until_it_is_undone(at_work: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state, wall = ["--state", str(at_work.folder)], frames(tmp_path / "wall", 6, grey=102)  # the student sees it at 2 m
    assert main(["calibrate", *state, "--distance", "2.5", "--source", str(wall)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("v8 is scaled by 1.25 where there is no ToF\nfrom 6 frames: off by ")
    main(["run", *state, "--source", str(wall), "--out", str(tmp_path / "scaled")])
    assert np.load(tmp_path / "scaled/000.depth.npy").mean() == pytest.approx(2500, abs=10)
    assert main(["calibrate", *state, "--undo"]) == 0
    assert capsys.readouterr().out.endswith("v8 is scaled by 1 again where there is no ToF\n")
    main(["run", *state, "--source", str(wall), "--out", str(tmp_path / "plain")])
    assert np.load(tmp_path / "plain/000.depth.npy").mean() == pytest.approx(2000, abs=10)
    capsys.readouterr()
    assert main(["calibrate", *state, "--undo"]) == 1
    assert capsys.readouterr().err.startswith("error: v8 was not calibrated on this device")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["--distance", "2"], 2, "a calibration needs --distance and --source"),
        (["--distance", "2", "--frames", "4"], 3, "4 frames, 5 are needed"),
        (["--distance", "20"], 3, "a distance of 20 m, allowed: 0.3 to 8 m"),
        (["--distance", "2", "--camera", "1,2"], 2, "--camera '1,2': not enough values"),
        (["--distance", "2", "--camera", "600,600,320,240"], 2, "--camera '600,600,320,240': the principal point (320, 240) lies outside"),
    ],
)
def test_a_calibration_that_means_nothing_changes_nothing(
    at_work: Device, tmp_path: Path, words: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if len(words) > 2 or words[1] == "20":
        words = [*words, "--source", str(frames(tmp_path / "wall", 6, grey=102))]
    assert main(["calibrate", "--state", str(at_work.folder), *words]) == code
    assert capsys.readouterr().err.startswith(f"error: {error}")
    assert not (at_work.folder / "calibration.json").exists()


def test_nav2_params_are_those_of_the_version_that_runs(at_work: Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state", str(at_work.folder)]
    assert main(["nav2-params", *state]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# Costmap layers for the classes of v8") and "inflation_radius: 0.5" in text
    assert main(["nav2-params", *state, "--out", str(tmp_path / "costmap.yaml")]) == 0
    assert (tmp_path / "costmap.yaml").read_text() == text
    capsys.readouterr()
    assert main(["nav2-params", *state, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": "v8", "parameters": text}
    assert METRES == 5.0  # the rule that the greys above rest on
