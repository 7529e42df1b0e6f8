"""A tiny set that can be learnt from: a floor, a wall and a box whose brightness falls with their distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.workspace import Workspace
from validation.manifest import write_manifest
from validation.rows import Frame

SIZE = (64, 96)
FILES = (48, 64)


def fill(
    root: Path,
    *,
    train: int = 8,
    val: int = 4,
    domain: str = "rooms",
    teacher: str | None = None,
    relative: bool = False,
    labelled: bool = True,
    camera: str = "kinect",
    seed: int = 0,
) -> list[Frame]:
    """Write frames below `root` and return their rows: `train` to train on, one in the gap, `val` to be judged by.

    A `teacher` speaks metres, or with `relative` inverse depth without bounds. Every second frame has classes if `labelled`.
    """
    import cv2

    random = np.random.default_rng(seed)
    for folder in ("rgb", "depth", "segmentation", "teacher"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    frames = []
    for number, split in enumerate(["train"] * train + ["gap"] + ["val"] * val):
        name = f"{number:03d}.png"
        depth = np.linspace(random.uniform(3, 5), 0.8, FILES[0])[:, None].repeat(FILES[1], 1)
        top, left = random.integers(8, 24), random.integers(4, 40)
        depth[top : top + 16, left : left + 16] = random.uniform(1, 2)
        rgb = np.clip(255 - 50 * depth[..., None] + random.normal(0, 4, (*FILES, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "rgb" / name), rgb)
        cv2.imwrite(str(root / "depth" / name), np.rint(1000 * depth).astype(np.uint16))
        cv2.imwrite(str(root / "segmentation" / name), np.where(depth < 2, 0, 1).astype(np.uint8))
        if teacher:
            np.save(root / "teacher" / f"{number:03d}.npy", (60 / depth if relative else depth * 1.05).astype(np.float32))
        has_classes = labelled and number % 2 == 0
        frames.append(
            Frame(
                id=f"{domain}-{number:03d}",
                domain=domain,
                split=split,  # type: ignore[arg-type]
                sequence="one",
                camera=camera,
                rgb=f"rgb/{name}",
                depth=f"depth/{name}",
                depth_unit="mm",
                teacher_depth=f"teacher/{number:03d}.npy" if teacher else None,
                teacher=teacher,
                teacher_unit=("relative" if relative else "m") if teacher else None,
                segmentation=f"segmentation/{name}" if has_classes else None,
                supervision="full" if has_classes else "none",
            )
        )
    return frames


def publish(ws: Workspace, name: str, **options: object) -> None:
    """Make the set a dataset of the workspace."""
    from pipelines.data.datasets import DatasetCard, new_dataset

    domain = str(options.get("domain", "rooms"))
    if domain not in ws.config.domains:
        ws.add_domain(domain, "room")
    card = DatasetCard(name=name, domain=domain, kind="room", format="test")
    with new_dataset(ws, name, card) as staging:
        write_manifest(staging / "manifest.jsonl", fill(staging, **options))  # type: ignore[arg-type]


def recipe_file(path: Path, **changes: object) -> Path:
    """A recipe of its own with the small encoder, so that a test trains in seconds."""
    import json

    from pipelines.recipes import recipe

    raw = recipe.load("v5").model_dump(mode="json") | {"name": "tiny", "codename": "Tiny", "parents": [], "published": []}
    raw["student"] = {"encoder": "mobilenetv3_small_100", "size": list(SIZE)}
    raw["scratch"]["batch_size"] = 4
    path.write_text(json.dumps({**raw, **changes}))
    return path
