"""The whole way of a shadow: what stands in staging runs beside production on a robot, and the robot's report is what the gate judges by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner
from vortex_jetson import cli as agent

from pipelines.hub.open import hub
from pipelines.ship.evidence import Request, gather
from tests.unit.pipelines.ship.conftest import SIZE, Arena
from tests.unit.pipelines.ship.test_publish import CHANNEL, Robots
from validation.checks import Check
from validation.promotion.evidence import ShadowRuns
from validation.promotion.gates import shadow
from validation.promotion.gates.shadow import AgreesInShadow
from vortex_cli.app import app

FRAMES = 110


def test_what_stands_in_staging_is_judged_by_a_robot_that_ran_it_in_the_shadow(
    arena: Arena, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    robots = Robots(arena, tmp_path)
    first, second = robots.version(per_grey=1.0), robots.version(0.3, depth_m=2.1, per_grey=1.0, shift=0.1)
    robots.promote(first)
    root, url = robots.ws.publish_folder / "metadata/1.root.json", robots.ws.publish_folder

    def robot(*words: str) -> str:
        assert agent.main([*words, "--state", str(robots.folder / "robot")]) == 0
        return capsys.readouterr().out

    def vortex(*words: str) -> str:
        answer = CliRunner().invoke(app, [*words, "--json", "--workspace", str(robots.ws.root)], catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    robot("init", "--device", "robot-7", "--channel", "orin/rooms", "--url", str(url), "--root", str(root), "--shadow")
    vortex("devices", "enroll", "robot-7", "--key", str(robots.folder / "robot/device.pub"), "--channel", "orin/rooms")
    assert robot("pull").startswith(f"{first} runs\n")
    robots.promote(second, "staging")
    assert robot("pull") == f"{first} runs; {second} is its shadow\n"
    assert f"\nshadow       {second}\n" in robot("status")

    frames, random = robots.folder / "frames", np.random.default_rng(0)
    frames.mkdir()
    for number in range(FRAMES):
        np.save(frames / f"{number:03}.rgb.npy", random.integers(0, 256, (*SIZE, 3), np.uint8))
    lines = robot("run", "--source", str(frames)).splitlines()
    assert lines[0] == f"{FRAMES} frames by {first}"
    assert lines[-1] == f"{second} in the shadow of {first}: {FRAMES} frames compared, 0 skipped"
    assert robot("report") == "1 report sent\n"

    reports = json.loads(vortex("devices", "collect", str(url)))["reports"]
    # Depth of 2 m and the grey against 2.1 m and the grey: 5 % apart.
    words = f"shadow of {second}: robot-7, beside {first} for 0.0 h and {FRAMES} frames: depth within 10 % on 100.0 % of the pixels, the same class"
    assert [report["text"][: len(words)] for report in reports if report["text"].startswith("shadow")] == [words]
    assert {report["outcome"] for report in reports} == {"taken"}

    def judged(frames_asked: int) -> Check:
        registry = hub(robots.ws)
        rule = AgreesInShadow(check="shadow", frames=frames_asked, depth=0.9, same_class=0.9)
        request = Request(robots.ws, registry, registry.get(second), registry.get(first), CHANNEL, True, None, None)
        runs = gather(request, [rule])[0][ShadowRuns]
        assert isinstance(runs, ShadowRuns)
        return shadow.judge(rule, runs)

    assert judged(FRAMES).passed and not judged(FRAMES + 1).passed
    assert "signed by the device robot-7" in judged(FRAMES).found
