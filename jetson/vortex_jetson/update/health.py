"""Whether a bundle does its task: depth and classes of its own frames, against their truth. A program that starts is not yet a model that sees.

The model runs in a child process, which can crash and hang without taking the agent along:

    python -m vortex_jetson.update.health SLOT RUNTIME [ENGINE]     (prints what it measured, as JSON)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson import child
from vortex_jetson.engines import builds
from vortex_jetson.engines.engine import Engine, open_engine
from vortex_jetson.errors import BadBundle, EngineFailed, Interrupted, LibraryMissing, MemoryShort, RobotError
from vortex_jetson.files import read_plain
from vortex_jetson.formats import bundle as bundles
from vortex_jetson.formats.bundle import Bounds, Bundle, HealthFrame
from vortex_jetson.formats.document import LARGEST_COUNT, Fields
from vortex_jetson.limits import LIMITS, Limits

FARTHEST_M: Final = 10.0
"""Truth beyond it is left out: nobody has measured how wrong a student is there."""
CONSTANT_M: Final = 0.01
"""Depth that spreads less over every picture says the same of all pixels."""
UNLABELLED: Final = 255
NPY_HEADER: Final = 128
"""Bytes of the header of such an array, padded by numpy.save."""
_NPY: Final = re.compile(
    rb"\x93NUMPY\x01\x00.\x00\{'descr': '(?P<dtype>\|u1|<u2)', 'fortran_order': False, 'shape': \((?P<shape>[0-9]{1,5}(?:, [0-9]{1,5}){1,2})\), \} *\n",
    re.DOTALL,
)
"""numpy's own reader evaluates the header as Python, and lets errors of several kinds pass; a file of a bundle has this one form."""


@dataclass(frozen=True)
class Frame:
    """A health frame: uint8 [H,W,3] RGB, float32 [H,W] depth in metres with 0 for unknown, uint8 [H,W] classes or None."""

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    classes: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Measured:
    """What a model answered, against the truth."""

    rmse_m: float
    """Over the pixels of all frames with truth in (0, 10] m; NaN where an answer is no number."""
    worst_rmse_m: float
    """Of one frame."""
    class_agreement: float | None
    """Share of labelled pixels whose largest logit is their class; None without labels."""
    spread_m: float
    """Largest difference of depth within a picture."""
    change_m: float | None
    """Largest difference of depth between two pictures at a pixel; None with one picture."""


def measure(engine: Engine, frames: Iterable[Frame]) -> Measured:
    """Run a model on frames. Raises EngineFailed. Whoever publishes a bundle takes its bounds from this too."""
    squares, counts, right, labelled = [], [], 0, 0
    spread, change, first = 0.0, None, None
    for frame in frames:
        depth, logits = engine.run(frame.rgb)
        valid = (frame.depth > 0) & (frame.depth <= FARTHEST_M)
        squares.append(float(np.square(depth[valid].astype(np.float64) - frame.depth[valid]).sum()))
        counts.append(int(valid.sum()))
        spread = float(np.maximum(spread, np.ptp(depth)))  # NaN stays NaN, which max() would lose
        if first is None:
            first = depth
        else:
            change = float(np.maximum(change or 0.0, np.abs(depth - first).max()))
        if frame.classes is not None:
            marked = frame.classes != UNLABELLED
            right += int((logits.argmax(0)[marked] == frame.classes[marked]).sum())
            labelled += int(marked.sum())
    each = [float(np.sqrt(square / count)) for square, count in zip(squares, counts, strict=True) if count]
    return Measured(
        float(np.sqrt(sum(squares) / sum(counts))) if sum(counts) else float("nan"),
        float(np.max(each)) if each else float("nan"),
        right / labelled if labelled else None,
        spread,
        change,
    )


def verdict(measured: Measured, bounds: Bounds) -> str | None:
    """Why a model does not do its task; None where it does. Written so that what is no number fails too."""
    if not all(np.isfinite(value) for value in (measured.rmse_m, measured.worst_rmse_m, measured.spread_m)):
        return "its depth is not a number somewhere"
    if measured.spread_m < CONSTANT_M:
        return f"its depth is constant: it spreads over {1000 * measured.spread_m:.1f} mm at most"
    if measured.change_m is not None and not measured.change_m > 0:
        return "it answers every picture alike"
    if not measured.rmse_m <= bounds.rmse_m:
        return f"depth is off by {measured.rmse_m:.3f} m (RMSE), allowed: {bounds.rmse_m:.3f} m"
    if not measured.worst_rmse_m <= bounds.worst_rmse_m:
        return f"depth of its worst frame is off by {measured.worst_rmse_m:.3f} m (RMSE), allowed: {bounds.worst_rmse_m:.3f} m"
    if bounds.class_agreement is not None and not (measured.class_agreement or 0.0) >= bounds.class_agreement:
        return f"{100 * (measured.class_agreement or 0.0):.1f} % of the classes are right, allowed: {100 * bounds.class_agreement:.1f} % and more"
    return None


