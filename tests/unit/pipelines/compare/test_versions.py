from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines.compare.versions import compare, compare_errors, compare_measured, judge_measured
from pipelines.evaluate.version import evaluate
from pipelines.hub.open import hub
from pipelines.protocol import Protocol
from pipelines.workspace import Workspace
from tests.unit.pipelines.conftest import write_frames


def test_compare_pairs_the_same_frames_only(workspace: Workspace, small_set: Path, make_version: Callable[..., str], tmp_path: Path):
    good, bad = make_version(), make_version(shift=3.0)
    with pytest.raises(VortexError, match=f"{good} was not measured on rooms"):
        compare(workspace, good, bad, domain="rooms")
    for name, manifest in ((good, small_set), (bad, write_frames(tmp_path / "other", val=5))):
        evaluate(workspace, name, data=str(manifest), allow_unvalidated=True)
    with pytest.raises(VortexError, match=r"cannot be compared on rooms: data differs \(outside:small@.* against outside:other@"):
        compare(workspace, good, bad, domain="rooms")
    evaluate(workspace, bad, data=str(small_set), allow_unvalidated=True)
    (verdict,) = compare(workspace, good, bad, domain="rooms")
    assert (verdict.metric, verdict.frames, verdict.sequences) == ("rmse", 6, 1) and verdict.difference < -0.5
    assert verdict.word == "open" and "6 frames are worth" in verdict.reason
    assert (verdict,) == compare_errors(hub(workspace), good, bad, "rooms")
    rmse, miou = compare(workspace, good, bad, domain="rooms", metrics=("rmse", "miou"), margin=0.05)
    assert rmse.interval is not None and rmse.interval.level == pytest.approx(0.975) and rmse.margin == pytest.approx(0.05 * rmse.b)
    assert (miou.metric, miou.comparisons) == ("miou", 2)


def test_without_a_protocol_named_the_exam_is_compared_and_images_are_not_pooled(
    workspace: Workspace, small_set: Path, make_version: Callable[..., str]
) -> None:
    good, bad = make_version(), make_version(shift=3.0)
    registry = hub(workspace)
    for name in (good, bad):
        (measured,) = evaluate(workspace, name, data=str(small_set), allow_unvalidated=True)
        registry.add_metrics(name, dataclasses.replace(measured, protocol="val-pooled-10m/1"), actor="test")
        (aligned,) = evaluate(workspace, name, data=str(small_set), allow_unvalidated=True, protocol=Protocol(align="median"))
    (verdict,) = compare(workspace, good, bad, domain="rooms")
    assert verdict.b == pytest.approx(measured.values["rmse"], rel=1e-5) and verdict.b > 2 * aligned.values["rmse"]
    with pytest.raises(VortexError, match=r"nyu654-eigen/1 are means of images, and a verdict pools"):
        judge_measured(registry, *((name, dataclasses.replace(measured, protocol="nyu654-eigen/1")) for name in (good, bad)), ["rmse"])


def test_what_the_other_version_lacks_is_measured(workspace: Workspace, tmp_path: Path, make_version: Callable[..., str]) -> None:
    good, bad = make_version(), make_version(shift=3.0)
    # Frames that have little in common: 40 of them are enough to say something.
    manifest = str(write_frames(tmp_path / "many", val=40, shuffled=True))
    (measured,) = evaluate(workspace, good, data=manifest, allow_unvalidated=True)
    calls: list[tuple[str, str]] = []

    def measure(version: str, domain: str) -> None:
        calls.append((version, domain))
        evaluate(workspace, version, data=manifest, allow_unvalidated=True)

    for _ in range(2):
        (verdict,) = compare_measured(workspace, good, bad, measured, measure)
    assert calls == [(bad, "rooms")]
    assert (verdict.word, verdict.frames) == ("better", 40) and verdict.effective_frames is not None and verdict.effective_frames >= 10


def test_sequences_reach_the_verdict(workspace: Workspace, tmp_path: Path, make_version: Callable[..., str]) -> None:
    good, bad = make_version(), make_version(shift=3.0)
    manifest = str(write_frames(tmp_path / "many", val=40, shuffled=True, sequences=10))
    for version in (good, bad):
        evaluate(workspace, version, data=manifest, allow_unvalidated=True)
    (verdict,) = compare(workspace, good, bad, domain="rooms")
    assert (verdict.method, verdict.sequences) == ("sequences", 10) and verdict.interval is not None and verdict.interval.n == 10
