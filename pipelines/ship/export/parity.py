"""Does the exported file answer as the student does? Both run the same frames, and the worst pixel is the answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.predict.runtimes import of_file, of_student

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


def measure_parity(student: Student, path: Path, rgb: NDArray[np.uint8]) -> Parity:
    """Run frames `rgb` [N, H, W, 3] through the student (torch eager, CPU) and through the file at `path`, one at a time."""
    eager, runtime = of_student(student.cpu().eval()), of_file(path)
    worst, same, pixels = 0.0, 0, 0
    for frame in rgb:
        expected, answers = eager(frame[None]), runtime(frame[None])
        difference = float(np.abs(answers.depth - expected.depth).max())
        # max() would drop a NaN on one side of the comparison; np.fmax would drop it on both.
        worst = difference if np.isnan(difference) or difference > worst else worst
        agree = answers.logits.argmax(axis=1) == expected.logits.argmax(axis=1)
        same, pixels = same + int(agree.sum()), pixels + agree.size
        if np.isnan(worst):
            break
    return Parity(worst, same / max(pixels, 1), len(rgb))


def noise(size: tuple[int, int], frames: int = NOISE_FRAMES, seed: int = 0) -> NDArray[np.uint8]:
    """Seeded uniform noise [N, H, W, 3]: what parity runs on where the version's own frames are not at hand."""
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)
