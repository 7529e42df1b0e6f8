"""Does the exported file answer as the student does? Both run the same frames, and the worst pixel is the answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from pipelines.ship.export.onnx import INPUT

if TYPE_CHECKING:
    from models.student import Student

NOISE = "noise"
NOISE_FRAMES = 4


@dataclass(frozen=True)
class Parity:
    """How far an exported file is from the student that it was made of."""

    depth_m: float
    """Largest absolute difference of depth over all pixels of all frames, in metres; NaN when either is not finite."""
    class_agreement: float
    """Fraction of pixels whose most likely class is the same."""
    frames: int


def session(path: Path, threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU. Raises VortexError when the file is not one that it can run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # for the same reason as `core.environment.WAITING`
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no message"])[0]
        raise VortexError(f"{path}: ONNX Runtime cannot run it ({first})", "export the version again") from error


def measure_parity(student: Student, path: Path, rgb: NDArray[np.uint8]) -> Parity:
    """Run frames `rgb` [N, H, W, 3] through the student (torch eager, CPU) and through the file at `path`, one at a time."""
    import torch

    student = student.cpu().eval()
    runtime = session(path)
    worst, same, pixels = 0.0, 0, 0
    for frame in rgb:
        image = np.ascontiguousarray(frame.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        with torch.inference_mode():
            expected = student(torch.from_numpy(image))
        depth, logits = runtime.run(None, {INPUT: image})
        difference = float(np.abs(depth - expected.depth.numpy()).max())
        # max() would drop a NaN on one side of the comparison; np.fmax would drop it on both.
        worst = difference if np.isnan(difference) or difference > worst else worst
        agree = logits.argmax(axis=1) == expected.logits.numpy().argmax(axis=1)
        same, pixels = same + int(agree.sum()), pixels + agree.size
        if np.isnan(worst):
            break
    return Parity(worst, same / max(pixels, 1), len(rgb))


def noise(size: tuple[int, int], frames: int = NOISE_FRAMES, seed: int = 0) -> NDArray[np.uint8]:
    """Seeded uniform noise [N, H, W, 3]: what parity runs on where the version's own frames are not at hand."""
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
