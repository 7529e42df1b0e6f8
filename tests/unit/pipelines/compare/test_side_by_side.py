"""Two names side by side: what each stands for, what differs in making them, and only what can be compared in one row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import UsageError, VortexError
from pipelines.compare.side_by_side import compare
from pipelines.evaluate.version import evaluate
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.records import Metrics
from tests.unit.pipelines.conftest import write_frames


def test_shipped_recipes_differ_in_what_makes_them_not_in_what_is_told_of_them(workspace: Workspace) -> None:
    found = compare(workspace, "v5", "v6")
    assert (found.a.source, found.b.source, found.metrics) == ("recipe", "recipe", ())
    lines = {line.key: (line.a, line.b) for line in found.recipe}
    assert lines["parents.1.version"] == ("v4", "v5") and lines["stages.2.epochs"] == (None, 200)
    assert not {"codename", "summary", "lesson"} & set(lines)


def test_metrics_meet_only_on_the_same_domain_camera_protocol_and_data(workspace: Workspace, make_version: Callable[..., str]) -> None:
    a, b = make_version(), make_version(seed=1)

    def measure(name: str, camera: str, rmse: float) -> None:
        metrics = Metrics("rooms", camera, "val", "small", "0", {"rmse": rmse, "log10": 0.1}, 6)
        hub(workspace).add_metrics(name, metrics, actor="test")

    measure(a, "kinect", 0.5)
    measure(b, "kinect", 0.4)
    measure(b, "d455", 0.3)
    found = compare(workspace, a, b)
    assert [(row.camera, row.metric, row.a, row.b) for row in found.metrics] == [("kinect", "rmse", 0.5, 0.4), ("d455", "rmse", None, 0.3)]
    assert [row.change for row in found.metrics] == [pytest.approx(-0.1), None]
    assert found.a.source == "version without recipe" and found.recipe == ()


def test_b_is_judged_where_both_kept_the_errors_of_the_same_frames(
    workspace: Workspace, tmp_path: Path, make_version: Callable[..., str]
) -> None:
    good, bad = make_version(), make_version(shift=3.0)
    manifest = str(write_frames(tmp_path / "many", val=40, shuffled=True))
    for version in (good, bad):
        evaluate(workspace, version, data=manifest, allow_unvalidated=True)
    result = compare(workspace, good, bad)
    (judgement,) = result.judgements
    verdict, row = judgement.verdict, result.metrics[0]
    assert (judgement.domain, judgement.camera, judgement.metric, judgement.unjudged) == ("rooms", "kinect", "rmse", "")
    assert verdict is not None and verdict.word == "worse" and verdict.a == pytest.approx(row.b, rel=1e-5)
    assert verdict.difference == pytest.approx(row.change, rel=1e-4)
    rmse, wall = (judged.verdict for judged in compare(workspace, bad, good, metrics=("rmse", "iou_wall"), margin=0.02).judgements)
    assert rmse is not None and wall is not None and rmse.word == "better" and rmse.margin_share == 0.02
    assert (rmse.comparisons, wall.direction) == (2, "higher")


def test_why_there_is_no_verdict_is_said(workspace: Workspace, make_version: Callable[..., str]) -> None:
    a, b = make_version(), make_version(seed=1)
    for version in (a, b):
        metrics = Metrics("rooms", "kinect", "val", "small", "0", {"rmse": 0.5, "mae": 0.4}, 6)
        hub(workspace).add_metrics(version, metrics, actor="test")
    (judgement,) = compare(workspace, a, b).judgements
    assert (judgement.metric, judgement.verdict, judgement.unjudged) == ("rmse", None, f"{b} has no per-frame errors on small")
    with pytest.raises(UsageError, match="'silog' cannot be judged"):
        compare(workspace, a, b, metrics=("silog",))


def test_an_unknown_name_is_refused(workspace: Workspace) -> None:
    with pytest.raises(VortexError, match="v77"):
        compare(workspace, "v5", "v77")
