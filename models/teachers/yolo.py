"""YOLOv8 boxes (ultralytics, AGPL-3.0, an extra): people and furniture, with the library's network habits switched off."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.classes import CLASSES
from models.teachers.contract import Boxes, TeacherError, View
from models.teachers.loading import Device, failed, file_hash, need, pick_device

FURNITURE: Final = {13: "bench", 56: "chair", 57: "couch", 59: "bed", 60: "dining table"}
MORE_FURNITURE: Final = {
    58: "potted plant",
    61: "toilet",
    62: "tv",
    68: "microwave",
    69: "oven",
    70: "toaster",
    71: "sink",
    72: "refrigerator",
}
COCO_CLASSES: Final = 80
AGPL: Final = ". ultralytics and its weights are AGPL-3.0: read its terms before you ship what it makes"
FETCH: Final = (
    "fetch yolov8l.pt from the releases of github.com/ultralytics/assets on a machine with a network, copy it here, "
    'and write its path into vortex.toml: [teachers.yolo] weights = "FILE"'
)


@dataclass(frozen=True)
class YoloSettings:
    """[teachers.yolo] of vortex.toml.

    `conf` is the least score of a box, `iou` the overlap above which the weaker of two boxes of a class is dropped, `imgsz` the longer
    side in pixels that the network sees, and `more_furniture` counts plants, televisions and kitchen and bathroom appliances as furniture.
    """

    weights: str = "yolov8l.pt"
    device: Device = "auto"
    conf: float = 0.25
    iou: float = 0.7
    imgsz: int = 640
    max_boxes: int = 300
    more_furniture: bool = False

    def __post_init__(self) -> None:
        faults = [f"{name} = {value} is not in 0..1" for name, value in (("conf", self.conf), ("iou", self.iou)) if not 0 <= value <= 1]
        if not 32 <= self.imgsz <= 4096 or self.imgsz % 32:
            faults.append(f"imgsz = {self.imgsz} is not a multiple of 32 from 32 to 4096")
        if not 1 <= self.max_boxes <= 10_000:
            faults.append(f"max_boxes = {self.max_boxes} is not in 1..10000")
        if faults:
            raise TeacherError(f"teacher yolo: {faults[0]}", "mend [teachers.yolo] in vortex.toml, or what --set says", faults[1:])


class Yolo:
    """A box teacher. Its COCO classes become person or furniture, and all others are not asked for."""

    def __init__(self, settings: YoloSettings) -> None:
        self.name = "yolo"
        self.settings = settings
        self.library = need("yolo", "ultralytics", "yolo", AGPL)
        self.file = Path(settings.weights).expanduser().resolve()
        if not self.file.is_file():
            raise TeacherError(f"teacher yolo: there is no file {settings.weights!r}, and nothing is downloaded unasked", FETCH)
        if self.file.suffix != ".pt":
            raise TeacherError(f"teacher yolo: {self.file.name} is not a .pt file", FETCH)
        self.classes = {0: "person", **FURNITURE, **(MORE_FURNITURE if settings.more_furniture else {})}
        self._model: Any = None

    def describe(self) -> dict[str, object]:
        """What decides the output. The device is not part of it: devices agree up to rounding."""
        settings = self.settings
        return {
            "teacher": "yolo",
            "model": "YOLO",
            "weights_sha256": file_hash(self.file),
            "library": self.library,
            "parameters": {
                "conf": settings.conf,
                "iou": settings.iou,
                "imgsz": settings.imgsz,
                "max_boxes": settings.max_boxes,
                "coco_classes": sorted(self.classes),
            },
        }

    def boxes(self, view: View) -> Boxes:
        """Boxes of people and furniture, strongest first, inside the picture."""
        model, settings = self._load(), self.settings
        try:
            result = model.predict(
                np.ascontiguousarray(view.rgb[..., ::-1]),  # numpy pictures are BGR here
                classes=sorted(self.classes),
                conf=settings.conf,
                iou=settings.iou,
                imgsz=settings.imgsz,
                max_det=settings.max_boxes,
                device=pick_device("yolo", settings.device),
                verbose=False,
                save=False,
            )[0].boxes
            xyxy, ids, scores = (part.float().cpu().numpy() for part in (result.xyxy, result.cls, result.conf))
        except Exception as error:  # whatever the library raises, it is this frame that failed
            raise failed(self.name, view.id, error) from error
        if not (np.isfinite(xyxy).all() and np.isfinite(scores).all()):
            raise TeacherError(f"teacher yolo, frame {view.id}: a box is not made of finite numbers")
        # A stable order, so that equal scores keep the library's own.
        order = np.argsort(-scores, kind="stable")
        classes = np.where(ids == 0, CLASSES.index("person"), CLASSES.index("furniture"))
        return Boxes(xyxy[order].reshape(-1, 4).astype(np.float32), classes[order].astype(np.uint8), scores[order].astype(np.float32))

    def close(self) -> None:
        """Give the model's memory back."""
        self._model = None

    def _load(self) -> Any:
        if self._model is None:
            library = _ultralytics()
            try:
                model = library.YOLO(str(self.file), task="detect")
                names = dict(model.names)
            except Exception as error:  # a damaged file, or one that holds more than weights
                raise TeacherError(
                    f"teacher yolo: {self.file} cannot be loaded: {(str(error).strip() or type(error).__name__).splitlines()[0]}", FETCH
                ) from error
            wrong = [f"class {key} is {names.get(key)!r}, wanted {name!r}" for key, name in self.classes.items() if names.get(key) != name]
            if len(names) != COCO_CLASSES or wrong:
                raise TeacherError(
                    f"teacher yolo: {self.file.name} was not trained on COCO's {COCO_CLASSES} classes: {wrong[0] if wrong else len(names)}",
                    FETCH,
                    wrong[1:],
                )
            self._model = model
        return self._model


def _ultralytics() -> Any:
    """Import ultralytics so that it keeps to itself.

    Its import asks name servers whether it is online, writes settings into the home folder, sends statistics, installs packages it
    misses and fetches fonts and weights; it also replaces `torch.save` and OpenCV's number of threads for the whole process. Its
    checkpoints are pickles: ULTRALYTICS_SAFE_LOAD lets them build known layers alone, and run no code. All of it is decided when the
    module is imported, from the environment.
    """
    if "ultralytics" not in sys.modules:
        import cv2
        import torch

        folder = tempfile.mkdtemp(prefix="vortex-ultralytics-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ.update(
            YOLO_CONFIG_DIR=folder, YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false", ULTRALYTICS_SAFE_LOAD="true"
        )
        save, threads, printing = torch.save, cv2.getNumThreads(), np.get_printoptions()
        import ultralytics

        torch.save = save
        cv2.setNumThreads(threads)
        np.set_printoptions(**printing)
        return ultralytics
    return sys.modules["ultralytics"]
