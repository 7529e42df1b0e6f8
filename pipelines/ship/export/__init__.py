"""Export a version for a runtime: the file, and proof that it answers as the trained student does."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.files import locked, sha256_file
from core.progress import Notice
from models import checkpoint
from pipelines.exam.sets import exam_sets
from pipelines.frame_arrays import load_arrays
from pipelines.hub.classes import class_pixels
from pipelines.hub.exports import FORMAT, PARITY_DOMAIN, newest
from pipelines.hub.open import actor, commit, hub
from pipelines.pack.preparing import packs_folder
from pipelines.ship.export.contract import contract
from pipelines.ship.export.onnx import OPSET, holds, write_onnx
from pipelines.ship.export.parity import NOISE, measure_parity, noise
from pipelines.workspace import Workspace
from registry.records import Artifact, Export, Version

JETSON_SIZE = (240, 320)
"""The size (H, W) that the Jetson's budget and its fusion are made for; a version of any other size runs on hosts only."""
PARITY_FRAMES = 16
_PATIENCE = 600.0  # seconds to wait for another process that exports the same version

log = logging.getLogger("vortex.export")


def export(ws: Workspace, name: str, *, domain: str | None = None, record: bool = True, on_step: Notice | None = None) -> Export:
    """Write version `name` as ONNX at its trained size, measure its parity on frames of `domain` (default: its own), store and record both.

    The file lies at `build/exports/vN/` too. `record=False` leaves MLflow and the ledger as they are.
    A file that is there already is kept where its SHA-256 is that of the recorded export; its parity is measured all the same.
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
        metadata = contract(version, class_pixels(registry, version)) | {"vortex.torch": str(torch.__version__)}
        if not (_recorded(version, path) and holds(path, metadata)):
            report(f"exporting {version.name} at {version.size[0]}x{version.size[1]}")
            write_onnx(student, version.size, path, metadata)
        digest = sha256_file(path)
        frames = parity_frames(ws, version, domain or version.domain or next((use.domain for use in version.data if use.domain), None))
        report(f"comparing {version.name} with its file on {len(frames.rgb)} frames of {frames.source}")
        parity = measure_parity(student, path, frames.rgb)
        artifact = Artifact(str(path), digest, path.stat().st_size)
        if record:
            artifact = registry.store.log_artifact(version.run_id, path, "exports")
    if artifact.sha256 != digest:
        raise VortexError(f"{path}: was changed while its parity was measured", "run the command again")
    exported = Export(
        artifact,
        FORMAT,
        version.size,
        "fp32",
        OPSET,
        parity.depth_m,
        parity.class_agreement,
        frames.source,
        parity.frames,
        {
            "torch": str(torch.__version__),
            "onnxruntime": str(onnxruntime.__version__),
            "host_only": version.size != JETSON_SIZE,
            PARITY_DOMAIN: frames.domain,
        },
    )
    if record:
        registry.add_export(version.name, exported, actor=actor(), commit=commit(ws))
    return exported


def export_path(ws: Workspace, version: Version) -> Path:
    """Where the version's ONNX file lies in the workspace."""
    height, width = version.size
    return ws.build / "exports" / version.name / f"{version.name}-{height}x{width}.onnx"


@dataclass(frozen=True)
class ParityFrames:
    """Frames [N, H, W, 3] to measure parity on, the names of their sets, and their domain; None for noise, whose source is `noise`."""

    rgb: NDArray[np.uint8]
    source: str
    domain: str | None


def parity_frames(ws: Workspace, version: Version, domain: str | None) -> ParityFrames:
    """Frames evenly spread over those that judge `domain`; where there are none here that can be read, seeded noise."""
    try:
        sets = exam_sets(ws, domain) if domain else ()
        frames = [(exam_set.ref, frame) for exam_set in sets for frame in exam_set.frames]
        places = np.unique(np.linspace(0, len(frames) - 1, PARITY_FRAMES).astype(int)) if frames else ()
        sample = [frames[place] for place in places]
        rgb = [
            row["rgb"]
            for exam_set in sets
            for row in load_arrays(packs_folder(ws), exam_set.ref, [frame for ref, frame in sample if ref == exam_set.ref], version.size)
        ]
    except VortexError as error:  # no such domain, no exam, a broken set: the record says that it is noise
        log.warning("parity of %s is measured on noise: %s", version.name, error)
        rgb = []
    if not rgb:
        return ParityFrames(noise(version.size), NOISE, None)
    return ParityFrames(np.stack(rgb), ", ".join(dict.fromkeys(ref.name for ref, _ in sample)), domain)


def _recorded(version: Version, path: Path) -> bool:
    """Whether the file at `path` is the recorded export, byte for byte."""
    exported = newest(version)
    return exported is not None and path.is_file() and sha256_file(path) == exported.artifact.sha256
