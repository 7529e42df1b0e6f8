from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines.compare.versions import compare, compare_errors
from pipelines.evaluate.version import evaluate
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from tests.unit.pipelines.conftest import write_frames


def test_compare_pairs_the_same_frames_only(workspace: Workspace, small_set: Path, make_version: Callable[..., str], tmp_path: Path):
    good, bad = make_version(), make_version(shift=3.0)
    with pytest.raises(VortexError, match=f"{good} was not measured on rooms"):
        compare(workspace, good, bad, domain="rooms")
    for name, manifest in ((good, small_set), (bad, write_frames(tmp_path / "other", val=5))):
        evaluate(workspace, name, data=str(manifest), allow_unvalidated=True)
    with pytest.raises(VortexError, match=r"cannot be compared on rooms: data differs \(small@.* against other@"):
        compare(workspace, good, bad, domain="rooms")
    evaluate(workspace, bad, data=str(small_set), allow_unvalidated=True)
    interval = compare(workspace, good, bad, domain="rooms")
    assert interval.high < 0 and interval.frames == 6
    assert interval == compare_errors(hub(workspace), good, bad, "rooms")
