"""Export a version for a runtime: the file, and proof that it answers as the trained student does."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError, VortexError
from core.files import locked, sha256_file, staged_file
from core.machine import cores
from core.progress import NamedProgress, Notice
from models import checkpoint
from pipelines.exam.sets import ExamSet, exam_sets
from pipelines.hub.classes import class_pixels
from pipelines.hub.exports import BUILDS, FORMAT, FP32_PARTS, HOST, INT8_HOST, PARITY_DOMAIN, TASK, Form, TaskResult, newest, task_rules
from pipelines.hub.open import actor, commit, hub
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.ship.export import tensorrt_check
from pipelines.ship.export.calibration import TrainingFrames, training_frames
from pipelines.ship.export.contract import contract
from pipelines.ship.export.half import half_model
from pipelines.ship.export.onnx import OPSET, holds, save, write_onnx
from pipelines.ship.export.parity import NOISE, measure_parity, measure_task, noise, predictor_of_form
from pipelines.ship.export.quantized import write_int8
from pipelines.ship.export.ranges import FRAMES as RANGE_FRAMES
from pipelines.ship.export.ranges import modules_in_fp32, tensor_ranges
from pipelines.workspace import Workspace
from registry.records import Artifact, Export, Version
from registry.versions import Hub

if TYPE_CHECKING:
    from models.student import Student

JETSON_SIZE = (240, 320)
"""The size (H, W) that the Jetson's budget and its fusion are made for; a version of any other size runs on hosts only."""
PARITY_FRAMES = 16
CALIBRATION: Final = "calibration"
"""In an export's detail: the ids of the training frames that 8-bit ranges were measured on, by set and content."""
_PATIENCE = 600.0  # seconds to wait for another process that exports the same version

log = logging.getLogger("vortex.export")


def export(
    ws: Workspace,
    name: str,
    form: Form = HOST,
    *,
    domain: str | None = None,
    fp32_parts: Collection[str] | None = None,
    check: bool = False,
    record: bool = True,
    on_step: Notice | None = None,
    on_progress: NamedProgress | None = None,
) -> Export:
    """Write version `name` as ONNX of this form at its trained size, measure its parity on frames of `domain` (default: its own), store and record both.

    A file of less than fp32 is judged against the network on the whole exam of the domain too. One for a Jetson is shown to NVIDIA's parser
    where that is installed; with `check` it has to be. `fp32_parts` of a half-precision network stay in fp32; None: those of the recorded
    file, else those that hold what FP16 cannot. The file lies at `build/exports/vN/` too. `record=False` leaves MLflow and the ledger as they are.
    A file that is there already is kept where its SHA-256 is that of the recorded export; its parity is measured all the same.
    Raises VortexError for an unknown version, weights that are not those registered, a student that cannot be exported, and 8 bits without
    training frames to measure ranges on.
    """
    import onnxruntime
    import torch

    if check and form == INT8_HOST:
        raise UsageError(
            f"--check asks NVIDIA's parser, which refuses 8 bits as they are made for the host, and this is {form}", "add --target jetson"
        )
    if check:
        tensorrt_check.require_installed()
    report = on_step or (lambda _: None)
    registry = hub(ws)
    version = registry.get(name)
    student, _ = checkpoint.load(registry.artifacts.path(version.checkpoint))
    pixels = class_pixels(registry, version)
    domain = domain or version.domain or next((use.domain for use in version.data if use.domain), None)
    if fp32_parts and form.precision != "fp16":
        raise UsageError(f"parts that stay in fp32 are asked of fp16 files, and this is {form}", "leave them out")
    calibration = training_frames(ws, version) if form.precision == "int8" else None
    path = export_path(ws, version, form)
    with locked(export_path(ws, version).with_suffix(".lock"), _PATIENCE):
        source = fp32_file(ws, registry, version, student, report)
        parts = tuple(fp32_parts) if fp32_parts is not None else parts_in_fp32(ws, version, form, source, report)
        if form != HOST:
            told = contract(version, pixels, form, calibration=calibration.text if calibration else "none", fp32_parts=parts)
            metadata = told | {"vortex.torch": str(torch.__version__)}
            if not (_recorded(version, path, form) and holds(path, metadata)):
                report(f"exporting {version.name} as {form} at {version.size[0]}x{version.size[1]}")
                _write_form(ws, version, source, path, form, metadata, parts, calibration)
        digest = sha256_file(path)
        frames = parity_frames(ws, version, domain)
        report(f"comparing {version.name} with its file on {len(frames.rgb)} frames of {frames.source}")
        with predictor_of_form(path, form) as runtime:
            parity = measure_parity(student, runtime, frames.rgb)
        task = _task(ws, registry, version, path, form, domain, pixels, report, on_progress)
        builds = _builds(path, form, check, report)
        artifact = Artifact(str(path), digest, path.stat().st_size)
        if record:
            artifact = registry.store.log_artifact(version.run_id, path, "exports")
    if artifact.sha256 != digest:
        raise VortexError(f"{path}: was changed while its parity was measured", "run the command again")
    detail: dict[str, Any] = {
        "torch": str(torch.__version__),
        "onnxruntime": str(onnxruntime.__version__),
        "host_only": version.size != JETSON_SIZE,
        PARITY_DOMAIN: frames.domain,
    }
    detail |= {TASK: task.as_json()} if task else {}
    detail |= {BUILDS: builds._asdict()} if builds else {}
    detail |= {FP32_PARTS: list(parts)} if parts else {}
    detail |= {CALIBRATION: calibration.as_json()} if calibration else {}
    exported = Export(
        artifact,
        FORMAT,
        version.size,
        form.precision,
        OPSET,
        parity.depth_m,
        parity.class_agreement,
        frames.source,
        parity.frames,
        detail,
        form.target,
    )
    if record:
        registry.add_export(version.name, exported, actor=actor(), commit=commit(ws))
    return exported


