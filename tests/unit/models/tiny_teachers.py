"""Tiny random models of the same classes as the real teachers, written to disk as the real ones are published.

`tiny_da2`, `tiny_sam2` and `tiny_yolo` each write loadable weights in well under a second, so that every adapter's real code runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def tiny_da2(folder: Path, kind: str | None = "relative") -> Path:
    """A Depth Anything on a 4-layer DINOv2 of width 32. `kind`: relative, metric (20 m), or None: a configuration that does not say."""
    import json

    import torch
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    backbone = Dinov2Config(
        image_size=70,
        patch_size=14,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        reshape_hidden_states=False,
        initializer_range=0.3,
    )
    backbone.set_output_features_output_indices(out_features=None, out_indices=[1, 2, 3, 4])
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind or "relative",
        max_depth=20,
        initializer_range=0.15,
    )
    torch.manual_seed(0)
    model = DepthAnythingForDepthEstimation(config)
    # A random head gives zeros where its ReLU bites, or where the sigmoid of the metric kind saturates.
    torch.nn.init.constant_(model.head.conv3.bias, 0.5 if kind == "metric" else 3.0)
    model.save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 70, "width": 70},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        resample=3,
        do_pad=False,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    if kind is None:
        path = folder / "config.json"
        written = json.loads(path.read_text())
        written.pop("depth_estimation_type", None)
        path.write_text(json.dumps(written))
    return folder


def tiny_sam2(folder: Path) -> Path:
    """A SAM 2 of half a million parameters that looks at 128x128 pixels."""
    import torch
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2Processor
    from transformers.models.sam2.configuration_sam2 import (
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    side = 128
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[side, side],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[side // 4] * 2, [side // 8] * 2, [side // 16] * 2],
        fpn_hidden_size=64,
    )
    config = Sam2Config(
        vision_config=vision,
        prompt_encoder_config=Sam2PromptEncoderConfig(hidden_size=64, image_size=side, mask_input_channels=4),
        mask_decoder_config=Sam2MaskDecoderConfig(hidden_size=64, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=32),
    )
    torch.manual_seed(0)
    Sam2Model(config).save_pretrained(folder)
    size = {"height": side, "width": side}
    mask = {"height": side // 4, "width": side // 4}
    Sam2Processor(Sam2ImageProcessor(size=size, mask_size=mask), target_size=side).save_pretrained(folder)
    return folder


def tiny_yolo(folder: Path) -> Path:
    """The file of a YOLOv8-nano with random weights and COCO's names, biased to find people and chairs."""
    import torch

    from models.teachers.yolo import _ultralytics

    library = _ultralytics()
    from ultralytics.utils import ROOT, YAML

    torch.manual_seed(0)
    yolo = library.YOLO("yolov8n.yaml", task="detect", verbose=False)
    network = yolo.model
    network.names = dict(YAML.load(ROOT / "cfg/datasets/coco8.yaml")["names"])
    # One picture in training mode sets the statistics of batch normalisation: otherwise random layers damp every signal to nothing.
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(picture((128, 128))).permute(2, 0, 1)[None].repeat(2, 1, 1, 1) / 255)
    network.eval()
    for branch in network.model[-1].cv3:
        bias = branch[-1].bias.data
        bias[:] = -6.0
        bias[0] = bias[56] = 0.0
        torch.nn.init.normal_(branch[-1].weight, std=0.02)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "yolov8n.pt"
    yolo.save(file)
    return file


def picture(size: tuple[int, int] = (48, 64), seed: int = 0) -> NDArray[np.uint8]:
    """A smooth coloured picture with a few rectangles: uint8 [H,W,3]."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    rgb = np.stack([x * 255 / size[1], y * 255 / size[0], (x + y) * 255 / sum(size)], -1).astype(np.uint8)
    for _ in range(4):
        top, left = random.integers(0, size[0] // 2), random.integers(0, size[1] // 2)
        rgb[top : top + size[0] // 3, left : left + size[1] // 3] = random.integers(0, 256, 3)
    return rgb
