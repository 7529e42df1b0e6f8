"""The Pareto front over the published lineage: who dominates whom, what may not be joined, and what is no axis."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError, VortexError
from core.files import sha256_file
from pipelines.compare.pareto import pareto
from pipelines.hub.open import hub
from pipelines.report.pareto_drawing import pareto_svg, pareto_text
from pipelines.workspace import Workspace
from registry.events.version import VersionMeasured
from registry.records import Artifact, DataUse, Metrics, NewVersion
from registry.versions import append_registration
from tests.unit.pipelines.compare.lineage_registry import FEMTO, NYU, Published, measurement, register

TWO, THREE = ("nyu.rmse", "corridor_eval.rmse"), ("nyu.rmse", "nyu.miou", "corridor_eval.rmse")


def dominators(ws: Workspace, axes: tuple[str, ...]) -> dict[str, set[str]]:
    return {point.version: set(point.dominated_by) for point in pareto(ws, axes).points}


def test_v9_does_not_dominate_v8_whatever_was_published(workspace: Workspace) -> None:
    """The lineage said that V5 and V9 dominate V8. V9 loses on NYU, so of the two only V5 does."""
    register(workspace)
    assert dominators(workspace, THREE) == {
        "v4": set(), "v5": set(), "v6": set(), "v7": {"v4"}, "v8": {"v5"}, "v9": {"v4"},
    }  # fmt: skip
    # Without the classes, which V6 gave up, V6 dominates both.
    assert dominators(workspace, TWO) == {
        "v4": set(), "v6": set(), "v5": {"v6"}, "v7": {"v4"}, "v8": {"v5", "v6"}, "v9": {"v4"},
    }  # fmt: skip
    front = pareto(workspace, THREE)
    assert [point.version for point in front.points] == ["v6", "v5", "v4", "v8", "v7", "v9"]
    assert front.left_out == {"v3": "not measured on corridor_eval"}
    (v8,) = (point for point in front.points if point.version == "v8")
    assert v8.dominance and v8.dominance.version == "v5" and v8.dominance.caveat == ""
    assert [(gain.axis, gain.text, gain.gain) for gain in v8.dominance.gains] == [
        ("nyu.rmse", "-0.0200 m", pytest.approx(0.020)),
        ("nyu.miou", "+0.80 %", pytest.approx(0.008)),
        ("corridor_eval.rmse", "-0.0800 m", pytest.approx(0.080)),
    ]
    verdicts = [gain.verdict for gain in v8.dominance.gains]
    assert all(verdict and verdict.comparisons == 3 for verdict in verdicts)


def test_a_dominance_that_the_frames_do_not_bear_out_says_so(workspace: Workspace) -> None:
    register(workspace, [Published("v4", None, [], {NYU: (0.5, None), FEMTO: (1.0, None)})])
    register(workspace, [Published("v5", None, [], {NYU: (0.502, None), FEMTO: (1.5, None)})])
    plain = Metrics(*FEMTO[:2], "val-pooled-10m/1", FEMTO[2], FEMTO[2].ljust(64, "0"), {"rmse": 2.0}, 240)
    register(workspace, [Published("v6", None, [], {NYU: (0.6, None)})])
    hub(workspace).ledger.append(VersionMeasured("v6", plain), actor="test")
    v4, v5, v6 = pareto(workspace, TWO, margin=0.001).points
    assert v4.front and v5.dominance and v5.dominance.caveat == "too little to say on nyu.rmse"
    assert v6.dominance and v6.dominance.caveat == "not judged on corridor_eval.rmse"
    assert v6.dominance.gains[1].unjudged == "v6 has no per-frame errors on corridor_eval"


def test_another_state_of_the_data_or_protocol_is_not_joined(workspace: Workspace) -> None:
    register(workspace)
    for name, number, protocol, digest in (
        ("v10", 10, "val-pooled-10m/1", "another-digest"),
        ("v11", 11, "val-pooled-10m/1+median", ""),
    ):
        register(workspace, [Published(name, None, [], {FEMTO: (1.0, None)})])
        metrics = measurement(workspace, number, NYU, 0.1, protocol=protocol, digest=digest)
        hub(workspace).ledger.append(VersionMeasured(name, metrics), actor="test")
    front = pareto(workspace, TWO)
    assert {"v10", "v11"} & {point.version for point in front.points} == set()
    assert front.left_out["v10"].startswith("measured otherwise on nyu: data differs (nyu@another-dige against nyu@nyu")
    assert front.left_out["v11"] == "not measured on nyu"
    loose = pareto(workspace, TWO, exams_only=False)
    assert "protocol differs (val-pooled-10m/1+median against val-pooled-10m/1)" in loose.left_out["v11"]


def test_a_dataset_that_was_renamed_is_the_same_axis(workspace: Workspace) -> None:
    register(workspace)
    register(workspace, [Published("v10", None, [], {FEMTO: (1.0, None)})])
    renamed = replace(measurement(workspace, 10, NYU, 0.1), dataset="indoor2012")
    for measured in (measurement(workspace, 10, NYU, 9.0), renamed):
        hub(workspace).ledger.append(VersionMeasured("v10", measured), actor="test")
    # One series, under whatever name: the later measurement counts.
    assert [(m.dataset, m.values["rmse"]) for m in hub(workspace).get("v10").metrics[1:]] == [("indoor2012", renamed.values["rmse"])]
    front = pareto(workspace, ("indoor2012.rmse", "corridor_eval.rmse"))
    assert [point.version for point in front.points if point.front] == ["v10"] and len(front.points) == 7


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("nyu.rmse",), "1 axis is not enough"),
        (("nyu.rmse", "nyu.silog"), "unknown axis 'nyu.silog', allowed: PLACE.METRIC"),
        (("nyu.rmse", "speed"), "unknown axis 'speed', allowed"),
        (("nyu.rmse", "latency"), "latency: no version has a report of a device bench that counts"),
        (("nyu.rmse", "garden.rmse"), "no version was measured on 'garden', allowed: corridor_eval (corridor), lilocbench"),
        (("nyu.rmse", "corridor.rmse"), "'corridor' is 2 things that do not compare: corridor_eval (corridor), lilocbench"),
    ],
)
def test_what_is_no_axis_is_answered_with_what_is(workspace: Workspace, axes: tuple[str, ...], message: str) -> None:
    register(workspace)
    with pytest.raises(UsageError, match=re.escape(message)):
        pareto(workspace, axes)


def test_the_size_of_a_network_is_an_axis(workspace: Workspace, tmp_path: Path) -> None:
    import torch

    from models import checkpoint
    from models.student import Student, StudentConfig

    student = Student(StudentConfig(encoder="mobilenetv3_small_100", size=(64, 96)))
    register(workspace, [Published("v5", None, [], {NYU: (0.5, None)})])
    assert not isinstance(workspace.artifact_root, str)
    path = workspace.artifact_root / "6/artifacts/checkpoint/student.safetensors"
    checkpoint.save(path, student, {})
    stored = Artifact("6/artifacts/checkpoint/student.safetensors", sha256_file(path), path.stat().st_size)
    use = DataUse("nyu", "rooms", "room", "0" * 64, None, True, {"train": 9})
    new = NewVersion("v6", False, {}, (), "rooms", (use,), (64, 96), "6" * 32, "run", stored)
    registry = hub(workspace)
    with registry.ledger.transaction() as tx:
        append_registration(tx, new, 6, actor="test")
        tx.append(VersionMeasured("v6", measurement(workspace, 6, NYU, 0.6)), actor="test")
    front = pareto(workspace, ("params", "nyu.rmse"))
    (point,) = front.points
    assert point.values == (sum(parameter.numel() for parameter in student.parameters()), 0.6)
    assert point.values[0] < sum(torch.numel(tensor) for tensor in student.state_dict().values())
    assert "the artifact is gone" in front.left_out["v5"]
    with pytest.raises(VortexError, match="no version has all of params"):
        register(workspace, [Published("v7", None, [], {FEMTO: (0.5, None)})])
        pareto(workspace, ("params", "corridor_eval.rmse"))


def test_the_drawings_show_every_version_and_where_it_stands(workspace: Workspace) -> None:
    register(workspace)
    front = pareto(workspace, TWO)
    svg = pareto_svg(front, href=lambda name: f"versions/{name}.html")
    assert len(re.findall('<circle class="front"', svg)) == 2 and len(re.findall('<circle class="dominated"', svg)) == 4
    assert 'href="versions/v8.html"' in svg and "dominated by v6, v5" in svg and "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    places: dict[str, Any] = {
        name: (float(x), float(y)) for x, y, name in re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="5"><title>(v\d)', svg)
    }
    assert places["v6"][0] == min(x for x, _ in places.values()) and places["v4"][1] == max(y for _, y in places.values())
    lines = pareto_text(front, 60, 12).splitlines()
    drawing = "\n".join(lines[:12])
    assert (drawing.count("●"), drawing.count("○")) == (2, 4) and max(map(len, lines)) <= 80
    assert [name for name in ("v6", "v7", "v8", "v9", "v4") if name not in drawing] == []


def test_names_in_a_drawing_are_escaped(workspace: Workspace) -> None:
    register(workspace)
    front = pareto(workspace, TWO)
    points = tuple(replace(point, codename='<script>alert("x")</script>\x1b[31m') for point in front.points)
    svg = pareto_svg(replace(front, points=points), href=lambda name: f'"><script>{name}')
    assert "<script" not in svg and "\x1b" not in svg and "&lt;script&gt;alert" in svg
