"""Two names side by side: what each stands for, what differs in making them, what can be compared, and what was forgotten."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import UsageError, VortexError
from pipelines.compare.pooled import METRICS
from pipelines.compare.side_by_side import compare
from pipelines.evaluate.version import evaluate
from pipelines.hub.open import hub
from pipelines.report.comparison_page import comparison_page
from pipelines.workspace import Workspace, load
from registry.events.version import VersionMeasured
from registry.records import Metrics
from tests.unit.pipelines.compare.lineage_registry import NYU, Published, measurement, register
from tests.unit.pipelines.conftest import write_frames


@pytest.fixture
def lineage(workspace: Workspace) -> Workspace:
    """The published lineage, V3 to V9."""
    for domain, kind in (("rooms", "room"), ("corridor", "corridor")):
        workspace.add_domain(domain, kind)
    register(workspace)
    return load(workspace.root)


def test_shipped_recipes_differ_in_what_makes_them_not_in_what_is_told_of_them(workspace: Workspace) -> None:
    comparison = compare(workspace, "v5", "v6")
    assert (comparison.a.source, comparison.b.source, comparison.measured) == ("recipe", "recipe", ())
    lines = {line.key: (line.a, line.b) for line in comparison.recipe}
    assert lines["parents.1.version"] == ("v4", "v5") and lines["stages.2.epochs"] == (None, 200)
    assert not {"codename", "summary", "lesson"} & set(lines)


def test_a_network_that_answered_nan_is_shown_as_that(workspace: Workspace, make_version: Callable[..., str]) -> None:
    a, b = make_version(), make_version(seed=1)
    for name, rmse in ((a, 0.5), (b, float("nan"))):
        hub(workspace).add_metrics(name, Metrics("rooms", "kinect", "val", "small", "0", {"rmse": rmse}, 6), actor="test")
    (measured,) = compare(workspace, a, b).measured
    (row,) = measured.rows
    assert row.a == 0.5 and row.b is not None and math.isnan(row.b) and row.change is None
    assert METRICS["rmse"].text(row.b) == METRICS["miou"].text(float("inf")) == "not finite"


def test_figures_meet_only_on_the_same_domain_camera_protocol_and_data(workspace: Workspace, make_version: Callable[..., str]) -> None:
    a, b = make_version(), make_version(seed=1)

    def measure(name: str, camera: str, rmse: float) -> None:
        metrics = Metrics("rooms", camera, "val", "small", "0", {"rmse": rmse, "log10": 0.1}, 6)
        hub(workspace).add_metrics(name, metrics, actor="test")

    measure(a, "kinect", 0.5)
    measure(b, "kinect", 0.4)
    measure(b, "d455", 0.3)
    comparison = compare(workspace, a, b)
    (measured,) = comparison.measured
    assert [(measured.camera, row.metric, row.a, row.b, row.change) for row in measured.rows] == [
        ("kinect", "rmse", 0.5, 0.4, pytest.approx(-0.1))
    ]
    assert [(line.version, line.camera, line.why) for line in comparison.unpaired] == [
        (b, "d455", f"{a} was measured otherwise: camera differs (d455 against kinect)")
    ]
    assert comparison.a.source == "version without recipe" and comparison.recipe == ()


def test_two_protocols_never_meet_and_the_refusal_says_which_they_are(lineage: Workspace) -> None:
    """The same student raw, aligned by the median and flipped at test time: three ids, no common table."""
    ids = ["val-pooled-10m/1", "val-pooled-10m/1+median", "val-pooled-10m/1+tta-flip"]
    newcomers = [Published(f"v{number}", None, [("nyu", "rooms", 1159)], {}) for number in (10, 11, 12)]
    register(lineage, newcomers)
    for number, protocol in zip((10, 11, 12), ids, strict=True):
        metrics = measurement(lineage, number, NYU, 0.5 - number / 100, protocol=protocol)
        hub(lineage).ledger.append(VersionMeasured(f"v{number}", metrics), actor="test")
    comparison = compare(lineage, "v10", "v11")
    assert comparison.measured == () and len(comparison.unpaired) == 2
    for a, b, other in (("v10", "v11", ids[1]), ("v10", "v12", ids[2])):
        with pytest.raises(VortexError, match=f"{a} and {b} have nothing on rooms that can be compared") as caught:
            compare(lineage, a, b, domain="rooms")
        assert f"protocol differs ({ids[0]} against {other})" in " ".join(caught.value.details)
        assert f"vortex evaluate {a} --domain rooms" in caught.value.hint


def test_versions_without_a_common_domain_say_what_each_has(lineage: Workspace) -> None:
    with pytest.raises(VortexError, match="v3 and v9 have nothing on corridor") as caught:
        compare(lineage, "v3", "v9", domain="corridor")
    assert caught.value.hint.endswith("vortex evaluate v3 --domain corridor")
    assert any("v9 on corridor · femto_bolt" in line and "v3 was not measured on corridor" in line for line in caught.value.details)
    with pytest.raises(VortexError, match="v1 is a recipe and was not measured on corridor"):
        compare(lineage, "v1", "v9", domain="corridor")


def test_what_a_specialist_forgot_is_said_of_each_domain_of_its_parent(lineage: Workspace) -> None:
    comparison = compare(lineage, "v7", "v9")
    records = {(record.version, record.parent, record.domain, record.metric): record for record in comparison.forgetting}
    of_v7 = records["v7", "v5", "rooms", "rmse"]
    assert of_v7.forgotten and of_v7.share == pytest.approx(1.315 / 0.572 - 1) and of_v7.verdict is not None
    assert records["v9", "v6", "rooms", "miou"].share == pytest.approx(0.316 / 0.485 - 1)
    # SUN RGB-D and DIODE are of a domain on which neither was measured: that is said, and not taken for remembered.
    unknown = records["v9", "v6", "indoor", "rmse"]
    assert not unknown.forgotten and "v9 was not measured there: vortex evaluate v9 --domain indoor" in unknown.unjudged
    assert compare(lineage, "v5", "v6").forgetting == ()


def test_ranges_and_classes_are_a_family_of_their_own(workspace: Workspace, tmp_path: Path, make_version: Callable[..., str]) -> None:
    good, bad = make_version(), make_version(shift=3.0)
    manifest = str(write_frames(tmp_path / "many", val=40, shuffled=True))
    for version in (good, bad):
        evaluate(workspace, version, data=manifest, allow_unvalidated=True)
    (measured,) = compare(workspace, good, bad).measured
    rmse, far, wall = (measured.row(metric) for metric in ("rmse", "rmse_far", "iou_wall"))
    assert rmse and far and wall and rmse.verdict and far.verdict and wall.verdict
    assert (rmse.verdict.word, rmse.verdict.comparisons, wall.verdict.direction) == ("worse", 1, "higher")
    assert rmse.verdict.a == pytest.approx(rmse.b, rel=1e-5) and rmse.verdict.difference == pytest.approx(rmse.change, rel=1e-4)
    parts = [row for row in measured.rows if row.verdict and row.metric != "rmse"]
    assert far.verdict.comparisons == len(parts) >= 3 and not measured.exam
    (measured,) = compare(workspace, bad, good, metrics=("rmse", "iou_wall"), margin=0.02).measured
    rmse, wall = (measured.row(metric) for metric in ("rmse", "iou_wall"))
    assert rmse and wall and rmse.verdict and wall.verdict
    assert (rmse.verdict.word, rmse.verdict.margin_share, rmse.verdict.comparisons, wall.verdict.comparisons) == ("better", 0.02, 2, 2)


def test_why_there_is_no_verdict_is_said(workspace: Workspace, make_version: Callable[..., str]) -> None:
    a, b = make_version(), make_version(seed=1)
    for version in (a, b):
        metrics = Metrics("rooms", "kinect", "val", "small", "0", {"rmse": 0.5, "mae": 0.4}, 6)
        hub(workspace).add_metrics(version, metrics, actor="test")
    (measured,) = compare(workspace, a, b).measured
    row = measured.row("rmse")
    assert row and (row.verdict, row.unjudged) == (None, f"{b} has no per-frame errors on small")
    with pytest.raises(UsageError, match="'silog' cannot be judged"):
        compare(workspace, a, b, metrics=("silog",))


def test_an_unknown_name_is_refused(workspace: Workspace) -> None:
    with pytest.raises(VortexError, match="v77"):
        compare(workspace, "v5", "v77")


def test_the_page_stands_alone_and_says_what_the_terminal_says(lineage: Workspace, tmp_path: Path) -> None:
    page = comparison_page(compare(lineage, "v6", "v9"), tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page and "url(" not in page and not re.findall(r'(?:src|href)="', page)
    assert "1.5530 m against 0.5190 m" in page and "+199.2 %" in page and "worse: forgotten" in page
    assert page.count("<svg") == 3 and 'aria-label="miou: worse, ' in page
    assert "camera differs (realsense_d455 against femto_bolt)" in page
