"""The student: one RGB image in, dense metric depth and six class logits out (5.31 M parameters with EfficientViT-B1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.classes import CLASSES
from core.errors import VortexError
from models.encoders import ENCODERS
from models.pretrained import load_encoder_weights

NECK_CHANNELS: Final = 128
DECODER_CHANNELS: Final = (64, 32, 16)
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
INITIAL_DEPTH_M: Final = 2.0
"""Bias the depth head starts from. With a zero bias the final ReLU of a fresh head is shut on about half of the pixels, which
then pass no gradient; 2 m is the middle of the near and mid ranges that the students are used in."""


class Prediction(NamedTuple):
    """What a student says about a batch: `depth` [B,1,H,W] in metres, `logits` [B,classes,H,W]."""

    depth: Tensor
    logits: Tensor


@dataclass(frozen=True)
class StudentConfig:
    """What must be known to build a student: timm's encoder name, the (H, W) it is trained at, and the class order."""

    encoder: str = "efficientvit_b1"
    size: tuple[int, int] = (240, 320)
    classes: tuple[str, ...] = CLASSES


class UpBlock(nn.Module):
    """Double the resolution, join the encoder's features of that stride, fuse.

    `x` [B,C,h,w] and `skip` [B,S,H,W] give [B,out,H,W]. At 240×320 the deepest map is 8×10 and its skip 15×20, so the
    upsampled map (16×20) is resized to the skip rather than the skip to it: the encoder's map keeps its pixels.
    """

    def __init__(self, channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, out_channels, kernel_size=4, stride=2, padding=1)
        self.bn = nn.BatchNorm2d(out_channels)
        # The convolutions before a batch norm keep their (redundant) biases: existing checkpoints hold them.
        self.fuse = nn.Sequential(
            nn.Conv2d(out_channels + skip_channels, out_channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the fused map at the skip's resolution."""
        x = resize(F.relu(self.bn(self.up(x))), skip.shape[-2:])
        fused: Tensor = self.fuse(torch.cat([x, skip], dim=1))
        return fused


class Student(nn.Module):
    """Encoder, neck, and one decoder each for depth and classes. State-dict names are those of the existing checkpoints."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: StudentConfig | None = None, encoder_weights: str | Path = "none") -> None:
        """Build the network.

        `encoder_weights` is `"none"` (random), `"imagenet"` (timm's, fetched from the model hub or its local cache), or a
        safetensors or .pt file of encoder weights. Raises VortexError for an unknown encoder or weights that cannot be had.
        """
        super().__init__()
        config = config or StudentConfig()
        if config.encoder not in ENCODERS:
            raise VortexError(f"unknown student encoder {config.encoder!r}", f"use one of: {', '.join(ENCODERS)}")
        self.config = config
        self.encoder = timm.create_model(config.encoder, features_only=True, pretrained=False, out_indices=ENCODERS[config.encoder])
        self.encoder_frozen = False
        s4, s8, s16, s32 = self.encoder.feature_info.channels()
        self.neck = nn.Sequential(nn.Conv2d(s32, NECK_CHANNELS, kernel_size=1), nn.BatchNorm2d(NECK_CHANNELS), nn.ReLU(inplace=True))
        d1, d2, d3 = DECODER_CHANNELS
        self.depth_d1, self.seg_d1 = UpBlock(NECK_CHANNELS, s16, d1), UpBlock(NECK_CHANNELS, s16, d1)
        self.depth_d2, self.seg_d2 = UpBlock(d1, s8, d2), UpBlock(d1, s8, d2)
        self.depth_d3, self.seg_d3 = UpBlock(d2, s4, d3), UpBlock(d2, s4, d3)
        self.depth_head = nn.Sequential(nn.Conv2d(d3, 1, kernel_size=1), nn.ReLU())
        self.seg_head = nn.Conv2d(d3, len(config.classes), kernel_size=1)
        # Not persistent: the normalisation is part of the architecture, not of the weights, and checkpoints do not name it.
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        head = self.depth_head[0]
        assert isinstance(head, nn.Conv2d) and head.bias is not None
        nn.init.constant_(head.bias, INITIAL_DEPTH_M)
        load_encoder_weights(self.encoder, config.encoder, encoder_weights)

    def forward(self, rgb: Tensor) -> Prediction:
        """Map `rgb` [B,3,H,W] in [0,1] to depth [B,1,H,W] in metres and logits [B,classes,H,W]."""
        return self.heads(*self.features(rgb), rgb.shape[-2:])

    def features(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """What the two heads see of `rgb` [B,3,H,W] in [0,1]: both [B,16,H/4,W/4], for depth and for classes."""
        s4, s8, s16, s32 = self.encoder((rgb - self.mean) / self.std)
        bottom = self.neck(s32)
        depth: Tensor = self.depth_d3(self.depth_d2(self.depth_d1(bottom, s16), s8), s4)
        segmentation: Tensor = self.seg_d3(self.seg_d2(self.seg_d1(bottom, s16), s8), s4)
        return depth, segmentation

    def heads(self, depth: Tensor, segmentation: Tensor, size: torch.Size) -> Prediction:
        """Turn `features` into a prediction at `size` (H, W)."""
        # A 1×1 convolution and a bilinear resize commute (its weights sum to one), so each head runs before its resize, on a
        # sixteenth of the pixels and with 1 and 6 channels to enlarge instead of 16; the ReLU on depth stays last.
        project, positive = self.depth_head
        return Prediction(positive(resize(project(depth), size)), resize(self.seg_head(segmentation), size))

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters trained at the encoder's rate."""
        yield from self.encoder.parameters()

    def encoder_stages(self) -> list[list[nn.Parameter]]:
        """The encoder's parameters in the order that an image passes them, cut after each of its feature maps (strides 4, 8, 16, 32).

        The stem belongs to the first stage.
        """
        ends = [name.replace(".", "_") for name in self.encoder.feature_info.module_name()]
        stages: list[list[nn.Parameter]] = [[]]
        for name, layer in _layers(self.encoder):
            stages[-1] += layer.parameters()
            if name in ends[:-1]:
                stages.append([])
        return stages

    def decoder_parameters(self) -> Iterator[nn.Parameter]:
        """Everything else: neck, both decoders, both heads."""
        for name, child in self.named_children():
            if name != "encoder":
                yield from child.parameters()

    def depth_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that only depth supervision reaches."""
        return self._branch("depth_")

    def segmentation_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that only segmentation supervision reaches."""
        return self._branch("seg_")

    def _branch(self, prefix: str) -> Iterator[nn.Parameter]:
        for name, child in self.named_children():
            if name.startswith(prefix):
                yield from child.parameters()

    def freeze_encoder(self, frozen: bool) -> None:
        """Stop (or resume) training the encoder; while frozen its batch-norm statistics stay as they are too.

        DistributedDataParallel reads `requires_grad` when it is built: wrap again after calling this.
        """
        self.encoder_frozen = frozen
        self.encoder.requires_grad_(not frozen)
        self.encoder.train(self.training and not frozen)

    def train(self, mode: bool = True) -> Student:
        """As `nn.Module.train`, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.encoder_frozen:
            self.encoder.eval()
        return self


def _layers(encoder: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """An encoder's layers in order, named as timm names them; a sequence such as MobileNet's `blocks` counts by its items."""
    for name, child in encoder.named_children():
        if name == "blocks":
            yield from ((f"{name}_{inner}", layer) for inner, layer in child.named_children())
        else:
            yield name, child


def resize(x: Tensor, size: tuple[int, ...] | torch.Size) -> Tensor:
    """Bilinear resize of [B,C,h,w] to (H, W); returns `x` itself when the size already fits."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
