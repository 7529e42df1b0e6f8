"""Films are whole or absent, play in a browser, and show what they say."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import UsageError, VortexError
from pipelines.predict.six_panels import film_version
from pipelines.report import film as films
from pipelines.report.film import film, usual_suffix
from pipelines.report.pictures import NO_DEPTH, Picture
from pipelines.workspace import Workspace
from tests.unit.pipelines.conftest import add_tof

SIZE = (64, 96)
SHADES = (40, 90, 140, 190)
PAGE = """<!doctype html><video muted preload="auto" src="{name}"></video><p id="state">waiting</p><script>
const video = document.querySelector("video"), state = document.querySelector("#state");
video.onloadeddata = () => {{ state.textContent = "readyState " + video.readyState + ", " + video.videoWidth + "x" + video.videoHeight; }};
video.onerror = () => {{ state.textContent = "error " + video.error.message; }};
</script>"""


def grey(shade: int) -> Picture:
    return np.full((*SIZE, 3), shade, np.uint8)


def frames_of(path: Path) -> list[Picture]:
    """Its frames, in RGB."""
    reader, frames = cv2.VideoCapture(str(path)), []
    while (answer := reader.read())[0]:
        frames.append(cv2.cvtColor(answer[1], cv2.COLOR_BGR2RGB))
    return frames


def shoot(path: Path) -> list[Picture]:
    with film(path, SIZE, 12.5) as add:
        for shade in SHADES:
            add(grey(shade))
    return frames_of(path)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_film_has_the_pictures_that_were_put_into_it(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the extra `video` is not installed")
    frames = shoot(tmp_path / f"walk{suffix}")
    assert [round(float(frame.mean()) / 10) for frame in frames] == [shade // 10 for shade in SHADES]
    assert frames[0].shape == (*SIZE, 3) and cv2.VideoCapture(str(tmp_path / f"walk{suffix}")).get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)


def test_without_pyav_it_is_a_webm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "find_spec", lambda name: None)
    assert usual_suffix() == ".webm" and len(shoot(tmp_path / "walk.webm")) == len(SHADES)
    assert [path.name for path in tmp_path.iterdir()] == ["walk.webm"]
    with pytest.raises(VortexError, match=r"H\.264 needs PyAV"), film(tmp_path / "walk.mp4", SIZE, 10):
        pass


@pytest.mark.parametrize("pyav", [True, False])
def test_a_film_that_breaks_off_leaves_the_earlier_one(pyav: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not pyav:
        monkeypatch.setattr(films, "find_spec", lambda name: None)
    path = tmp_path / f"walk{usual_suffix()}"
    path.write_bytes(b"the earlier one")
    with pytest.raises(KeyboardInterrupt), film(path, SIZE, 10) as add:
        add(grey(80))
        raise KeyboardInterrupt
    assert path.read_bytes() == b"the earlier one" and [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_other_endings_are_refused_before_anything_is_filmed(tmp_path: Path) -> None:
    for name in ("walk.gif", "walk", "walk.mov"):
        with pytest.raises(UsageError, match=r"a film ends in \.mp4 \(H\.264\) or \.webm \(VP8\)"), film(tmp_path / name, SIZE, 10):
            pass
    assert not list(tmp_path.iterdir())


def test_the_six_panels_show_what_their_headings_say(
    workspace: Workspace, small_set: Path, make_version: Callable[..., str], tmp_path: Path
) -> None:
    add_tof(small_set)
    name, steps = make_version(), []
    movie = film_version(
        workspace, name, str(small_set), path=tmp_path / f"six{usual_suffix()}", on_progress=lambda *step: steps.append(step)
    )
    assert (movie.frames, movie.split, movie.runtime, steps[-1]) == (6, "val", "torch", (6, 6))
    frames = frames_of(movie.path)
    assert len(frames) == 6 and frames[0].shape == (*movie.size, 3)
    cell = (round(320 * 64 / 96), 320)
    panels = [frames[0][top : top + cell[0], left : left + cell[1]] for top in (32, 32 + cell[0] + 28) for left in (24, 24 + 326, 24 + 652)]
    left_half, right_half = np.s_[20:-20, 60:140], np.s_[20:-20, 180:300]
    assert np.abs(panels[1][right_half].astype(int) - NO_DEPTH).max() < 24  # what is not confident is not shown as raw ToF
    assert np.abs(panels[2][right_half].astype(int) - panels[4][right_half]).mean() < 4  # there the fusion is the scaled reference
    assert np.abs(panels[1][left_half].astype(int) - panels[5][left_half]).mean() < 4  # and here the ToF


def test_frames_of_another_split_and_none_at_all(
    workspace: Workspace, small_set: Path, make_version: Callable[..., str], tmp_path: Path
) -> None:
    name = make_version()
    assert film_version(workspace, name, str(small_set), path=tmp_path / "a.webm", split="train", every=2).frames == 1
    with pytest.raises(VortexError, match="outside:small has no frames of split 'test', it has: gap, train, val"):
        film_version(workspace, name, str(small_set), split="test")


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_browser_plays_it(suffix: str, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: whether a browser plays films was not tried")
    if suffix == ".mp4":
        pytest.importorskip("av", reason="the extra `video` is not installed")
    shoot(tmp_path / f"walk{suffix}")
    (tmp_path / "page.html").write_text(PAGE.format(name=f"walk{suffix}"))
    call = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=8000",
        "--dump-dom",
    ]
    page = subprocess.run([*call, (tmp_path / "page.html").as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
    assert any(f"readyState {state}, 96x64" in page for state in (2, 3, 4)), page
