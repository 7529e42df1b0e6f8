"""SAM 2 (Ravi et al. 2024), through Transformers: one mask for each box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from models.teachers.contract import Boxes, Masks, TeacherError, View
from models.teachers.loading import Device, failed, find_weights, load_transformers, need, read_config

AT_ONCE: Final = 32
"""Boxes decoded in one go. 300 masks of 1280x720 as float32 logits would take 1.1 GB; the picture is encoded once, whatever the number."""


@dataclass(frozen=True)
class Sam2Settings:
    """[teachers.sam2] of vortex.toml. `threshold` is the logit above which a pixel belongs to the mask."""

    weights: str = "facebook/sam2-hiera-large"
    download: bool = False
    device: Device = "auto"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not -32 <= self.threshold <= 32:
            raise TeacherError(f"teacher sam2: threshold = {self.threshold} is no logit", "use a number from -32 to 32; SAM 2's own is 0")


class Sam2:
    """A mask teacher prompted with boxes. A mask's score is its box's score times the overlap that SAM 2 predicts for it.

    Both factors lie in [0,1]: a sure detection with an unsure outline, and an unsure detection with a sharp one, both stand back
    behind a mask that is sure in both.
    """

    def __init__(self, settings: Sam2Settings) -> None:
        self.name = "sam2"
        self.settings = settings
        self.library = need("sam2", "transformers", "teachers")
        self.weights = find_weights("sam2", settings.weights, settings.download)
        # The published checkpoints are of the video model, which contains the picture model's weights under the same names.
        read_config("sam2", self.weights.folder, ("sam2", "sam2_video"))
        self._loaded: tuple[Any, Any] | None = None

    def describe(self) -> dict[str, object]:
        """What decides the output. The device is not part of it: devices agree up to rounding."""
        return {
            "teacher": "sam2",
            "model": "Sam2Model",
            "weights_sha256": self.weights.sha256,
            "library": self.library,
            "parameters": {"multimask_output": False, "score": "box score x predicted IoU", "threshold": self.settings.threshold},
        }

    def masks(self, view: View, boxes: Boxes) -> Masks:
        """One mask [H,W] a box, in the boxes' order, with the boxes' classes. Without boxes the model does not run."""
        if not len(boxes.xyxy):
            return Masks(np.zeros((0, *view.size), bool), boxes.classes, boxes.scores)
        try:
            masks, overlap = self._decode(view, boxes)
        except Exception as error:  # whatever the library raises, it is this frame that failed
            raise failed(self.name, view.id, error) from error
        if not np.isfinite(overlap).all():
            raise TeacherError(f"teacher sam2, frame {view.id}: the predicted overlap of a mask is not a finite number")
        return Masks(masks, boxes.classes, (boxes.scores * overlap.clip(0, 1)).astype(np.float32))

    def close(self) -> None:
        """Give the model's memory back."""
        self._loaded = None

    def _decode(self, view: View, boxes: Boxes) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        import torch

        processor, model = self._load()
        pixels_of_boxes, overlaps = [], []
        with torch.inference_mode():
            pixels = processor(images=view.rgb, return_tensors="pt").to(model.device)
            embeddings = model.get_image_embeddings(pixels["pixel_values"])
            for start in range(0, len(boxes.xyxy), AT_ONCE):
                prompt = [boxes.xyxy[start : start + AT_ONCE].tolist()]
                prompts = processor(input_boxes=prompt, original_sizes=pixels["original_sizes"], return_tensors="pt").to(model.device)
                out = model(image_embeddings=embeddings, input_boxes=prompts["input_boxes"], multimask_output=False)
                if not torch.isfinite(out.pred_masks).all():
                    raise TeacherError(f"teacher sam2, frame {view.id}: a mask holds numbers that are not finite")
                masks = processor.post_process_masks(out.pred_masks, pixels["original_sizes"], mask_threshold=self.settings.threshold)
                pixels_of_boxes.append(masks[0][:, 0].cpu().numpy())
                overlaps.append(out.iou_scores[0, :, 0].float().cpu().numpy())
        return np.concatenate(pixels_of_boxes).astype(bool), np.concatenate(overlaps)

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load_transformers("sam2", "Sam2Processor", "Sam2Model", self.weights, self.settings.device)
        return self._loaded
