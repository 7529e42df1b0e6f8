"""The robot's part of the demo on versions that nobody trained: a real server, the agent as a process, and what the ledger and the site know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner
from vortex_jetson.formats import bundle as manifests

from pipelines.demo_robot import RECORDED, ROBOT, RobotDemo
from pipelines.ship import fleet
from pipelines.ship.publish import publish
from pipelines.ship.rollback import rollback
from pipelines.synthetic.dataset import synthesise
from tests.unit.pipelines.ship.conftest import SIZE, Arena
from tests.unit.pipelines.ship.test_publish import Robots
from vortex_cli.app import app

DEPTH_M = 2.0
"""What the tiny model says of a black pixel."""
DAMAGE = "its depth is constant: it spreads over 0.0 mm at most"


def picture(path: Path) -> NDArray[Any]:
    """A picture as it lies on the disk."""
    values: NDArray[Any] | None = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert values is not None
    return values


def measured_anew(root: Path) -> tuple[float, float]:
    """RMSE of the tiny model on the recorded frames, and how much of them the ToF camera saw, from the files themselves."""
    squares, seen = [], []
    for path in sorted((root / "data" / RECORDED / "rgb").iterdir()):
        rgb = picture(path).astype(np.float64)
        truth, tof, sure = (picture(root / "data" / RECORDED / role / f"{path.stem}.png") for role in ("depth", "tof", "confidence"))
        known = (truth > 0) & (truth <= 10_000)
        squares.append((rgb.mean(axis=2) / 255 + DEPTH_M - truth / 1000.0)[known] ** 2)
        seen.append(((sure >= 128) & (tof >= 50) & (tof <= 10_000)).mean())
    return float(np.sqrt(np.concatenate(squares).mean())), float(np.mean(seen))


def test_a_robot_runs_a_version_and_goes_back_from_one_that_broke_and_everybody_knows_why(arena: Arena, tmp_path: Path) -> None:
    robots = Robots(arena, tmp_path)
    first, second = robots.version(depth_m=DEPTH_M, per_grey=1.0), robots.version(0.3, depth_m=1.5, per_grey=1.0)
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
        # Somebody was quicker than the report: it is about the version that the robot could not run all the same.
        rollback(ws, device="orin", reason="a file that was changed by hand")
        assert {report.outcome for report in fleet.collect(ws, Path(inbox)).reports} == {"taken"}
        demo.agent(["pull"], 0)
    result = demo.summary(0)
    assert DAMAGE in result.rolled_back and result.left == "a file that was changed by hand" and result.runs == first
    manifest = manifests.parse((ws.root / ROBOT / "current").resolve().joinpath("manifest.json").read_bytes())
    assert manifest.version == first
    student, seen = measured_anew(ws.root)
    assert result.errors.student == pytest.approx(student, abs=1e-3) and result.errors.seen == pytest.approx(seen, abs=1e-6)
    assert result.errors.fused != result.errors.student
    site = result.report.parent
    assert f"{ROBOT} rolled back, and runs {first}" in result.report.read_text() and DAMAGE in result.report.read_text()
    assert DAMAGE in (site / "versions" / f"{second}.html").read_text()
    answer = CliRunner().invoke(app, ["lineage", second, "--down", "--json", "--workspace", str(ws.root)], catch_exceptions=False)
    (setback,) = json.loads(answer.stdout)["setbacks"]
    assert (setback["device"], setback["version"], setback["outcome"]) == (ROBOT, second, "rolled back") and DAMAGE in setback["reason"]
