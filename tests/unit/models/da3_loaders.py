"""Models that the worker of the teacher da3 loads in tests: real processes and real pipes, small or ill-behaved networks.

Runs in the worker's process: `FILE.py:FUNCTION` takes (weights, device) and returns an object with `.inference`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

CRASH, EXIT, HANG, NAN, RAISE, WRONG_SHAPE = range(201, 207)
"""Red of the first pixel that makes `moody` misbehave."""


def processed(picture: np.ndarray, process_res: int) -> tuple[int, int]:
    """The size that the network would see: the longer side `process_res`, both multiples of 14."""
    scale = process_res / max(picture.shape[:2])
    return tuple(max(14, round(side * scale / 14) * 14) for side in picture.shape[:2])  # type: ignore[return-value]


def flat(weights: str, device: str) -> Any:
    """Depth 2.0 everywhere."""

    def inference(images: list[np.ndarray], process_res: int, process_res_method: str) -> Any:
        assert len(images) == 1 and process_res_method == "upper_bound_resize"
        return SimpleNamespace(depth=np.full((1, *processed(images[0], process_res)), 2.0, np.float32), is_metric=0)

    return SimpleNamespace(inference=inference)


def moody(weights: str, device: str) -> Any:
    """Random depth from the seeded generator, chatter on standard output, and one kind of failure for each colour of the first pixel."""
    print("loading, says a library on standard output")

    def inference(images: list[np.ndarray], process_res: int, process_res_method: str) -> Any:
        print("chatter on standard output\n" * 1000)
        os.write(1, b"and past Python's own buffer\n")
        depth = np.random.rand(1, *processed(images[0], process_res)).astype(np.float32) + 1
        mood = int(images[0][0, 0, 0])
        if mood == CRASH:
            print("about to crash", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if mood == EXIT:
            os._exit(7)
        if mood == HANG:
            time.sleep(600)
        if mood == NAN:
            depth[0, 3, 4] = np.nan
        if mood == RAISE:
            raise RuntimeError("out of memory, or so it says\nsecond line")
        if mood == WRONG_SHAPE:
            depth = depth[:, None]
        return SimpleNamespace(depth=depth)

    return SimpleNamespace(inference=inference)


def broken(weights: str, device: str) -> Any:
    """A model that cannot be loaded."""
    raise ValueError("size mismatch for head.weight")


def endless(weights: str, device: str) -> Any:
    """A model that never finishes loading."""
    time.sleep(600)


def convolution(weights: str, device: str) -> Any:
    """A convolution in torch with dropout left on: the same picture gives the same depth only because every call is seeded."""
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Dropout(0.5), torch.nn.Conv2d(4, 1, 1))

    def inference(images: list[np.ndarray], process_res: int, process_res_method: str) -> Any:
        pixels = torch.from_numpy(images[0].copy()).permute(2, 0, 1)[None].float() / 255
        resized = torch.nn.functional.interpolate(pixels, size=processed(images[0], process_res), mode="bilinear")
        with torch.no_grad():
            return SimpleNamespace(depth=network(resized)[:, 0].exp())

    return SimpleNamespace(inference=inference)


TINY = """
__object__: {path: depth_anything_3.model.da3, name: DepthAnything3Net, args: as_params}
net:
  __object__: {path: depth_anything_3.model.dinov2.dinov2, name: DinoV2, args: as_params}
  name: vits
  out_layers: [0, 1, 2, 3]
  alt_start: -1
  qknorm_start: -1
  rope_start: -1
  cat_token: false
head:
  __object__: {path: depth_anything_3.model.dpt, name: DPT, args: as_params}
  dim_in: 384
  output_dim: 1
  features: 16
  out_channels: [8, 8, 16, 16]
"""


def depth_anything(weights: str, device: str) -> Any:
    """The worker's own loader on random weights of Depth Anything 3's own classes: the metric network's parts, small, four layers deep.

    The library knows its networks by name, so it is taught the name da3metric-tiny; it saves the weights, and the worker reads them.
    """
    import torch
    from depth_anything_3 import api
    from depth_anything_3.model.dinov2 import dinov2
    from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer

    def four_layers(**options: Any) -> Any:
        return DinoVisionTransformer(**{**options, "patch_size": 14, "embed_dim": 384, "depth": 4, "num_heads": 6, "mlp_ratio": 4})

    dinov2.vit_small = four_layers
    folder = Path(weights) / "tiny"
    folder.mkdir(exist_ok=True)
    (folder / "network.yaml").write_text(TINY)
    api.MODEL_REGISTRY["da3metric-tiny"] = str(folder / "network.yaml")
    if not (folder / "model.safetensors").exists():
        torch.manual_seed(0)
        api.DepthAnything3(model_name="da3metric-tiny").save_pretrained(folder)
    return sys.modules["__main__"].load(str(folder), device)


def depth_anything_cut(weights: str, device: str) -> Any:
    """The same, from a file that lacks a tensor of the network."""
    from safetensors.numpy import load_file, save_file

    depth_anything(weights, device)
    file = Path(weights) / "tiny" / "model.safetensors"
    tensors = load_file(file)
    tensors.pop("model.backbone.pretrained.blocks.0.attn.qkv.weight")
    save_file(tensors, file)
    return depth_anything(weights, device)
