"""The registry as pandas frames: the example of the docs runs, and every figure is the registry's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import VortexError
from pipelines.hub.open import hub
from pipelines.notebook import read
from pipelines.workspace import Workspace
from registry.quarantine import record
from tests.unit.pipelines.compare.lineage_registry import FEMTO, FRAMES, LILOC, LINEAGE, NYU, Published, register

PAGE = Path(__file__).parents[3] / "docs" / "know.md"


def test_versions_figures_and_errors_of_frames_are_read(workspace: Workspace) -> None:
    register(workspace)
    versions, metrics, errors = read(workspace.root)
    assert list(versions["version"]) == [version.name for version in LINEAGE]
    assert versions.set_index("version").loc["v9", "weights"] == "v6" and pd.isna(versions.set_index("version").loc["v6", "weights"])
    nyu = metrics[metrics["dataset"] == "nyu"].set_index("version")
    assert nyu["rmse"].to_dict() == {version.name: version.figures[NYU][0] for version in LINEAGE}
    assert metrics["exam"].all() and len(metrics) == sum(len(version.figures) for version in LINEAGE)
    assert len(errors) == FRAMES * len(metrics)
    # A metric of a set is pooled over its pixels: of frames with equally many, the root of the mean square.
    of_v9 = errors[(errors["version"] == "v9") & (errors["dataset"] == "lilocbench")]
    assert np.sqrt((of_v9["rmse"] ** 2).mean()) == pytest.approx(0.382, rel=1e-6) and set(of_v9["sequence"]) == {
        f"s{n:02d}" for n in range(24)
    }
    assert of_v9["miou"].isna().all() and (of_v9["pixels"] == 100).all()


def test_what_is_in_quarantine_says_so_and_so_does_what_has_its_weights(workspace: Workspace) -> None:
    register(workspace)
    record(hub(workspace).ledger, "version", "v6", actor="Ada", reason="wrong building")
    versions = read(workspace.root, errors=False).versions.set_index("version")
    assert [name for name, barred in versions["quarantined"].items() if barred] == ["v6", "v9"]
    assert versions.loc["v9", "quarantined"].startswith("v6 is in quarantine since ") and not versions["adopted"].any()


def test_a_part_is_read_and_nothing_that_was_not_asked_for(workspace: Workspace) -> None:
    register(workspace)
    versions, metrics, errors = read(str(workspace.root), versions=["v9"], domain="corridor", errors=False)
    assert list(versions["version"]) == ["v9"] and sorted(metrics["dataset"]) == sorted([FEMTO[2], LILOC[2]]) and errors.empty
    with pytest.raises(VortexError, match="version 'v77' is not registered"):
        read(workspace.root, versions=["v77"])


def test_an_empty_registry_has_empty_frames_with_their_columns(workspace: Workspace) -> None:
    versions, metrics, errors = read(workspace.root)
    assert versions.empty and metrics.empty and errors.empty
    assert "weights" in versions and "digest" in metrics and "frame" in errors


def test_the_example_of_the_docs_runs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    register(workspace, [Published("v5", None, [], {NYU: (0.572, 0.637)}), Published("v6", None, [], {NYU: (0.519, 0.485)})])
    section = PAGE.read_text().split("## Notebooks")[1].split("\n## ")[0]
    code = "\n".join(line.removeprefix("    ") for line in re.findall(r"^    .*$", section, re.MULTILINE))
    monkeypatch.chdir(workspace.root)
    exec(compile(code, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "v5" in printed and "0.572" in printed and "0.519" in printed
