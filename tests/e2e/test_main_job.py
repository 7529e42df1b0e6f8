"""The main job as its user types it, in one workspace, at a size that takes a minute: every command, every exit code."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.preloaded import Preloaded


class Shell:
    """Runs `vortex` in a process of its own, as a shell would, but for the imports that they share."""

    def __init__(self, folder: Path, processes: Preloaded) -> None:
        self.folder, self._processes = folder, processes

    def __call__(self, line: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        result = self._processes.run("vortex_cli.main", *line.split(), timeout=600, cwd=self.folder)
        assert result.returncode == code, f"vortex {line}: exit {result.returncode}\n{result.stdout}\n{result.stderr}"
        assert "Traceback" not in result.stderr
        return result

    def json(self, line: str) -> Any:
        return json.loads(self(f"{line} --json").stdout)


@pytest.fixture(scope="module")
def vortex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("main-job")
    with Preloaded(tmp_path_factory.mktemp("said"), VORTEX_ACTOR="tester", COLUMNS="140") as processes:
        shell = Shell(folder, processes)
        shell("init")
        yield shell


def test_from_frames_to_production(vortex: Shell) -> None:
    # As many frames as a student needs to be better than their mean map beyond doubt: 60 of them left that to chance.
    vortex("data synth rooms --world rooms --frames 200 --seed 3 --size 96x128")
    vortex("data synth corridor --world corridor --frames 60 --seed 2 --size 96x128")
    refused = vortex("train v6 --domain rooms --encoder-weights none", code=3)
    assert "vortex validate rooms" in refused.stderr
    vortex("validate rooms")
    vortex("validate corridor")

    small = "--size 48x64 --set student.encoder=mobilenetv3_small_100"
    trained = vortex(f"train v6 --domain rooms --encoder-weights none --epochs 20 {small}")
    assert "v6" in trained.stdout
    derived = vortex("train --from v6 --domain corridor --epochs 1")
    assert "v10" in derived.stdout
    vortex("evaluate v10 --domain rooms --against v6")

    versions = {version["name"]: version for version in vortex.json("versions")}
    assert sorted(versions) == ["v10", "v6"]
    shown = vortex.json("show v10")
    assert [parent["ref"] for parent in shown["parents"] if parent["kind"] == "weights"] == ["v6"]
    assert {metrics["domain"] for metrics in shown["metrics"]} == {"rooms", "corridor"}
    use = shown["data"][0]
    assert use["validated"] and use["dvc"].endswith(".dir") and use["dvc"] in (vortex.folder / "data.dvc").read_text()

    vortex("promote v6 --stage production")
    assert {"channel": "host/rooms", "stage": "production"} in vortex.json("show v6")["stages"]
    untaught = vortex("promote v10 --stage production", code=3)
    assert "better-than-nothing-rmse" in untaught.stdout, (
        "one epoch in a new place does not make a student that knows more of it than a constant"
    )
    assert {"channel": "host/corridor", "stage": "staging"} in vortex.json("show v10")["stages"]
    listed = vortex("history").stdout
    assert "v10" in listed and "tester" in listed
    assert "v6" in vortex("lineage").stdout
    vortex("compare v6 v10")

    report = vortex.json("report")
    assert report["versions"] == 2 and report["pictures"] >= 2, "both hold a stage, and their exams' frames are in data/"
    page = Path(report["index"]).parent / "versions" / "v6.html"
    pictures = re.findall(r'<img src="([^"]+)"', page.read_text())
    assert pictures and all((page.parent / picture).resolve().stat().st_size > 10_000 for picture in pictures)


@pytest.mark.parametrize(
    ("line", "code", "shown"),
    [
        ("show v99", 1, "v99"),
        ("train --from v99 --domain corridor", 1, "v99"),
        ("train v6 --domain attic", 1, "attic"),
        ("train v6 --from v6", 2, "--from"),
        ("train v42 --domain rooms", 1, "v42"),
        ("validate nowhere", 1, "nowhere"),
        ("data add x /nowhere", 1, "/nowhere"),
        ("data add ../x /tmp", 2, "../x"),
        ("promote v99 --stage production", 1, "v99"),
        ("export v99", 1, "v99"),
        ("evaluate v99", 1, "v99"),
        ("train --resume nothing", 1, "nothing"),
        ("compare v5 v77", 1, "v77"),
    ],
)
def test_what_cannot_be_is_one_clear_line(vortex: Shell, line: str, code: int, shown: str) -> None:
    result = vortex(line, code=code)
    assert shown in result.stderr and "bug in vortex" not in result.stderr
