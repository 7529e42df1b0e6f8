"""Depth Anything 3 metric behind a pipe. Runs in an environment of its own and imports nothing of Vortex.

    python worker.py --weights FOLDER --device auto --parent PID [--loader FILE.py:FUNCTION]

Protocol, version 1: every message is one line of JSON, followed by raw bytes where `shape` says so.
  first, from here   {"v": 1, "ready": true}                                     or {"v": 1, "error": text} and the process ends
  question           {"v": 1, "id": n, "shape": [H, W, 3], "process_res": 504, "method": ..., "seed": 0}  then H*W*3 bytes, RGB
  answer             {"v": 1, "id": n, "shape": [h, w]}  then h*w little-endian float32: the network's raw depth at the processed size
                     or {"v": 1, "id": n, "error": text}; the process goes on
The process ends when its input ends, and when its parent has gone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

VERSION = 1
PARENT_SECONDS = 0.5
"""How often the parent is looked for. Asking the kernel to signal us instead (PDEATHSIG) would follow the parent's thread, not the parent."""


def main() -> int:
    """Load the model, say so, and answer questions until the input ends. Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--loader", default="")
    options = parser.parse_args()

    questions, answers = own_the_pipes()
    threading.Thread(target=watch_parent, args=(options.parent,), daemon=True).start()
    try:
        model = (loader(options.loader) if options.loader else load)(options.weights, options.device)
    except Exception as error:  # whatever goes wrong while loading is told over the pipe, in one line
        say(answers, {"v": VERSION, "error": one_line(error)})
        raise
    say(answers, {"v": VERSION, "ready": True})
    while True:
        line = questions.readline()
        if not line:
            return 0
        question = json.loads(line)
        size = math.prod(question["shape"])
        pixels = questions.read(size)
        if len(pixels) != size:
            return 0
        answer(model, question, pixels, answers)


def own_the_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the pipes to the parent for the protocol alone: what a library prints goes to standard error, and it reads nothing."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return questions, answers


def watch_parent(parent: int) -> None:
    """End this process when its parent has gone, even in the middle of a picture: no orphan keeps the GPU's memory."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(0)


def loader(place: str) -> Any:
    """The function FUNCTION of the file in "FILE.py:FUNCTION": it takes (weights, device) and returns what has `.inference`."""
    file, _, function = place.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)


def load(weights: str, device: str) -> Any:
    """Depth Anything 3 from a local folder.

    The library loads weights that do not fit without a word and leaves the rest random, so the file is compared with the network first.
    """
    import torch
    from depth_anything_3.api import DepthAnything3  # type: ignore[import-not-found]  # in this file's own environment
    from safetensors import safe_open

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    model = DepthAnything3.from_pretrained(weights, local_files_only=True)
    with safe_open(Path(weights) / "model.safetensors", "pt") as file:
        missing = sorted({name for name, _ in model.named_parameters()} - set(file.keys()))
    if missing:
        raise ValueError(f"{len(missing)} of the network's tensors are not in model.safetensors, such as {missing[0]}")
    return model.to(device).eval()


def answer(model: Any, question: dict[str, Any], pixels: bytes, answers: BinaryIO) -> None:
    """Run the model on one picture and write its raw depth, or one line that says why there is none."""
    import numpy as np

    try:
        picture = np.frombuffer(pixels, np.uint8).reshape(question["shape"])
        seed(int(question["seed"]))
        out = model.inference([picture], process_res=question["process_res"], process_res_method=question["method"]).depth
        depth = np.ascontiguousarray(np.asarray(out)[0], "<f4")
        if depth.ndim != 2:
            raise ValueError(f"depth of shape {np.asarray(out).shape}, wanted (1, h, w)")
    except Exception as error:  # one picture failed; the next may do
        say(answers, {"v": VERSION, "id": question["id"], "error": one_line(error)})
        return
    say(answers, {"v": VERSION, "id": question["id"], "shape": list(depth.shape)}, depth.tobytes())


def seed(value: int) -> None:
    """Seed all that the library draws from: above 100,000 pixels its sky is filled from a random sample of the depth."""
    import numpy as np

    random.seed(value)
    np.random.seed(value)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(value)


def say(answers: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Write one message."""
    answers.write(json.dumps(header).encode() + b"\n" + payload)
    answers.flush()


def one_line(error: Exception) -> str:
    """An error's type and first line."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"


if __name__ == "__main__":
    sys.exit(main())
