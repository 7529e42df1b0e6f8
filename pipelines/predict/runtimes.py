"""A student as a function from pictures to answers, run by torch or by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from vortex_jetson.engines.onnx_file import is_whole

from core.errors import VortexError

if TYPE_CHECKING:
    from models.student import Student

INPUT, DEPTH, LOGITS = "rgb", "depth", "logits"
"""The one input and the two outputs of an exported file."""
LARGEST_BYTE: Final = np.float32(255)


class Answers(NamedTuple):
    """What a student says of a batch: `depth` [B,H,W] in metres, `logits` [B,C,H,W]."""

    depth: NDArray[np.float32]
    logits: NDArray[np.float32]


Predictor = Callable[[NDArray[np.uint8]], Answers]
"""From pictures [B,H,W,3], RGB bytes at the student's size, to answers of that size."""


def of_student(student: Student, device: str = "cpu") -> Predictor:
    """A student in the mode that it is in, on the device where it lies.

    On the CPU a batch is shared out among as many threads as torch has here, each for itself: threads that share one picture wait for each
    other in every layer, which costs time alone and much more beside other work (docs/decisions/environment.md).
    """
    import torch

    def answers(rgb: NDArray[np.uint8]) -> Answers:
        with torch.inference_mode():
            prediction = student(torch.from_numpy(np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))).to(device).float() / 255)
        return Answers(prediction.depth[:, 0].cpu().numpy(), prediction.logits.cpu().numpy())

    def predict(rgb: NDArray[np.uint8]) -> Answers:
        threads = torch.get_num_threads()
        if device != "cpu" or min(threads, len(rgb)) < 2:
            return answers(rgb)
        torch.set_num_threads(1)  # a thread that torch does not know yet begins with this number
        try:
            return _shared_out(answers, rgb, threads)
        finally:
            torch.set_num_threads(threads)

    return predict


def of_file(path: Path, threads: int = 1) -> Predictor:
    """An exported file, frame by frame, on the CPU: one picture by `threads` threads, of several each by one. torch takes no part.

    Raises VortexError when it is not one that can be run.
    """
    whole = session(path, threads)
    single = whole if threads == 1 else session(path)

    def answers(rgb: NDArray[np.uint8], runtime: Any) -> Answers:
        results = [runtime.run([DEPTH, LOGITS], {INPUT: scaled(picture)}) for picture in rgb]
        return Answers(*(np.concatenate(parts) for parts in zip(*((depth[:, 0], logits) for depth, logits in results), strict=True)))

    def predict(rgb: NDArray[np.uint8]) -> Answers:
        if min(threads, len(rgb)) < 2:
            return answers(rgb, whole)
        return _shared_out(partial(answers, runtime=single), rgb, threads)

    return predict


def _shared_out(predict: Predictor, rgb: NDArray[np.uint8], threads: int) -> Answers:
    """The answers to a batch of which each thread takes a part."""
    parts = np.array_split(rgb, min(threads, len(rgb)))
    with ThreadPoolExecutor(len(parts)) as pool:
        return Answers(*map(np.concatenate, zip(*pool.map(predict, parts), strict=True)))


def flipped(predictor: Predictor) -> Predictor:
    """The mean of what `predictor` answers for a picture and, turned back, for its mirror image: test-time augmentation."""

    def predict(rgb: NDArray[np.uint8]) -> Answers:
        straight, mirrored = predictor(rgb), predictor(np.ascontiguousarray(rgb[:, :, ::-1]))
        return Answers(
            np.float32(0.5) * (straight.depth + mirrored.depth[..., ::-1]),
            np.float32(0.5) * (straight.logits + mirrored.logits[..., ::-1]),
        )

    return predict


def scaled(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A picture [H,W,3] as the file's input [1,3,H,W] in [0, 1]."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], dtype=np.float32) / LARGEST_BYTE


def content_of(path: Path) -> bytes:
    """An exported file, as every library gets it: what is recorded is the digest of this file alone, so no library is given a path by which
    it would read others. Raises VortexError for a file that cannot be read, is no ONNX, or names others that hold its tensors."""
    try:
        content = path.read_bytes()
        whole = is_whole(content)
    except (OSError, ValueError) as error:
        raise VortexError(f"{path}: is no ONNX file that can be run ({error})", "export the version again") from error
    if not whole:
        raise VortexError(f"{path}: names other files, which nobody has verified, and is not run", "export the version again")
    return content


def session(path: Path, threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU. Raises VortexError when the file is not one that it can run, or is not all of its model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # for the same reason as `core.environment.WAITING`
    options.log_severity_level = 3
    content = content_of(path)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no message"])[0]
        raise VortexError(f"{path}: ONNX Runtime cannot run it ({first})", "export the version again") from error
