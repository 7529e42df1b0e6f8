"""Checkpoints of before Vortex: `best_depth_v{5_vivek,6,7,8,9}.pt`, a bare state dict or one wrapped with its optimiser's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from core.classes import CLASSES
from models.checkpoint import fill
from models.encoders import ENCODERS
from models.student import Student, StudentConfig
from models.tensors import CheckpointError, read_pickle, state_dict_of

CLASS_ORDER: Final = ("floor", "wall", "person", "furniture", "glass", "other")
"""Order of the logits in these files."""


def load(path: Path, size: tuple[int, int] = (240, 320)) -> Student:
    """Read a legacy .pt into a student that gives the same depth, and the same logits in Vortex's class order.

    Only tensors and plain values are unpickled. Raises CheckpointError for anything that is not such a checkpoint.
    """
    tensors = state_dict_of(read_pickle(path), path)
    if "neck.0.weight" not in tensors or "seg_head.weight" not in tensors or "seg_head.bias" not in tensors:
        raise CheckpointError(
            f"{path}: not a legacy student: neck.0.weight or seg_head.* is missing among {len(tensors)} tensors",
            "give a best_depth_v*.pt, whose names start with encoder., neck., depth_ and seg_",
        )
    # The encoders differ in the names they use from the first layer on.
    encoder = next((name for name in ENCODERS if _marker(name) in tensors), None)
    if encoder is None:
        raise CheckpointError(
            f"{path}: unknown encoder, its tensors match none of {', '.join(ENCODERS)}", "give a checkpoint of one of these"
        )
    for name in ("seg_head.weight", "seg_head.bias"):
        if tensors[name].shape[:1] != (len(CLASS_ORDER),):
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(tensors[name].shape)}, wanted {len(CLASS_ORDER)} classes",
                f"give a checkpoint with the classes {', '.join(CLASS_ORDER)}",
            )
        tensors[name] = tensors[name][[CLASS_ORDER.index(class_name) for class_name in CLASSES]]
    return fill(StudentConfig(encoder=encoder, size=size), tensors, path)


def _marker(encoder: str) -> str:
    return {"efficientvit_b1": "encoder.stem_in_conv.conv.weight", "mobilenetv3_small_100": "encoder.conv_stem.weight"}[encoder]
