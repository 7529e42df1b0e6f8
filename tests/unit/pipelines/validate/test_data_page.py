"""The data gate's page: one file that opens anywhere, with the frames that speak against a set."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import VortexError
from pipelines.data import datasets
from pipelines.validate.data_page import data_page
from pipelines.validate.gate_run import validate
from pipelines.validate.validation_report import DataReport
from pipelines.workspace import Workspace, load
from tests.unit.validation.frame_sets import SIZE, FrameSet
from validation.checks import Check
from validation.manifest import write_manifest

PICTURE = re.compile(r'src="data:image/(?:png|jpeg);base64,([^"]+)"')


@pytest.fixture
def frames(workspace: Workspace, tmp_path: Path) -> FrameSet:
    """An honest set of domain `kitchen`."""
    workspace.add_domain("kitchen", "room")
    return FrameSet(tmp_path / "set").build()


def judged(ws: Workspace, frames: FrameSet, *, as_reference: bool = False) -> DataReport:
    write_manifest(frames.root / "manifest.jsonl", frames.frames)
    ws = load(ws.root)
    return validate(ws, datasets.resolve(ws, name_or_manifest=str(frames.root / "manifest.jsonl")), as_reference=as_reference)


def page_of(report: DataReport, tmp_path: Path) -> str:
    return data_page(report, tmp_path / "page.html").read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
    assert found, f"the page has no section of {name}"
    return found[0]


def stands_alone(page: str) -> bool:
    """No script, nothing fetched: every address is a picture inside the file or a place in it."""
    addresses = re.findall(r'(?:src|href|action|data)="([^"]*)"', page)
    return "<script" not in page and "url(" not in page and all(word.startswith(("data:image/", "#")) for word in addresses)


def test_a_refused_set_shows_each_failure_with_its_frames(workspace: Workspace, frames: FrameSet, tmp_path: Path) -> None:
    frames.scale_teacher(0.5, 3, 4)
    (frames.root / str(frames.frames[6].depth)).unlink()
    report = judged(workspace, frames)
    assert {check.name for check in report.failed} == {"files-present", "teacher-to-sensor"}
    page = page_of(report, tmp_path)
    assert stands_alone(page) and list(tmp_path.glob("page*")) == [tmp_path / "page.html"]
    assert ">refused<" in page
    wrong = section(page, "teacher-to-sensor")
    assert "kitchen-000003" in wrong and "kitchen-000004" in wrong and "kitchen-000005" not in wrong
    # colour, depth, ToF, teacher, classes of two frames
    assert len(PICTURE.findall(wrong)) == 10
    # the depth of this one is what is missing
    assert len(PICTURE.findall(section(page, "files-present"))) == 4
    for data in PICTURE.findall(page):
        shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and shown.shape == (150, 200, 3)
    places = [page.index(f">{name}<") for name in ("files-present", "teacher-to-sensor", "splits-present")]
    assert max(places[:2]) < places[2], "failures come first"


def test_a_waived_set_says_who_answers_for_it(workspace: Workspace, frames: FrameSet, tmp_path: Path) -> None:
    frames.write(str(frames.frames[2].rgb), np.zeros((*SIZE, 3), np.uint8))
    waiver = "{dataset: 'outside:set', check: exposure, reason: lens cap <on> purpose, owner: dana, expires: %s}"
    from datetime import timedelta

    from pipelines.validate.validation_report import today

    until = today() + timedelta(days=9)
    waivers = [waiver % until, (waiver % until).replace("exposure", "sharpness"), (waiver % until).replace("exposure", "tof-near")]
    (workspace.root / "waivers.yaml").write_text("".join(f"- {line}\n" for line in waivers))
    report = judged(workspace, frames)
    assert report.passed and {check.name for check in report.waived} == {"exposure", "sharpness"}
    page = page_of(report, tmp_path)
    assert ">passed<" in page and stands_alone(page)
    assert f"waived: lens cap &lt;on&gt; purpose (dana, until {until})" in page
    assert len(PICTURE.findall(section(page, "exposure"))) == 5
    table = page[page.index("<h2>Waivers") : page.index("<h2>What speaks")]
    assert table.count(">used<") == 2 and table.count(">unused<") == 1


def test_a_passed_set_has_no_pictures_and_drift_is_drawn_as_two_histograms(workspace: Workspace, frames: FrameSet, tmp_path: Path) -> None:
    report = judged(workspace, frames, as_reference=True)
    page = page_of(report, tmp_path)
    assert report.passed and ">passed<" in page and stands_alone(page)
    assert all(f">{check.name}<" in page for check in report.checks)
    assert not PICTURE.search(page) and "What speaks against it" not in page and "FAIL" not in page

    for frame in frames.frames:
        picture = cv2.imread(str(frames.root / frame.rgb))
        assert picture is not None
        frames.write(frame.rgb, (picture // 3).astype(np.uint8))
    report = judged(workspace, frames)
    assert "drift-brightness" in {check.name for check in report.failed}
    page = page_of(report, tmp_path)
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    drawn = [drift for drift in report.drift if drift.ours]
    assert len(plots) == len(drawn) >= 4
    for drift, plot in zip(drawn, plots, strict=True):
        assert drift.name in plot
        for shares, colour in ((drift.ours, "--ours"), (drift.theirs, "--theirs")):
            heights = re.findall(rf'height="([0-9.]+)" fill="var\({colour}\)"', plot)
            assert len(heights) == len(shares)
            assert np.corrcoef([float(height) for height in heights], shares)[0, 1] > 0.99
    assert stands_alone(page) and "depth depth" not in page


def test_hostile_text_stays_text(workspace: Workspace, frames: FrameSet, tmp_path: Path) -> None:
    hostile = "\"><script>alert('x')</script>{{7*7}}<img src=http://example.com/x>"
    report = judged(workspace, frames)
    check = replace(
        report.checks[0], passed=False, found=hostile, asked=hostile, frames=("kitchen-000003", hostile), reasons=(hostile, hostile)
    )
    page = page_of(replace(report, name=f"{hostile}\udcff", kind=hostile, checks=(check,), passed=False, unkept=hostile), tmp_path)
    assert stands_alone(page) and "<img src=http" not in page
    assert page.count("{{7*7}}") == page.count("&lt;script&gt;alert(")
    assert page.count("&lt;script&gt;alert(") >= 6
    assert len(PICTURE.findall(page)) == 5


def test_pictures_that_cannot_be_shown_do_not_end_the_page(workspace: Workspace, frames: FrameSet, tmp_path: Path) -> None:
    for number, role in enumerate(("rgb", "depth", "tof", "teacher_depth", "segmentation")):
        path = frames.root / getattr(frames.frames[number], role)
        path.write_bytes(path.read_bytes()[:60])
    report = judged(workspace, frames)
    assert "files-readable" in {check.name for check in report.failed}
    shown = section(page_of(report, tmp_path), "files-readable")
    assert all(f"kitchen-00000{number}" in shown for number in range(5))
    assert len(PICTURE.findall(shown)) == 5 * 4


def test_frames_that_are_gone_and_pictures_of_odd_shape(workspace: Workspace, frames: FrameSet, tmp_path: Path) -> None:
    frames.write(frames.frames[1].rgb, np.zeros((9000, 1, 3), np.uint8))
    frames.write(str(frames.frames[1].depth), np.zeros((1, 9000), np.uint16))
    report = judged(workspace, frames)
    check = Check("sizes-agree", "", "", False, ("kitchen-000001", "nobody"), ("odd", "gone"))
    page = page_of(replace(report, checks=(check,)), tmp_path)
    assert "no picture of it can be shown" in page
    for data in PICTURE.findall(page):
        shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert shown is not None and max(shown.shape) <= 320
    (tmp_path / "file").touch()
    with pytest.raises(VortexError, match="cannot be written"):
        data_page(report, tmp_path / "file" / "page.html")
