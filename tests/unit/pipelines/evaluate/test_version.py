from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.errors import GateRefused, VortexError
from pipelines.compare.frame_errors import FrameErrors
from pipelines.data.datasets import resolve
from pipelines.evaluate.version import evaluate
from pipelines.hub.open import hub
from pipelines.protocol import Protocol
from pipelines.workspace import Workspace
from tests.unit.pipelines.conftest import SIZE


def test_evaluate_records_metrics_and_errors(workspace: Workspace, small_set: Path, make_version: Callable[..., str]):
    name = make_version()
    with pytest.raises(GateRefused, match="'outside:small' was never validated"):
        evaluate(workspace, name, data=str(small_set))
    assert hub(workspace).get(name).metrics == ()
    (recorded,) = evaluate(workspace, name, data=str(small_set), allow_unvalidated=True, device="cpu")
    (kept,) = hub(workspace).get(name).metrics
    assert kept == recorded and kept.digest == resolve(workspace, name_or_manifest=str(small_set)).digest
    errors = FrameErrors.load(hub(workspace).artifacts.path(kept.errors))
    assert len(errors.ids) == 6 and errors.size == SIZE
    assert np.sqrt(errors.sums["squared"].sum() / errors.sums["count"].sum()) == pytest.approx(kept.values["rmse"], rel=1e-5)
    json.dumps(kept.values, allow_nan=False)


def test_evaluate_names_what_is_wrong(workspace: Workspace, small_set: Path, make_version: Callable[..., str]):
    name = make_version()
    for options, message in (
        ({"domain": "attic"}, "unknown domain 'attic'"),
        ({"domain": "corridor"}, "domain 'corridor' has no dataset"),
        ({"data": "kitchen"}, "unknown dataset 'kitchen'"),
        ({"data": str(small_set), "domain": "corridor"}, "outside:small has no frames of the domain 'corridor', they are of: rooms"),
        (
            {"data": str(small_set), "protocol": Protocol(split="test")},
            "no 'test' frames to measure on: outside:small has 1 gap, 2 train, 6 val",
        ),
    ):
        with pytest.raises(VortexError, match=message):
            evaluate(workspace, name, allow_unvalidated=True, **options)  # type: ignore[arg-type]
    with pytest.raises(VortexError, match="'v99' is not registered"):
        evaluate(workspace, "v99", data=str(small_set))
    registry = hub(workspace)
    path = registry.artifacts.path(registry.get(name).checkpoint)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VortexError, match="not what was registered"):
        evaluate(workspace, name, data=str(small_set), allow_unvalidated=True)
