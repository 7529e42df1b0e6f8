"""Export a version for a runtime: the file, and proof that it answers as the trained student does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from core.classes import CLASSES
from core.errors import VortexError
from core.files import locked, sha256_file
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from registry.records import Export, Version
    from validation.checks import Check

OnStep = Callable[[str], None]
"""Called with what is being done now, for a progress line."""
FORMAT = "onnx"
JETSON_SIZE = (240, 320)
"""The size (H, W) that the Jetson's budget and its fusion are made for; a version of any other size runs on hosts only."""
PARITY_FRAMES = 16
_PATIENCE = 600.0  # seconds to wait for another process that exports the same version


def export(ws: Workspace, version: str, *, record: bool = True, on_step: OnStep | None = None) -> Export:
    """Write version `version` as ONNX at its trained size, measure its parity, store and record both.

    The file lies at `build/exports/vN/` too. `record=False` leaves MLflow and the ledger as they are.
    A file that is there already, made of the same weights, is kept; its parity is measured all the same.
    Raises VortexError for an unknown version, weights that are not those registered, or a student that cannot be exported.
    """
    import onnxruntime
    import torch

    from models import checkpoint
    from pipelines.hub.open import actor, commit, hub
    from pipelines.ship.export.onnx import OPSET, holds, write_onnx
    from pipelines.ship.export.parity import measure_parity
    from registry.records import Artifact, Export

    say = on_step or (lambda _: None)
    registry = hub(ws)
    found = registry.get(version)
    student, _ = checkpoint.load(registry.artifact_path(found.checkpoint))
    path = export_path(ws, found)
    with locked(path.with_suffix(".lock"), _PATIENCE):
        metadata = _metadata(found) | {"vortex.torch": str(torch.__version__)}
        if not holds(path, metadata):
            say(f"exporting {found.name} at {found.size[0]}x{found.size[1]}")
            write_onnx(student, found.size, path, metadata)
        frames, source = parity_frames(ws, found)
        say(f"comparing {found.name} with its file on {len(frames)} frames of {source}")
        parity = measure_parity(student, path, frames)
        if record:
            artifact = registry.store.log_artifact(found.run_id, path, "exports")
        else:
            artifact = Artifact(str(path), sha256_file(path), path.stat().st_size)
    made = Export(
        artifact,
        FORMAT,
        found.size,
        "fp32",
        OPSET,
        parity.depth_m,
        parity.class_agreement,
        source,
        parity.frames,
        {"torch": str(torch.__version__), "onnxruntime": str(onnxruntime.__version__), "host_only": found.size != JETSON_SIZE},
    )
    if record:
        registry.add_export(found.name, made, actor=actor(), commit=commit(ws))
    return made


def newest(version: Version) -> Export | None:
    """The version's recorded ONNX export at its trained size, or None."""
    found = [one for one in version.exports if (one.format, one.size, one.precision) == (FORMAT, version.size, "fp32")]
    return found[-1] if found else None


def judged(made: Export) -> list[Check]:
    """The parity of an export against the bound that promotion to staging asks for."""
    from validation.gates import PromotionEvidence, judge_promotion
    from validation.policies import load_policies

    evidence = PromotionEvidence(None, None, onnx_parity_m=made.parity_m, class_agreement=made.class_agreement, size=made.size)
    return [check for check in judge_promotion("staging", evidence, load_policies()) if check.name == "onnx-parity"]


def export_path(ws: Workspace, version: Version) -> Path:
    """Where the version's ONNX file lies in the workspace."""
    height, width = version.size
    return ws.build / "exports" / version.name / f"{version.name}-{height}x{width}.onnx"


def parity_frames(ws: Workspace, version: Version) -> tuple[NDArray[np.uint8], str]:
    """Frames [N, H, W, 3] to measure parity on, evenly spread over a set's validation frames, and the set's name.

    The set is one that the version was trained on, its own domain's first; where none is in this workspace as the version saw it,
    the frames are seeded noise, named `noise`.
    """
    import numpy as np

    from pipelines.data.datasets import resolve
    from pipelines.frames import load_arrays
    from pipelines.pack import packs_folder
    from pipelines.ship.export.parity import NOISE, noise
    from validation.manifest import load_manifest

    for use in sorted(version.data, key=lambda use: use.domain != version.domain):
        try:
            ref = resolve(ws, name_or_manifest=use.name)
        except VortexError:  # not (or no longer) here, or broken: the next set, or noise, and the record says which
            continue
        frames = [frame for frame in load_manifest(ref.manifest) if frame.split == "val"]
        if ref.digest != use.digest or not frames:
            continue
        picked = [frames[index] for index in np.unique(np.linspace(0, len(frames) - 1, PARITY_FRAMES).astype(int))]
        return np.stack([row["rgb"] for row in load_arrays(packs_folder(ws), ref, picked, version.size)]), use.name
    return noise(version.size), NOISE


def _metadata(version: Version) -> dict[str, str]:
    """What a program that has nothing but the file must know."""
    height, width = version.size
    return {
        "vortex.version": version.name,
        "vortex.checkpoint_sha256": version.checkpoint.sha256,
        "vortex.size": f"{height}x{width}",
        "vortex.classes": ",".join(CLASSES),
        "vortex.depth_unit": "m",
        "vortex.input": "rgb, 1x3xHxW, float32 in [0, 1]",
    }