def export_path(ws: Workspace, version: Version, form: Form = HOST) -> Path:
    """Where the version's ONNX file of this form lies in the workspace."""
    height, width = version.size
    return ws.build / "exports" / version.name / f"{version.name}-{height}x{width}{form.suffix}.onnx"


def parts_in_fp32(ws: Workspace, version: Version, form: Form, source: Path, report: Notice) -> tuple[str, ...]:
    """What a half-precision file keeps in fp32: what the recorded one does, for what `--debug` found holds until it is asked again, and the
    modules of the fp32 file `source` that FP16 may not hold, by the values that training frames make there."""
    if form.precision != "fp16":
        return ()
    exported = newest(version, form)
    recorded = tuple(exported.detail.get(FP32_PARTS, ())) if exported else ()
    try:
        frames = training_frames(ws, version, RANGE_FRAMES)
    except VortexError as error:
        log.warning("what FP16 does not hold is not measured: %s", error)
        return recorded
    report(f"ranges of every tensor over {frames.text}")
    return tuple(dict.fromkeys((*recorded, *modules_in_fp32(source, tensor_ranges(source, frames.pictures(ws, version.size))))))


def fp32_file(ws: Workspace, registry: Hub, version: Version, student: Student, report: Notice) -> Path:
    """The version's fp32 file for the host, which every other is made of: kept where it is the recorded one, else written."""
    import torch

    path = export_path(ws, version)
    metadata = contract(version, class_pixels(registry, version), HOST) | {"vortex.torch": str(torch.__version__)}
    if not (_recorded(version, path, HOST) and holds(path, metadata)):
        report(f"exporting {version.name} at {version.size[0]}x{version.size[1]}")
        write_onnx(student, version.size, path, metadata)
    return path


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


def _write_form(
    ws: Workspace,
    version: Version,
    source: Path,
    path: Path,
    form: Form,
    metadata: dict[str, str],
    parts: Collection[str],
    calibration: TrainingFrames | None,
) -> None:
    """Write the fp32 file `source` to `path` in another form; the file is whole or absent."""
    import onnx

    with staged_file(path) as staging:
        if calibration is not None:
            write_int8(source, staging, form.target, calibration.pictures(ws, version.size))
            model = onnx.load(str(staging))
        else:
            model = half_model(source, parts) if form.precision == "fp16" else onnx.load(str(source))
        save(model, version.size, staging, metadata)


def _task(
    ws: Workspace,
    registry: Hub,
    version: Version,
    path: Path,
    form: Form,
    domain: str | None,
    pixels: dict[str, int] | None,
    report: Notice,
    on_progress: NamedProgress | None,
) -> TaskResult | None:
    """How a file of less than fp32 does on the exam; None for fp32, without an exam, and where nothing asks."""
    rules = task_rules()
    sets = exam_of(ws, domain) if form.lossy and domain and rules else ()
    if not sets:
        return None
    with predictor_of_form(path, form, cores()) as runtime:
        return measure_task(ws, registry, version, runtime, sets, rule=rules[0], pixels=pixels, on_step=report, on_progress=on_progress)


def exam_of(ws: Workspace, domain: str) -> tuple[ExamSet, ...]:
    """The sets of a domain's exam, none where it has no exam."""
    try:
        return exam_sets(ws, domain)
    except VortexError as error:
        log.warning("no task is measured: %s", error)
        return ()


def _builds(path: Path, form: Form, check: bool, report: Notice) -> tensorrt_check.Builds | None:
    """What NVIDIA's parser and builder say of a file for a Jetson, or of any with `check`; None where they are not asked."""
    if not (check or (form.target == "jetson" and tensorrt_check.installed())):
        return None
    report(f"asking TensorRT-RTX for an engine of {path.name}")
    return tensorrt_check.build(path)


def _recorded(version: Version, path: Path, form: Form) -> bool:
    """Whether the file at `path` is the recorded export of this form, byte for byte."""
    exported = newest(version, form)
    return exported is not None and path.is_file() and sha256_file(path) == exported.artifact.sha256
