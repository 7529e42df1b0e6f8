"""What a stop, a failing teacher or a full disk leaves of a labelling run, and that the number of workers changes nothing."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import GateRefused, Interrupted, VortexError
from core.files import locked
from models.teachers.contract import DepthMap, View
from pipelines.label.answers import usable_depth
from pipelines.label.run import LabelReport, label
from pipelines.label.work import unfinished
from pipelines.workspace import Workspace
from tests.unit.pipelines.label_teachers import REFERENCE, SIZE, Depth, content, frames, install, rows

ROOT = Path(__file__).parents[4]
ALL = ("da3", "yolo", "sam2", "geometric")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def set_(**settings: Any) -> dict[str, dict[str, Any]]:
    """The same settings for every teacher that is named: `da3=("bad", "how")`."""
    return {name: {"bad": bad, "how": how} for name, (bad, how) in settings.items()}


BAD = [
    ("nan", "1 of 768 pixels of its depth are not finite"),
    ("inf", "1 of 768 pixels of its depth are not finite"),
    ("negative", "64 of 768 pixels of its depth are negative"),
    ("zero", "its depth is 0 everywhere"),
    ("shape", "its depth is float32 (23, 32), wanted: floats (24, 32)"),
    ("whole numbers", "its depth is int32 (24, 32), wanted: floats (24, 32)"),
    ("unit", "its depth is in 'relative', declared: 'm'"),
]


@pytest.mark.parametrize(("how", "reason"), BAD)
def test_depth_that_is_none_is_refused_with_the_reason(how: str, reason: str) -> None:
    view = View("f1", np.full((*SIZE, 3), 90, np.uint8))
    with pytest.raises(ValueError) as caught:
        usable_depth(Depth("da3", {"bad": "f1", "how": how}).depth(view), "m", SIZE)
    assert str(caught.value) == reason
    assert usable_depth(DepthMap(np.ones(SIZE, np.float64), "m"), "m", SIZE).dtype == np.float32


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("far", "no pixel of its depth is between 1 mm and 65.534 m"),
        ("bug", "KeyError: 'who knows'"),
    ],
)
def test_a_frame_that_a_teacher_fails_on_is_put_aside(workspace: Workspace, how: str, reason: str) -> None:
    frames(workspace, count=3)
    report = label(workspace, "place", ALL, settings=set_(da3=("f1", how)))
    assert report.quarantined == {"f1": [f"no depth: da3: {reason}", "no segmentation: da3: gave no depth to see structure in"]}
    found = rows(workspace)
    assert found["f1"].teacher_depth is None and found["f1"].segmentation is None and found["f1"].provenance is None
    assert found["f0"].teacher_depth and found["f2"].segmentation and (report.depth, report.segmentation) == (2, 2)
    assert report.quarantine and json.loads(report.quarantine.read_text())["f1"][0]["reason"] == reason


def test_a_quarantined_frame_is_left_alone_until_it_is_asked_for_again(workspace: Workspace) -> None:
    frames(workspace, **REFERENCE)
    report = label(workspace, "place", ALL, settings={"sam2": {"bad": "f1", "how": "shape"}})
    assert "masks are bool (1, 23, 32)" in report.quarantined["f1"][0] and len(report.quarantined["f1"]) == 1
    row = rows(workspace)["f1"]  # its depth is good, and it keeps it
    assert row.teacher_depth and row.segmentation is None and row.supervision == "none"
    before = content(workspace)
    again = label(workspace, "place", ALL)
    assert (again.changed, again.kept.same, again.kept.quarantined) == (False, 5, 1) and content(workspace) == before
    mended = label(workspace, "place", ALL, relabel=True)
    assert (mended.depth, mended.segmentation, mended.quarantined) == (0, 1, {})
    assert rows(workspace)["f1"].supervision == "partial" and label(workspace, "place", ALL).kept.same == 6


def test_too_many_failures_publish_nothing_and_are_tried_again(workspace: Workspace, tmp_path: Path) -> None:
    frames(workspace)
    before = content(workspace)
    with pytest.raises(GateRefused, match=r"2 of 6 frames could not be labelled, allowed: 1") as caught:
        label(workspace, "place", ["da2", "yolo", "sam2"], settings={"yolo": {"bad": "all", "how": "raise"}})
    assert "f0: no segmentation: yolo: teacher yolo: it is too dark" in caught.value.details and content(workspace) == before
    with pytest.raises(GateRefused, match="none of the 6 frames"):
        label(workspace, "place", ["da3"], settings=set_(da3=("all", "nan")), max_quarantine=1)
    with pytest.raises(GateRefused, match="allowed: 0"):
        label(workspace, "place", ["da3"], settings=set_(da3=("f2", "nan")), max_quarantine=0)
    assert content(workspace) == before
    log = tmp_path / "log"
    assert label(workspace, "place", ["da3"], settings={"da3": {"log": str(log)}}, resume=True).depth == 6
    assert len(log.read_text().splitlines()) == 4  # f0 and f1 were done
    (workspace.data / "place" / "rgb" / "3.png").write_bytes(b"no picture")
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "data"], cwd=workspace.root, check=True)
    report = label(workspace, "place", ["yolo", "sam2"])
    assert list(report.quarantined) == ["f3"] and "the frame's files" in report.quarantined["f3"][0]


def test_a_stop_keeps_what_is_done_and_names_the_command(workspace: Workspace, tmp_path: Path) -> None:
    frames(workspace)
    frames(workspace, "whole")
    label(workspace, "whole", ALL)
    before, log = content(workspace), tmp_path / "log"
    settings = {"da3": {"bad": "f3", "how": "interrupt", "log": str(log), "sure": True}}
    with pytest.raises(Interrupted) as caught:
        label(workspace, "place", ALL, settings=settings, limit=6)
    assert content(workspace) == before
    words = shlex.split(caught.value.hint)
    assert words[:5] == ["vortex", "label", "place", "--teachers", "da3,yolo,sam2,geometric"] and words[-1] == "--resume"
    assert words[-3:-1] == ["--set", "da3.sure=true"] and "da3.bad=f3" in words
    said: list[str] = []
    report = label(
        workspace, "place", ALL, settings={"da3": {"log": str(log)}}, resume=True, on_plan=lambda plan: said.extend(plan.lines())
    )
    assert said[-1] == "4 of 6 frames are done: the run continues" and report.depth == 6
    assert sorted(log.read_text().split()[1::2]) == [f"f{number}" for number in range(6)]
    same = {at: found for at, found in content(workspace).items() if at not in ("data.dvc", "dataset.json") and "provenance" not in at}
    assert same.items() <= content(workspace, "whole").items()


def test_resume_insists_on_work_of_these_teachers(workspace: Workspace) -> None:
    frames(workspace)
    with pytest.raises(VortexError, match="nothing of place to resume"):
        label(workspace, "place", ALL, resume=True)
    with pytest.raises(Interrupted):
        label(workspace, "place", ["da3"], settings=set_(da3=("f1", "interrupt")))
    (left,) = unfinished(workspace, "place")
    with pytest.raises(VortexError, match=f"unfinished work with other teachers, settings or content: {left}"):
        label(workspace, "place", ["da2"], resume=True)
    mark = next((workspace.build / "label" / f"place-{left}" / "frames").iterdir())
    mark.write_text("{")  # damaged: the frame is done again
    assert label(workspace, "place", ["da3"], resume=True).depth == 6


def test_what_is_refused_before_a_frame_is_touched(workspace: Workspace, tmp_path: Path) -> None:
    frames(workspace)
    with locked(workspace.build / "label" / "place.lock"), pytest.raises(VortexError, match="another `vortex label place` is running"):
        label(workspace, "place", ["da3"])
    picture = workspace.data / "place" / "rgb" / "0.png"
    whole = picture.read_bytes()
    picture.write_bytes(b"changed behind DVC's back")
    with pytest.raises(VortexError, match="holds changes that are in no version") as caught:
        label(workspace, "place", ["da3"])
    assert "dvc checkout data.dvc" in caught.value.hint and caught.value.details == ("place/rgb/0.png: changed",)
    picture.write_bytes(whole)
    before = content(workspace)

    def meddle(_: object) -> None:
        picture.write_bytes(b"changed while the teachers were at work")

    with pytest.raises(VortexError, match="was changed while it was being labelled; nothing was published"):
        label(workspace, "place", ["yolo", "sam2"], on_plan=meddle, max_quarantine=1)
    picture.write_bytes(whole)
    assert content(workspace) == before
    assert label(workspace, "place", ["da3"]).depth == 6


def _mounted(workspace: Workspace, tmp_path: Path, mount: str) -> subprocess.CompletedProcess[str]:
    """Label in a mount namespace of its own, where `mount` was done first ({0} is the build folder)."""
    mount = mount.format(shlex.quote(str(workspace.build)), shlex.quote(str(workspace.root)))
    tried = subprocess.run(["unshare", "--map-root-user", "--mount", "sh", "-c", mount], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount can be made here: {tried.stderr.strip()}")
    script = (
        "import sys; from pathlib import Path; from pipelines.workspace import load; from pipelines.label.run import label\n"
        "from models.teachers import TEACHERS; from tests.unit.pipelines.label_teachers import TINY; TEACHERS.update(TINY)\n"
        "from core.errors import VortexError\n"
        "try: label(load(Path(sys.argv[1])), 'place', ['da3', 'geometric'])\n"
        "except VortexError as error: print(error.message)"
    )
    words = shlex.join([sys.executable, "-c", script, str(workspace.root)])
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount} && {words}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_a_read_only_workspace_and_a_full_disk_end_in_one_line(workspace: Workspace, tmp_path: Path) -> None:
    frames(workspace)
    before = content(workspace)
    result = _mounted(workspace, tmp_path, "mount --bind {1} {1} && mount -o remount,bind,ro {1}")
    assert "cannot be written (Read-only file system)" in result.stdout, result.stderr
    # 48 kB: room for a few frames, but not for all of them.
    (workspace.build / "label").mkdir(exist_ok=True)
    result = _mounted(workspace, tmp_path, "mount -t tmpfs -o size=48k tmpfs {0}/label")
    assert "no space left on the disk" in result.stdout, result.stderr
    assert content(workspace) == before
    assert label(workspace, "place", ["da3", "geometric"]).depth == 6


def test_workers_give_the_same_bytes_and_a_frame_that_ends_them_is_put_aside(workspace: Workspace) -> None:
    for name in ("place", "deadly"):
        frames(workspace, name)
    assert label(workspace, "place", ALL).depth == 6
    report: LabelReport = label(workspace, "deadly", ALL, workers=2, settings=set_(geometric=("f2", "die")))
    assert report.quarantined == {
        "f2": [f"no {what}: the teachers: ended the process that worked on it 2 times" for what in ("depth", "segmentation")]
    }
    alone, shared = content(workspace), content(workspace, "deadly")
    labels = {at: found for at, found in alone.items() if at.split("/")[0] in ("teacher", "segmentation", "sources") and "f2" not in at}
    assert len(labels) == 15 and labels.items() <= shared.items() and not any("/f2" in at for at in shared)
