"""The gate looks whether a dataset's depth lies on its colour, once a content, and lets a format say that it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.data.datasets import resolve
from pipelines.ingest.add import add_dataset
from pipelines.ingest.register import Lens, Rig, register
from pipelines.validate.data_page import data_page
from pipelines.validate.gate_run import validate
from pipelines.validate.registration import _Spread, registration_of
from pipelines.workspace import Workspace
from tests.unit.validation.test_registration import moved, scenes
from validation import registration
from validation.manifest import load_manifest, write_manifest
from validation.policies import load_policies
from validation.rows import Frame

FRAMES = scenes(10, (120, 160))


def plain(folder: Path, right: float = 0) -> Path:
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True)
    for name, rgb, depth in moved(FRAMES, right) if right else FRAMES:
        cv2.imwrite(str(folder / "rgb" / f"{name}.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / "depth" / f"{name}.png"), (depth * 1000).astype(np.uint16))
    return folder


def test_depth_that_nobody_registered_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    add_dataset(workspace, "s", plain(tmp_path / "s", 45), domain="rooms", unit="mm", camera="d435")
    ref = resolve(workspace, name_or_manifest="s")
    report = validate(workspace, ref)
    check = next(check for check in report.checks if check.name == "depth-registered")
    page = data_page(report, tmp_path / "page.html").read_text()
    assert page.count("depth edges<") >= 5 and check.found in page
    assert not check.passed and check.found.startswith("depth lies 4") and "right of" in check.found and len(check.frames) == 5
    add_dataset(workspace, "t", plain(tmp_path / "t"), domain="rooms", unit="mm")
    good = registration_of(workspace, resolve(workspace, name_or_manifest="t"))["unnamed"]
    assert good.known and good.offset < 1.5 and good.looked_at == good.frames == 10


def test_it_is_measured_once_a_content(workspace: Workspace, tmp_path: Path) -> None:
    dataset = add_dataset(workspace, "s", plain(tmp_path / "s"), domain="rooms", unit="mm").dataset
    ref = resolve(workspace, name_or_manifest="s")
    first = registration_of(workspace, ref)
    (dataset.root / "rgb" / "f0.png").chmod(0o644)
    (dataset.root / "rgb" / "f0.png").unlink()
    assert registration_of(workspace, ref) == first, "kept, though a file is gone"
    again = registration_of(workspace, replace(ref, digest="0" * 64))["unnamed"]
    assert (again.looked_at, again.frames) == (9, 9), "the frame that cannot be read is named by another check"
    kept = next((workspace.build / "validation" / "statistics").glob("*.registration.json"))
    for old, new in (('"seal"', '"sea"'), ('"looked_at": 9', '"looked_at": 8')):
        assert old in kept.read_text()
        kept.write_text(kept.read_text().replace(old, new))
        assert registration_of(workspace, replace(ref, digest="0" * 64))["unnamed"] == again, "what is not as it was written is measured"


def test_each_camera_is_looked_at(workspace: Workspace, tmp_path: Path) -> None:
    dataset = add_dataset(workspace, "s", plain(tmp_path / "s"), domain="rooms", unit="mm").dataset
    frames = [replace(frame, camera="left" if index % 2 else "right") for index, frame in enumerate(load_manifest(dataset.manifest))]
    write_manifest(dataset.root / "other.jsonl", frames)
    cameras = registration_of(workspace, resolve(workspace, name_or_manifest=str(dataset.root / "other.jsonl")))
    assert {name: camera.looked_at for name, camera in cameras.items()} == {"right": 5, "left": 5}


def test_a_long_stream_is_looked_at_all_over() -> None:
    frame = Frame(id="f", domain="d", split="train", sequence="s", camera="c", rgb="rgb.png")
    for count in (1, 29, 30, 31, 241, 10_000):
        spread = _Spread()
        for index in range(count):
            spread.add(replace(frame, id=f"f{index}"))
        numbers = [int(each.id[1:]) for each in spread.frames()]
        assert len(numbers) == min(count, 30) and numbers[0] == 0 and numbers[-1] >= 0.98 * (count - 1)
        steps = np.diff(numbers)
        assert not steps.size or steps.max() <= steps.min() + max(2, 0.2 * steps.min()), "evenly"
        assert len(spread.taken) <= 240


def test_a_format_says_that_it_is_not_registered(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "chess").mkdir()
    for index in range(5):
        cv2.imwrite(str(tmp_path / "chess" / f"frame-{index:06d}.color.png"), np.full((48, 64, 3), index, np.uint8))
        cv2.imwrite(str(tmp_path / "chess" / f"frame-{index:06d}.depth.png"), np.full((48, 64), 1000, np.uint16))
    added = add_dataset(workspace, "chess", tmp_path / "chess", domain="rooms")
    assert not added.dataset.card.registered and any("not registered to the colour picture" in note for note in added.notes)
    assert resolve(workspace, name_or_manifest="chess").registered is False
    add_dataset(workspace, "s", plain(tmp_path / "s"), domain="rooms", unit="mm")
    assert resolve(workspace, name_or_manifest="s").registered is True


def test_another_camera_is_seen_and_registering_it_mends_it() -> None:
    """A D435: its depth camera sees wider (385 against 617 pixels at 640 columns) and stands beside the colour camera."""
    frames = scenes(8)
    colour, infrared = (Lens(focal / 2, focal / 2, 159.5, 119.5, (240, 320)) for focal in (617, 385))
    seen = Rig(colour, infrared, (1, 0, 0, 0, 1, 0, 0, 0, 1), (0.05, 0.0, 0.0))
    back = Rig(infrared, colour, (1, 0, 0, 0, 1, 0, 0, 0, 1), (-0.05, 0.0, 0.0))
    bounds = load_policies().data.kind("indoor").registration
    raw = [(name, rgb, register(depth, seen)) for name, rgb, depth in frames]
    unregistered = registration.measure(raw)
    assert unregistered.known and unregistered.larger == pytest.approx(385 / 617, rel=0.03) and unregistered.right > 4
    assert not registration.check({"d435": unregistered}, bounds, declared=False).passed
    mended = registration.measure((name, rgb, register(depth, back)) for name, rgb, depth in raw)
    assert mended.known and registration.check({"d435": mended}, bounds, declared=False).passed


def test_a_frame_of_another_size_does_not_stop_it() -> None:
    larger = [(name, cv2.resize(rgb, (320, 240)), cv2.resize(depth, (320, 240))) for name, rgb, depth in FRAMES[:2]]
    assert registration.measure([*FRAMES[:6], *larger]).frames == 6
