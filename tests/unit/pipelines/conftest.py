"""A small labelled set and registered versions without training: what evaluating, exporting and promoting are tested on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.workspace import Workspace
from tests.made_once import made_once
from validation.manifest import load_manifest, write_manifest
from validation.rows import Frame

SIZE = (64, 96)


def write_frames(
    root: Path, *, val: int = 6, domain: str = "rooms", cameras: tuple[str, ...] = ("kinect",), shuffled: bool = False, sequences: int = 1
) -> Path:
    """A floor that recedes before a wall, in every frame a little further away: 2 train frames, 1 in the gap, then `val` to measure on.

    `shuffled` puts the distances into an order without neighbours; the validation frames are of so many `sequences`.
    """
    import cv2

    random = np.random.default_rng(0)
    for folder in ("rgb", "depth", "segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    frames = []
    distances = random.permutation(val + 3) if shuffled else np.arange(val + 3)
    for number, split in enumerate(["train", "train", "gap", *["val"] * val]):
        name = f"{number:03d}.png"
        rows = np.linspace(4.0 + 0.1 * distances[number], 0.6, SIZE[0])[:, None].repeat(SIZE[1], 1)
        depth = np.rint(1000 * rows).astype(np.uint16)
        depth[:, :8] = 0
        labels = np.where(rows < 2, 0, 1).astype(np.uint8)
        labels[:4] = 255
        picture = np.clip(rows[..., None] * 50 + random.normal(0, 8, (*SIZE, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "rgb" / name), picture)
        cv2.imwrite(str(root / "depth" / name), depth)
        cv2.imwrite(str(root / "segmentation" / name), labels)
        frames.append(
            Frame(
                id=f"{domain}-{number:03d}",
                domain=domain,
                split=split,  # type: ignore[arg-type]
                sequence="one" if sequences == 1 else f"s{number % sequences}",
                camera=cameras[number % len(cameras)],
                rgb=f"rgb/{name}",
                depth=f"depth/{name}",
                depth_unit="mm",
                segmentation=f"segmentation/{name}",
                supervision="full",
            )
        )
    write_manifest(root / "manifest.jsonl", frames)
    return root / "manifest.jsonl"


def add_tof(manifest: Path) -> Path:
    """Give every frame of a small set a ToF that reads 0.1 m too much, and is confident in the left half alone."""
    import dataclasses

    import cv2

    robot = []
    for frame in load_manifest(manifest):
        depth = cv2.imread(str(manifest.parent / str(frame.depth)), cv2.IMREAD_UNCHANGED)
        confidence = np.zeros(SIZE, np.uint8)
        confidence[:, : SIZE[1] // 2] = 255
        for folder, picture in (("tof", np.where(depth > 0, depth + 100, 0).astype(np.uint16)), ("confidence", confidence)):
            (manifest.parent / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(manifest.parent / folder / f"{frame.id}.png"), picture)
        robot.append(dataclasses.replace(frame, tof=f"tof/{frame.id}.png", tof_unit="mm", tof_confidence=f"confidence/{frame.id}.png"))
    write_manifest(manifest, robot)
    return manifest


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    """Manifest of a small set of the domain `rooms`, outside the workspace's data/."""
    return write_frames(tmp_path / "small")


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An `mlruns/` with an empty MLflow store: making one takes seconds, copying it none."""
    from pipelines.hub.open import hub
    from pipelines.init import init

    def make(folder: Path) -> None:
        assert hub(init(folder / "workspace")).store

    return made_once(tmp_path_factory, "fresh-store", make) / "workspace" / "mlruns"


@pytest.fixture
def ws(workspace: Workspace, fresh_store: Path) -> Workspace:
    """A workspace to train in: the dataset `small` of the domain `rooms`, and the recipe `tiny.yaml`."""
    from pipelines.workspace import load
    from tests.unit.pipelines.training_set import publish, recipe_file

    shutil.copytree(fresh_store, workspace.root / "mlruns", dirs_exist_ok=True)
    publish(workspace, "small", teacher="a-teacher")
    recipe_file(workspace.root / "tiny.yaml")
    return load(workspace.root)


@pytest.fixture
def make_version(workspace: Workspace, tmp_path: Path, fresh_store: Path) -> Callable[..., str]:
    """Register a student with random weights; returns the version's name. `shift` moves its depth by so many metres."""
    from models.checkpoint import save
    from models.student import Student, StudentConfig
    from pipelines.hub.open import hub
    from registry.records import DataUse, NewVersion

    shutil.copytree(fresh_store, workspace.root / "mlruns", dirs_exist_ok=True)

    def make(*, shift: float = 0.0, validated: bool = True, domain: str = "rooms", seed: int = 0, digest: str = "0" * 64) -> str:
        import torch

        torch.manual_seed(seed)
        student = Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE))
        with torch.no_grad():
            student.depth_head[0].bias += shift  # type: ignore[operator, index]
        path = tmp_path / f"student-{seed}-{shift}.safetensors"
        save(path, student, {})
        registry = hub(workspace)
        run = registry.store.start_run("made by a test")
        checkpoint = registry.store.log_artifact(run, path, "checkpoint")
        use = DataUse("small", domain, "room", digest, None, validated, {"train": 2, "val": 6})
        new = NewVersion(None, False, {}, (), domain, (use,), SIZE, run, "run", checkpoint)
        return registry.register(new, actor="test").name

    return make


@pytest.fixture(scope="session")
def registry_templates(tmp_path_factory: pytest.TempPathFactory, fresh_store: Path) -> tuple[Path, Path]:
    """A workspace with an empty MLflow store, and the same with the small registry in it."""
    from pipelines.init import init
    from pipelines.workspace import load
    from tests.unit.pipelines.small_registry import fill

    def make(folder: Path) -> None:
        blank = init(folder / "blank")
        shutil.copytree(fresh_store, blank.root / "mlruns", dirs_exist_ok=True)
        fill(load(shutil.copytree(blank.root, folder / "filled", symlinks=True)), folder)

    folder = made_once(tmp_path_factory, "registries", make)
    return folder / "blank", folder / "filled"


@pytest.fixture
def small_registry(registry_templates: tuple[Path, Path], tmp_path: Path) -> Workspace:
    """A workspace with the small registry."""
    from pipelines.workspace import load

    return load(shutil.copytree(registry_templates[1], tmp_path / "small", symlinks=True))


@pytest.fixture
def blank_registry(registry_templates: tuple[Path, Path], tmp_path: Path) -> Workspace:
    """A workspace with nothing in its registry."""
    from pipelines.workspace import load

    return load(shutil.copytree(registry_templates[0], tmp_path / "blank", symlinks=True))