def require_declared(engine: Engine, frame: Frame, bundle: Bundle) -> None:
    """See that a model has the size and the classes by which a robot will ask it. Raises EngineFailed."""
    size, answered = frame.rgb.shape[:2], len(engine.run(frame.rgb)[1])
    if size != bundle.size:
        raise EngineFailed(f"its size is {size[0]}x{size[1]}, the manifest says {bundle.size[0]}x{bundle.size[1]}", "publish it again")
    if answered != len(bundle.classes):
        raise EngineFailed(f"it answers {answered} classes, the manifest names {len(bundle.classes)}", "publish it again")


@dataclass(frozen=True)
class Result:
    """How a health run ended: `reason` is why it failed, None where the bundle does its task; `crashed` says that the process died."""

    reason: str | None
    crashed: bool = False
    measured: Measured | None = None


def check(slot: Path, bundle: Bundle, runtime: str, limits: Limits = LIMITS, engine: Path | None = None) -> Result:
    """Run the bundle of a slot on its frames in a child process, by the `engine` that was built of it where the library needs one, and judge.

    Raises Interrupted where the child was ended from outside, LibraryMissing where the library that runs models cannot be loaded, and MemoryShort.
    """
    arguments = [slot.absolute(), runtime, *([] if engine is None else [engine.absolute()])]
    try:
        measured = _measured(child.ask("vortex_jetson.update.health", arguments, limits.health_s, "the health check"))
    except child.Died as death:
        return Result(death.reason, crashed=not death.hung)
    except (Interrupted, LibraryMissing, MemoryShort):
        raise
    except RobotError as error:
        return Result(error.message)
    return Result(verdict(measured, bundle.health.bounds), measured=measured)


def load(folder: Path, frame: HealthFrame, limits: Limits = LIMITS) -> Frame:
    """Read a health frame. Raises BadBundle for arrays of another type or shape, and for larger ones, before they take memory."""
    rgb = _array(folder / frame.rgb, np.dtype(np.uint8), 3, limits)
    depth = _array(folder / frame.depth, np.dtype(np.uint16), 2, limits)
    classes = _array(folder / frame.classes, np.dtype(np.uint8), 2, limits) if frame.classes is not None else None
    if rgb.shape[2] != 3 or depth.shape != rgb.shape[:2] or (classes is not None and classes.shape != depth.shape):
        raise BadBundle(f"{folder / frame.rgb}: picture, depth and classes differ in shape", "publish the version again")
    return Frame(rgb, depth.astype(np.float32) / np.float32(1000), classes)


def _array(path: Path, dtype: np.dtype[Any], dimensions: int, limits: Limits) -> NDArray[Any]:
    try:
        content = read_plain(path, limits.health_pixels * 3 + NPY_HEADER)
        header = _NPY.match(content[:NPY_HEADER])
        if header is None or np.dtype(header["dtype"].decode()) != dtype:
            raise ValueError("as numpy.save writes it")
        shape = tuple(map(int, header["shape"].decode().split(",")))
        if len(shape) != dimensions or shape[0] * shape[1] > limits.health_pixels:
            raise ValueError(f"{shape}, at most {limits.health_pixels:,} pixels")
        values = content[header.end() :]
        if len(values) != int(np.prod(shape)) * dtype.itemsize:
            raise ValueError("its bytes do not fit its shape")
    except (OSError, ValueError) as error:
        raise BadBundle(f"{path}: is no array of {dtype} in {dimensions} dimensions ({error})", "publish the version again") from error
    return np.frombuffer(values, dtype).reshape(shape)


def _measured(fields: Fields) -> Measured:
    def number(name: str) -> float:
        value = fields.optional(name, lambda name: fields.number(name, 0, LARGEST_COUNT))
        return float("nan") if value is None else value

    return Measured(
        number("rmse_m"),
        number("worst_rmse_m"),
        fields.optional("class_agreement", lambda name: fields.number(name, 0, 1)),
        number("spread_m"),
        fields.optional("change_m", lambda name: fields.number(name, 0, LARGEST_COUNT)),
    )


def main(slot: str, runtime: str, engine: str | None = None) -> str:
    """The child's work: what it prints."""
    folder = Path(slot, "bundle")
    try:
        bundle = bundles.parse(Path(slot, "manifest.json").read_bytes())
        built = builds.read(Path(engine), bundle) if engine is not None else None
        model = open_engine(runtime, folder, bundle, built)
        require_declared(model, load(folder, bundle.health.frames[0]), bundle)
        measured = asdict(measure(model, (load(folder, frame) for frame in bundle.health.frames)))
    except RobotError as error:
        return child.refusal(error)
    # JSON has no word for what is not finite: null.
    return child.answer({name: value if value is None or np.isfinite(value) else None for name, value in measured.items()})


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]))
