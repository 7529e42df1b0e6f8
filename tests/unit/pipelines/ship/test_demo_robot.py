"""The robot's part of the demo on versions that nobody trained: a real server, the agent as a process, and what the ledger and the site know."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner
from vortex_jetson import bundle as manifests

from pipelines.demo_robot import RECORDED, ROBOT, RobotDemo
from pipelines.ship import fleet
from pipelines.ship.publish import publish
from pipelines.ship.rollback import rollback
from pipelines.synthetic.dataset import synthesise
from tests.unit.pipelines.ship.conftest import SIZE, Arena
from tests.unit.pipelines.ship.test_publish import Robots
from vortex_cli.app import app

DAMAGE = "its depth is constant: it spreads over 0.0 mm at most"


def seeing(path: Path) -> None:
    """Have a tiny model's depth follow the brightness of the picture, a metre from black to white."""
    model = onnx.load(path)
    for constant in model.graph.initializer:
        if constant.name == "zero":
            constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) + 1, "zero"))
    onnx.save(model, str(path))


@pytest.mark.timeout(300)
def test_a_robot_runs_a_version_and_goes_back_from_one_that_broke_and_everybody_knows_why(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.pipelines.ship import test_publish

    flat = test_publish.tiny_onnx
    monkeypatch.setattr(test_publish, "tiny_onnx", lambda path, depth_m: (flat(path, depth_m), seeing(path)))
    robots = Robots(arena, tmp_path)
    first, second = robots.version(), robots.version(0.3, depth_m=1.5)
    robots.promote(first)
    ws = robots.ws
    demo = RobotDemo(ws, second)
    root = str(ws.publish_folder / "metadata" / "1.root.json")
    with demo.serving():
        demo.agent(["init", "--device", ROBOT, "--channel", "orin/rooms", "--url", demo.url, "--root", root], 0)
        assert fleet.enroll(ws, ROBOT, ws.root / ROBOT / "device.pub", "orin/rooms")
        demo.agent(["pull"], 0)
        synthesise(ws, RECORDED, world="corridor", domain=RECORDED, frames=12, seed=9, size=SIZE)
        demo.record()
        for folder in ("with-tof", "colour-alone"):
            printed, _ = demo.agent(["run", "--source", demo.path(f"./recording/{folder}"), "--out", demo.path(f"./answers/{folder}")], 0)
            assert f"12 frames by {first}" in printed
        robots.promote(second)
        measured = robots.read()
        demo.damage()
        assert publish(ws).changed
        broken = robots.read()
        assert measured and broken and measured.production and broken.production
        assert (measured.production.version, broken.production.version) == (second, second)
        assert measured.production.bundle != broken.production.bundle
        _, remark = demo.agent(["pull"], 3)
        assert f"{second} does not do its task: {DAMAGE}; {first} runs on" in remark
        inbox = demo.path("./inbox")
        Path(inbox).mkdir()
        demo.agent(["report", "--to", inbox], 0)
        assert {report.outcome for report in fleet.collect(ws, Path(inbox)).reports} == {"taken"}
        rollback(ws, device="orin", reason="a file that was changed by hand")
        demo.agent(["pull"], 0)
    result = demo.summary(0)
    assert DAMAGE in result.rolled_back and result.left == "a file that was changed by hand" and result.runs == first
    manifest = manifests.parse((ws.root / ROBOT / "current").resolve().joinpath("manifest.json").read_bytes())
    assert manifest.version == first
    assert result.errors.fused < result.errors.student and 0 < result.errors.seen < 1
    site = result.report.parent
    assert f"{ROBOT} runs" in result.report.read_text() and DAMAGE in result.report.read_text()
    assert DAMAGE in (site / "versions" / f"{second}.html").read_text()
    answer = CliRunner().invoke(app, ["lineage", second, "--down", "--json", "--workspace", str(ws.root)], catch_exceptions=False)
    (setback,) = json.loads(answer.stdout)["setbacks"]
    assert (setback["device"], setback["version"], setback["outcome"]) == (ROBOT, second, "rolled back") and DAMAGE in setback["reason"]
