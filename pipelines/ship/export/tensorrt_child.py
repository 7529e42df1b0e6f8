"""Parse and build one ONNX file by NVIDIA's library, alone in a process: it crashes where something is wrong, and takes nobody with it.

    python tensorrt_child.py FILE     answers with one line of JSON

It imports nothing of Vortex, so that it starts at once and under any Python that has the library.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def build(path: Path) -> dict[str, Any]:
    """Whether the library takes the file as a strongly typed network, and what it said."""
    import tensorrt_rtx_bindings as trt

    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    library = f"TensorRT-RTX {trt.__version__}"
    started = time.perf_counter()
    if not parser.parse(path.read_bytes()):
        error = parser.get_error(0)
        return {"passed": False, "text": f"{library} does not parse it: {error.desc()}"}
    engine = builder.build_serialized_network(network, builder.create_builder_config())
    if engine is None:
        return {"passed": False, "text": f"{library} parses its {network.num_layers} layers and builds no engine of them"}
    seconds, megabytes = time.perf_counter() - started, engine.nbytes / 1e6
    return {"passed": True, "text": f"{library} takes its {network.num_layers} layers: an engine of {megabytes:.1f} MB in {seconds:.1f} s"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(build(Path(sys.argv[1]))) + "\n")
