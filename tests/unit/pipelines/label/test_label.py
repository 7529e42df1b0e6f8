"""`vortex label`: who labels what, what is kept, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import UsageError, VortexError
from pipelines.data import datasets
from pipelines.data.versioning import unversioned_changes
from pipelines.label.run import label
from pipelines.label.work import unfinished
from pipelines.workspace import Workspace, load
from registry.edges import TeacherEdge
from tests.unit.pipelines.label_teachers import REAL, REFERENCE, SIZE, TINY, TRUTH, content, frames, install, rows
from validation.decode import read_depth

ALL = ("da3", "yolo", "sam2", "geometric")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def test_frames_get_depth_masks_sources_and_a_record(workspace: Workspace) -> None:
    frames(workspace)
    before = datasets.resolve(workspace, name_or_manifest="place")
    said: list[str] = []
    done: list[tuple[int, int]] = []
    report = label(workspace, "place", ALL, on_plan=lambda plan: said.extend(plan.lines()), on_progress=lambda *count: done.append(count))
    assert said == [*(f"teacher {n}: {k}, weights tinytinytiny" for n, k in zip(ALL, ("Depth", "Boxer", "Masker", "Structure"), strict=True)),
                    "place: 6 of 6 frames to label (6 get depth and segmentation)"]  # fmt: skip
    assert done[-1] == (6, 6) and (report.changed, report.depth, report.segmentation, report.quarantined) == (True, 6, 6, {})
    row, key = rows(workspace)["f1"], report.key
    assert (row.teacher, row.teacher_unit, row.supervision) == ("da3", "mm", "partial")
    assert (row.segmentation_teacher, row.provenance) == ("yolo+sam2+geometric", f"provenance/{key}.json")
    root = workspace.data / "place"
    rgb = cv2.imread(str(root / row.rgb)).astype(np.float32)
    depth = read_depth(root / str(row.teacher_depth), "mm")
    assert np.abs(depth - (1 + rgb.mean(-1) / 50)).max() <= 0.0006
    mask, sources = (cv2.imread(str(root / str(path)), cv2.IMREAD_UNCHANGED) for path in (row.segmentation, row.segmentation_sources))
    inside = np.zeros(SIZE, bool)
    inside[6:12, 8:16] = True
    assert (mask[inside] == 4).all() and (sources[inside] == 2).all() and (sources[~inside] == 1).all()
    assert (mask[~inside] == np.where(depth < 3, 0, 1)[~inside]).all()
    record = json.loads((root / str(row.provenance)).read_text())
    assert record["dataset_digest"] == before.digest and record["teachers"]["yolo"]["weights_sha256"] == "tiny" * 16
    assert record["labels"] == {"depth": ["da3"], "segmentation": ["yolo", "sam2", "geometric"]} and record["depth_from"] == {"teacher": 6}
    after = datasets.find(workspace, "place").card
    assert after.segmentation == "partial" and after.settings["label_runs"][key]["segmentation"] == 6
    now = datasets.resolve(workspace, name_or_manifest="place")
    assert now.digest == report.digest != before.digest and now.dvc == report.dvc != before.dvc
    assert unversioned_changes(workspace) is False and unfinished(workspace, "place") == []


def test_a_second_run_changes_nothing_and_other_weights_replace_only_when_asked(workspace: Workspace) -> None:
    frames(workspace)
    first = label(workspace, "place", ALL)
    before = content(workspace)
    again = label(workspace, "place", ALL[::-1], resume=True)
    assert (again.changed, again.kept.same) == (False, 6) and content(workspace) == before
    other = {"da3": {"weights": "newx"}}
    with pytest.raises(VortexError, match="nothing for these teachers to label") as caught:
        label(workspace, "place", ["da3"], settings=other)
    assert "only --relabel replaces" in str(caught.value) and content(workspace) == before
    # The depth is replaced, the masks are kept, and so is the record of who made them.
    second = label(workspace, "place", ["da3"], settings=other, relabel=True)
    row = rows(workspace)["f0"]
    assert str(row.teacher_depth).startswith(f"teacher/{second.key}/") and str(row.segmentation).startswith(f"segmentation/{first.key}/")
    record = json.loads((workspace.data / "place" / str(row.provenance)).read_text())
    assert record["teachers"]["da3"]["weights_sha256"] == "newx" * 16 and list(record["earlier"]) == [first.key]
    assert not (workspace.data / "place" / "teacher" / first.key).exists()
    assert not (workspace.data / "place" / "provenance" / f"{first.key}.json").exists()
    assert label(workspace, "place", ["yolo", "sam2", "geometric"]).changed is False


def test_ground_truth_and_the_depth_of_others_stay(workspace: Workspace) -> None:
    frames(workspace, **TRUTH, teacher_depth="depth/{}.png", teacher="somebody", teacher_unit="mm")
    with pytest.raises(
        VortexError, match="6 frames have ground-truth masks, which no teacher replaces; 6 frames have the depth of somebody"
    ):
        label(workspace, "place", ALL)
    report = label(workspace, "place", ALL, relabel=True)
    assert (report.depth, report.segmentation, report.kept.truth) == (6, 0, 6)
    row = rows(workspace)["f3"]
    assert (row.teacher, row.segmentation, row.segmentation_teacher, row.supervision) == ("da3", "masks/3.png", None, "full")
    assert label(workspace, "place", ALL).changed is False


@pytest.mark.parametrize(
    ("teachers", "settings", "words"),
    [
        (["sam2"], {}, "sam2 needs boxes: add yolo"),
        (["yolo", "geometric"], {}, "nothing uses the boxes of yolo: add sam2"),
        (["da3", "da2"], {}, "da3 and da2 both give depth: one of them is allowed"),
        (["da4"], {}, "unknown teacher 'da4'"),
        (["da3", "da3"], {}, "da3 is named twice"),
        ([], {}, "no teacher is named"),
        (["da3"], {"yolo": {"conf": 1}}, "settings for yolo, which is not among the teachers"),
        (["da3"], {"yolo5": {"conf": 1}}, "settings for an unknown teacher 'yolo5'"),
    ],
)
def test_teachers_that_cannot_work_together(workspace: Workspace, teachers: list[str], settings: Any, words: str) -> None:
    frames(workspace)
    with pytest.raises(UsageError) as caught:
        label(workspace, "place", teachers, settings=settings)
    assert words in caught.value.message and "geometric" in caught.value.hint


def test_all_that_is_wrong_with_teachers_and_frames_is_said_at_once(workspace: Workspace) -> None:
    frames(workspace, intrinsics=None)
    with pytest.raises(VortexError) as caught:
        label(workspace, "place", ["da2", "geometric"])
    assert "geometric needs intrinsics, and 6 of 6 frames have none (f0, f1, f2, f3, f4, …)" in caught.value.message
    assert any("geometric needs depth in metres" in detail for detail in caught.value.details)
    with pytest.raises(VortexError, match="da3 needs intrinsics"):
        label(workspace, "place", ["da3"])
    with pytest.raises(VortexError, match="no weights"):
        label(workspace, "place", ["geometric"], settings={"geometric": {"how": "missing"}})
    with pytest.raises(VortexError, match="unknown dataset 'elsewhere'; this workspace has: place"):
        label(workspace, "elsewhere", ["da2"])
    with pytest.raises(UsageError, match="no share"):
        label(workspace, "place", ["da2"], max_quarantine=2)
    toml = workspace.root / "vortex.toml"
    toml.write_text(toml.read_text() + '\n[teachers.da33]\nweights = "x"\n')
    with pytest.raises(VortexError, match=r"\[teachers.da33\] is no teacher's table"):
        label(load(workspace.root), "place", ["da2"])
    assert not (workspace.build / "label").exists() or unfinished(workspace, "place") == []


def test_limits_and_splits(workspace: Workspace) -> None:
    frames(workspace)
    report = label(workspace, "place", ["da3"], limit=2, splits=["train"])
    assert [frame.id for frame in rows(workspace).values() if frame.teacher_depth] == ["f0", "f2"] and report.depth == 2
    assert label(workspace, "place", ["da3"], limit=2, splits=["train"]).changed is False
    assert label(workspace, "place", ["da3"]).depth == 4
    keys = {str(frame.teacher_depth).split("/")[1] for frame in rows(workspace).values()}
    assert len(keys) == 2 and set(datasets.find(workspace, "place").card.settings["label_runs"]) == keys


@pytest.mark.parametrize(
    ("row", "teachers", "source"),
    [
        (REFERENCE, ["da3", "geometric"], "reference"),
        ({"tof": "depth/{}.png", "tof_unit": "mm", "tof_confidence": "masks/{}.png"}, ["geometric"], "tof"),
        ({"tof": "depth/{}.png", "tof_unit": "mm"}, ["da3", "geometric"], "tof"),
        ({"teacher_depth": "depth/{}.png", "teacher": "x", "teacher_unit": "mm"}, ["geometric"], "teacher"),
    ],
)
def test_where_the_metres_come_from(workspace: Workspace, row: Any, teachers: list[str], source: str) -> None:
    frames(workspace, **row)
    report = label(workspace, "place", teachers)
    record = json.loads((workspace.data / "place" / "provenance" / f"{report.key}.json").read_text())
    assert record["depth_from"] == {source: 6}
    mask = cv2.imread(str(workspace.data / "place" / str(rows(workspace)["f1"].segmentation)), cv2.IMREAD_UNCHANGED)
    assert (mask == 0).all()  # ToF comes whole, also where its confidence is 5/255


def test_new_depth_makes_structure_be_seen_anew(workspace: Workspace) -> None:
    frames(workspace)
    label(workspace, "place", ["da3", "geometric"])
    report = label(workspace, "place", ["da3", "geometric"], settings={"da3": {"weights": "newx"}}, relabel=True)
    assert (report.depth, report.segmentation) == (6, 6)


def test_relative_depth_is_kept_as_floats_and_shows_no_structure(workspace: Workspace) -> None:
    frames(workspace)
    with pytest.raises(VortexError, match="geometric needs depth in metres"):
        label(workspace, "place", ["da2", "geometric"])
    label(workspace, "place", ["da2"])
    row = rows(workspace)["f2"]
    assert (row.teacher, row.teacher_unit) == ("da2", "relative") and str(row.teacher_depth).endswith(".npy")
    assert np.load(workspace.data / "place" / str(row.teacher_depth)).max() > 50


def test_a_version_names_the_teachers_with_their_weights_and_record(workspace: Workspace) -> None:
    from pipelines.hub.open import hub
    from pipelines.train.driver.registration import parents
    from tests.unit.pipelines.training_runs import planned

    frames(workspace, count=12)
    key = label(workspace, "place", ALL).key
    made = planned(workspace, recipe="v6", domain="rooms", encoder_weights="none", epochs=1, size=(64, 96), allow_unvalidated=True)
    found = [(edge.teacher, edge.labels) for edge in parents(made, "v6") if isinstance(edge, TeacherEdge)]
    assert found == [(name, f"place: weights tinytinytiny, record {key}") for name in ALL]
    assert hub(workspace).summaries() == []


def test_settings_of_teachers_in_the_workspace(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace.root / "weights").mkdir()
    toml = workspace.root / "vortex.toml"
    toml.write_text(toml.read_text() + '\n[teachers.da3]\nweights = "weights"\npython = "$VENV/python"\nseed = 3\nmode = "data"\n')
    found = load(workspace.root)
    with pytest.raises(VortexError, match=r"names \$VENV, which is not set"):
        found.teacher("da3")
    monkeypatch.setenv("VENV", "/opt/da3")
    assert found.teacher("da3") == {"weights": str(workspace.root / "weights"), "python": "/opt/da3/python", "seed": 3, "mode": "data"}
    assert found.teacher("yolo") == {}


def test_long_ids_have_files_too(workspace: Workspace) -> None:
    frames(workspace, count=2, id="é" * 190 + "{}")
    report = label(workspace, "place", ["da3", "geometric"])
    assert report.depth == 2 and len({row.teacher_depth for row in rows(workspace).values()}) == 2


def test_the_command_says_what_it_did_and_what_comes_next(workspace: Workspace) -> None:
    from vortex_cli.app import app

    frames(workspace)
    words = [
        "label",
        "place",
        "--teachers",
        "da3, yolo,sam2",
        "--workspace",
        str(workspace.root),
        "--set",
        "da3.bad=f1",
        "--set",
        "da3.how=nan",
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "put aside: f1: no depth: da3" in result.output and "vortex validate place" in result.output
    again = CliRunner().invoke(app, [*words[:6], "--json"])
    assert again.exit_code == 0 and json.loads(again.stdout)["kept"] == {"truth": 0, "same": 5, "quarantined": 1, "others": []}
    odd = CliRunner().invoke(app, [*words[:6], "--set", "da3"])
    assert isinstance(odd.exception, UsageError) and "TEACHER.KEY=VALUE" in odd.exception.message


def test_tiny_teachers_are_of_the_kinds_of_the_real_ones() -> None:
    assert {name: (kind.role, kind.unit) for name, kind in TINY.items()} == {name: (REAL[name].role, REAL[name].unit) for name in TINY}
