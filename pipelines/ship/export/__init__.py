"""Export a version for a runtime: the file, and proof that it answers as the trained student does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES
from core.errors import VortexError
from core.files import locked, sha256_file
from core.progress import Notice
from models import checkpoint
from pipelines.data.datasets import resolve
from pipelines.frame_arrays import load_arrays
from pipelines.hub.classes import class_pixels, untaught
from pipelines.hub.open import actor, commit, hub
from pipelines.pack.preparing import packs_folder
from pipelines.ship.export.onnx import OPSET, holds, write_onnx
from pipelines.ship.export.parity import NOISE, measure_parity, noise
from pipelines.workspace import Workspace
from registry.records import Artifact, Export, Version
from validation.checks import Check
from validation.manifest import load_manifest
from validation.policies import load_policies
from validation.promotion.evidence import ExportParity
from validation.promotion.gates.onnx_parity import OnnxParity, judge

FORMAT = "onnx"
JETSON_SIZE = (240, 320)
"""The size (H, W) that the Jetson's budget and its fusion are made for; a version of any other size runs on hosts only."""
PARITY_FRAMES = 16
_PATIENCE = 600.0  # seconds to wait for another process that exports the same version


def export(ws: Workspace, name: str, *, record: bool = True, on_step: Notice | None = None) -> Export:
    """Write version `name` as ONNX at its trained size, measure its parity, store and record both.

    The file lies at `build/exports/vN/` too. `record=False` leaves MLflow and the ledger as they are.
    A file that is there already, made of the same weights, is kept; its parity is measured all the same.
    Raises VortexError for an unknown version, weights that are not those registered, or a student that cannot be exported.
    """
    import onnxruntime
    import torch

    report = on_step or (lambda _: None)
    registry = hub(ws)
    version = registry.get(name)
    student, _ = checkpoint.load(registry.artifact_path(version.checkpoint))
    path = export_path(ws, version)
    with locked(path.with_suffix(".lock"), _PATIENCE):
        metadata = _metadata(version, class_pixels(registry, version)) | {"vortex.torch": str(torch.__version__)}
        if not holds(path, metadata):
            report(f"exporting {version.name} at {version.size[0]}x{version.size[1]}")
            write_onnx(student, version.size, path, metadata)
        frames, source = parity_frames(ws, version)
        report(f"comparing {version.name} with its file on {len(frames)} frames of {source}")
        parity = measure_parity(student, path, frames)
        if record:
            artifact = registry.store.log_artifact(version.run_id, path, "exports")
        else:
            artifact = Artifact(str(path), sha256_file(path), path.stat().st_size)
    exported = Export(
        artifact,
        FORMAT,
        version.size,
        "fp32",
        OPSET,
        parity.depth_m,
        parity.class_agreement,
        source,
        parity.frames,
        {"torch": str(torch.__version__), "onnxruntime": str(onnxruntime.__version__), "host_only": version.size != JETSON_SIZE},
    )
    if record:
        registry.add_export(version.name, exported, actor=actor(), commit=commit(ws))
    return exported


def newest(version: Version) -> Export | None:
    """The version's recorded ONNX export at its trained size, or None."""
    exports = [entry for entry in version.exports if (entry.format, entry.size, entry.precision) == (FORMAT, version.size, "fp32")]
    return exports[-1] if exports else None


def parity_evidence(exported: Export) -> ExportParity | None:
    """How far the export is from the student, as the parity gate reads it; None where that was not measured."""
    if exported.parity_m is None or exported.class_agreement is None:
        return None
    return ExportParity(exported.parity_m, exported.class_agreement)


def parity_checks(exported: Export) -> list[Check]:
    """The parity of an export against the bound that promotion to staging asks for."""
    rules = [rule for rule in load_policies().promotion.stage("staging") if isinstance(rule, OnnxParity)]
    return [judge(rule, parity_evidence(exported)) for rule in rules]


def export_path(ws: Workspace, version: Version) -> Path:
    """Where the version's ONNX file lies in the workspace."""
    height, width = version.size
    return ws.build / "exports" / version.name / f"{version.name}-{height}x{width}.onnx"


def parity_frames(ws: Workspace, version: Version) -> tuple[NDArray[np.uint8], str]:
    """Frames [N, H, W, 3] to measure parity on, evenly spread over a set's validation frames, and the set's name.

    The set is one that the version was trained on, its own domain's first; where none is in this workspace as the version saw it,
    the frames are seeded noise, named `noise`.
    """
    for use in sorted(version.data, key=lambda use: use.domain != version.domain):
        try:
            ref = resolve(ws, name_or_manifest=use.name)
        except VortexError:  # not (or no longer) here, or broken: the next set, or noise, and the record says which
            continue
        frames = [frame for frame in load_manifest(ref.manifest) if frame.split == "val"]
        if ref.digest != use.digest or not frames:
            continue
        sample = [frames[index] for index in np.unique(np.linspace(0, len(frames) - 1, PARITY_FRAMES).astype(int))]
        return np.stack([row["rgb"] for row in load_arrays(packs_folder(ws), ref, sample, version.size)]), use.name
    return noise(version.size), NOISE


def _metadata(version: Version, pixels: dict[str, int] | None) -> dict[str, str]:
    """What a program that has nothing but the file must know. `pixels` are the labelled ones of each class that it was trained on."""
    height, width = version.size
    trained = "not counted" if pixels is None else ",".join(f"{name}={count}" for name, count in pixels.items())
    return {
        "vortex.version": version.name,
        "vortex.checkpoint_sha256": version.checkpoint.sha256,
        "vortex.size": f"{height}x{width}",
        "vortex.classes": ",".join(CLASSES),
        "vortex.classes_trained": "none" if untaught(pixels) else trained,
        "vortex.depth_unit": "m",
        "vortex.input": "rgb, 1x3xHxW, float32 in [0, 1]",
    }
