"""Two names side by side: what each stands for, what differs in making them, and only what can be compared in one row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.errors import VortexError
from pipelines.compare.side_by_side import compare
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.records import Metrics


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


def test_an_unknown_name_is_refused(workspace: Workspace) -> None:
    with pytest.raises(VortexError, match="v77"):
        compare(workspace, "v5", "v77")
