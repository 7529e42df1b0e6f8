"""A registry with everything in it that is kept: weights, an export, errors by frame, promotions and a rollback; made in seconds."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from core.files import write_atomic
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.channels import Channel
from registry.edges import DataEdge, WeightsEdge
from registry.records import Artifact, DataUse, Export, Metrics, NewVersion
from registry.stages import StageJudgement, record_promotion, rollback

ALL = ("candidate", "staging", "production")
CORRIDOR = Channel("host", "corridor")


def fill(ws: Workspace, scratch: Path) -> None:
    """v5, v9 (its name as the first of recipe v9) and v10: promoted in this order, with v9 rolled back before v10 follows."""
    for recipe, rmse in (("v5", 0.572), ("v9", 0.519), (None, 0.43)):
        name = register(ws, scratch, recipe)
        measure(ws, scratch, name, rmse)
        export(ws, scratch, name)
    for version in ("v5", "v9", None, "v10"):
        time.sleep(0.002)  # the ledger counts milliseconds
        if version is None:
            rollback(hub(ws).ledger, CORRIDOR, actor="Ada", reason="late braking")
        else:
            promote(ws, version)


def register(ws: Workspace, scratch: Path, recipe: str | None, **fields: object) -> str:
    """Register a student of one number, trained from v5 where it claims no recipe; returns its name."""
    from safetensors.numpy import save

    registry = hub(ws)
    run = registry.store.start_run("small")
    weights = store(ws, run, scratch / "best.safetensors", save({"depth_head.bias": np.array([len(run), time.time()])}), "checkpoint")
    use = DataUse("corridor", "corridor", "corridor", "ab" * 32, "0123456789abcdef0123456789abcdef.dir", True, {"train": 72, "val": 20})
    parents = (DataEdge(use.name, str(use.dvc)), *(() if recipe else (WeightsEdge("v5"),)))
    registry.store.end_run(run)
    new = NewVersion(
        recipe,
        recipe is None,
        {"name": recipe, "seed": 0},
        parents,
        "corridor",
        (use,),
        (48, 64),
        run,
        f"run-{run[:6]}",
        weights,
        **fields,  # type: ignore[arg-type]
    )
    return registry.register(new, actor="Ada", reason="trained").name


def measure(ws: Workspace, scratch: Path, name: str, rmse: float) -> None:
    """Record an error of `rmse` metres on four frames of the corridor."""
    errors = FrameErrors(
        tuple(f"f{number}" for number in range(4)), {COUNT: np.full(4, 10.0), SQUARED: np.full(4, 10 * rmse**2)}, (48, 64), ("s",) * 4
    )
    errors.save(scratch / "errors.npz")
    registry = hub(ws)
    artifact = registry.store.log_artifact(registry.get(name).run_id, scratch / "errors.npz", "evaluations")
    metrics = Metrics("corridor", "femto", "val-pooled-10m/1", "corridor", "ab" * 32, {"rmse": rmse}, 4, artifact)
    registry.add_metrics(name, metrics, actor="Ada")


def export(ws: Workspace, scratch: Path, name: str) -> None:
    """Export a network of one node under the version's name."""
    import onnx
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [1]) for end in ("image", "depth")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["depth"])], name, ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    registry = hub(ws)
    artifact = store(ws, registry.get(name).run_id, scratch / f"{name}.onnx", onnx.ModelProto.SerializeToString(model), "exports")
    registry.add_export(
        name, Export(artifact, size=(48, 64), parity_m=1e-5, class_agreement=1.0, parity_on="corridor", frames=4), actor="Ada"
    )


def promote(ws: Workspace, name: str) -> None:
    """Put a version into production on host/corridor, whatever the gates would say."""
    registry = hub(ws)
    seq = next((state.seq for state in channels(ws) if state.channel == CORRIDOR), 0)
    record_promotion(
        registry.ledger, CORRIDOR, name, [StageJudgement(stage, True) for stage in ALL], seq, actor="Ada", reason=f"{name} is it"
    )
    registry.refresh_aliases(CORRIDOR)


def channels(ws: Workspace):  # type: ignore[no-untyped-def]
    """Where every channel stands."""
    from registry.stages import channel_states

    return channel_states(hub(ws).ledger)


def store(ws: Workspace, run: str, path: Path, content: bytes, folder: str) -> Artifact:
    """Store bytes with a run."""
    write_atomic(path, content)
    return hub(ws).store.log_artifact(run, path, folder)
