"""Whether a bundle does its task: depth and classes of its own frames, against their truth. A program that starts is not yet a model that sees.

The model runs in a child process, which can crash and hang without taking the agent along:

    python -m vortex_jetson.update.health FOLDER MANIFEST RUNTIME     (prints what it measured, as JSON)
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.engines.engine import Engine, LibraryMissing, open_engine
from vortex_jetson.errors import BadBundle, BadDocument, Interrupted, RobotError, plain
from vortex_jetson.files import read_plain
from vortex_jetson.formats import bundle as bundles
from vortex_jetson.formats.bundle import Bounds, Bundle, HealthFrame
from vortex_jetson.formats.document import LARGEST_COUNT, LONGEST_LINE, Fields, read
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
LARGEST_ANSWER: Final = 100_000
STOPPED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals by which somebody ends a service; no fault of a model sends them."""


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
        known = (frame.depth > 0) & (frame.depth <= FARTHEST_M)
        squares.append(float(np.square(depth[known].astype(np.float64) - frame.depth[known]).sum()))
        counts.append(int(known.sum()))
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


@dataclass(frozen=True)
class Result:
    """How a health run ended: `reason` is why it failed, None where the bundle does its task; `crashed` says that the process died."""

    reason: str | None
    crashed: bool = False
    measured: Measured | None = None


def check(slot: Path, bundle: Bundle, runtime: str, limits: Limits = LIMITS) -> Result:
    """Run the bundle of a slot on its frames in a child process, and judge.

    Raises Interrupted where the child was ended from outside, and LibraryMissing where the library that runs models cannot be loaded.
    """
    slot = slot.absolute()
    command = [sys.executable, "-m", "vortex_jetson.update.health", str(slot / "bundle"), str(slot / "manifest.json"), runtime]
    try:
        child = run_child(command, limits.health_s)
    except OSError as error:
        raise RobotError(f"the health check cannot be started ({error.strerror})", "free memory, and pull again") from error
    except subprocess.TimeoutExpired:
        return Result(f"it did not answer within {limits.health_s:g} s")
    if child.returncode < 0 and -child.returncode in STOPPED:
        raise Interrupted("the health check was ended from outside; it says nothing about the bundle", "vortex-jetson health")
    if child.returncode < 0:
        return Result(f"its process died of {signal.Signals(-child.returncode).name}", crashed=True)
    try:
        fields = read(child.stdout, LARGEST_ANSWER, "the answer of the health check")
        failure = fields.optional("failure", fields.line)
        missing = fields.optional("missing", fields.line)
        measured = fields.optional("measured", lambda name: _measured(fields.part(name)))
    except BadDocument:
        return Result(f"its process ended with {child.returncode}: {_last_line(child.stderr)}", crashed=True)
    if missing is not None:
        raise LibraryMissing(missing, "nothing was tried out, and what runs goes on")
    if failure is not None or measured is None:
        return Result(failure or "it measured nothing")
    return Result(verdict(measured, bundle.health.bounds), measured=measured)


def run_child(command: list[str], seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program for so long at most. Raises OSError where it cannot be started, and TimeoutExpired once it was ended."""
    # Python looks for modules in the folder that it is called in: in / nobody puts any.
    return subprocess.run(command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL, cwd="/", check=False)


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
        # JSON has no word for what is not finite: null.
        value = fields.optional(name, lambda name: fields.number(name, 0, LARGEST_COUNT))
        return float("nan") if value is None else value

    return Measured(
        number("rmse_m"),
        number("worst_rmse_m"),
        fields.optional("class_agreement", lambda name: fields.number(name, 0, 1)),
        number("spread_m"),
        fields.optional("change_m", lambda name: fields.number(name, 0, LARGEST_COUNT)),
    )


def _last_line(text: bytes) -> str:
    return (text.decode("utf-8", "replace").strip().splitlines() or ["no word of why"])[-1][:200]


def main(folder: str, manifest: str, runtime: str) -> str:
    """The child's work: what it prints."""
    try:
        bundle = bundles.parse(Path(manifest).read_bytes())
        engine = open_engine(runtime, Path(folder), bundle)
        measured = asdict(measure(engine, (load(Path(folder), frame) for frame in bundle.health.frames)))
    except LibraryMissing as error:
        return json.dumps({"failure": None, "missing": plain(error.message, LONGEST_LINE), "measured": None})
    except RobotError as error:
        return json.dumps({"failure": plain(error.message, LONGEST_LINE), "missing": None, "measured": None})
    finite = {name: value if value is None or np.isfinite(value) else None for name, value in measured.items()}
    return json.dumps({"failure": None, "missing": None, "measured": finite})


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:]))
