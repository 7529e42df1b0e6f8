"""A training of seconds: its workspace, its plan, and everything that it ends with as one hash, so that two runs can be compared."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pipelines.runs.events import TrainEvent
    from pipelines.train.plan.train_plan import TrainPlan
    from pipelines.train.worker.checkpoints import Checkpoints
    from pipelines.workspace import Workspace

LEFT_BEHIND: Final = (".*.staging", ".latest.*", "ray-*")
"""What is there while something is written, and while Ray works, and at no other time."""


def prepare(root: Path, frames: int) -> None:
    """A workspace with one small dataset and a recipe whose weights are averaged."""
    import json

    from pipelines.data.datasets import DatasetCard, new_dataset
    from pipelines.hub.open import hub
    from pipelines.init import init
    from pipelines.recipes import recipe
    from pipelines.synthetic.dataset import Job, render_dataset
    from validation.manifest import write_manifest

    ws = init(root)
    with new_dataset(ws, "place", DatasetCard(name="place", domain="rooms", kind="room", format="synthetic")) as staging:
        write_manifest(staging / "manifest.jsonl", render_dataset(staging, Job("rooms", "rooms", frames, 0, (48, 64), None)))
    raw = recipe.load("v5").model_dump(mode="json") | {"name": "tiny", "codename": "", "parents": [], "published": []}
    raw |= {"student": {"encoder": "mobilenetv3_small_100", "size": [32, 64]}, "ema": {"decay": 0.99}}
    raw["scratch"]["batch_size"] = 4
    (root / "tiny.yaml").write_text(json.dumps(raw))
    assert hub(ws).store


def planned(ws: Workspace, epochs: int, **options: Any) -> TrainPlan:
    """A training of the small recipe."""

    from pipelines.train.plan.decide import decide
    from pipelines.train.plan.gather import gather
    from pipelines.train.plan.options import TrainOptions

    own = {"recipe": str(ws.root / "tiny.yaml"), "domain": "rooms", "encoder_weights": "none", "device": "cpu"} | options
    train_options = TrainOptions(epochs=epochs, allow_unvalidated=True, **own)
    return decide(train_options, gather(ws, train_options))


def begin(ws: Workspace, epochs: int, **options: Any) -> TrainPlan:
    """Lay a run of it out, to be resumed."""
    from pipelines.train.driver.run import lay_out

    plan = planned(ws, epochs, **options)
    lay_out(plan, plan.folder(ws))
    return plan


def folder_of(ws: Workspace, plan: TrainPlan) -> Path:
    """Where its one stage keeps its checkpoints."""

    return plan.stage_folder(plan.folder(ws), 0)


def checkpoints(ws: Workspace, plan: TrainPlan) -> Checkpoints:
    """Those of its one stage."""
    from pipelines.train.worker.checkpoints import Checkpoints

    return Checkpoints(folder_of(ws, plan))


def final_state(ws: Workspace, plan: TrainPlan) -> str:
    """Everything that the newest checkpoint of a run holds, as one hash. Raises an error when it cannot be read, or its bytes are others."""
    from models.tensors import read_tensors
    from pipelines.train.worker.checkpoints import BEST, STATE, STUDENT

    kept = checkpoints(ws, plan)
    latest = kept.latest
    assert latest is not None
    total = hashlib.sha256()
    for path in (latest / name for name in (STUDENT, STATE, BEST)):
        if path.exists():
            kept.verify(path)
            for key, value in sorted(read_tensors(path)[0].items()):
                total.update(f"{path.name} {key} {value.dtype} {tuple(value.shape)}".encode() + value.contiguous().numpy().tobytes())
    return total.hexdigest()


def readable(ws: Workspace, plan: TrainPlan) -> bool:
    """Whether the newest checkpoint, if there is one yet, can be read and has the bytes that were saved."""
    from core.errors import VortexError
    from pipelines.train.worker.checkpoints import LATEST

    if not (folder_of(ws, plan) / LATEST).is_symlink():
        return True
    try:
        return bool(final_state(ws, plan))
    except (VortexError, AssertionError):
        return False


def ending(ws: Workspace, plan: TrainPlan, wanted: str | None) -> dict[str, int]:
    """How a run has ended: with the bits that are wanted (None: any), as one version, and with how much left that was half written."""
    from pipelines.hub.open import hub

    return {
        "same bits": int(readable(ws, plan) and wanted in (None, final_state(ws, plan))),
        "one version": int(sum(version.run == plan.run for version in hub(ws).versions()) == 1),
        "left behind": sum(len(list(plan.folder(ws).parent.rglob(pattern))) for pattern in LEFT_BEHIND),
    }


def ignore(event: TrainEvent) -> None:
    """Hear nothing."""
