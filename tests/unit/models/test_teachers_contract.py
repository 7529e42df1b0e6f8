from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from core.pinhole import Pinhole
from models.teachers import TEACHERS, make
from models.teachers.contract import TeacherError, View
from models.teachers.loading import find_weights
from models.teachers.settings import read_settings
from tests.unit.models.test_teachers_da3 import write_weights


def test_listing_the_teachers_imports_nothing_heavy() -> None:
    code = "import sys, models.teachers; print([m for m in ('torch', 'transformers', 'ultralytics', 'cv2', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True)
    assert done.stdout.strip() == "[]"


def test_every_teacher_is_documented_and_its_needs_can_be_met() -> None:
    text = Path(__file__).parents[3].joinpath("docs", "teachers.md").read_text()
    roles = {kind.role for kind in TEACHERS.values()}
    for name, kind in TEACHERS.items():
        assert f"`{name}`" in text and kind.summary and kind.licence and set(kind.requires) <= roles
        assert (kind.unit is not None) == (kind.role == "depth")


def test_an_unknown_teacher_is_answered_with_the_known_ones() -> None:
    with pytest.raises(TeacherError, match="unknown teacher 'da4'") as caught:
        make("da4")
    assert "da3, da2, da2-metric, yolo, sam2, geometric" in caught.value.hint


def test_all_faults_of_the_settings_are_told_together() -> None:
    with pytest.raises(TeacherError, match=r"teacher yolo: unknown setting 'confidence'; allowed: weights, device, conf") as caught:
        make("yolo", {"confidence": 0.3, "imgsz": "640", "device": "tpu", "more_furniture": 1})
    assert caught.value.details == (
        "imgsz = '640' is not a whole number",
        "device = 'tpu' is not one of 'auto', 'cpu', 'cuda'",
        "more_furniture = 1 is not true or false",
    )
    assert "[teachers.yolo] in vortex.toml" in caught.value.hint


def test_values_come_in_as_toml_gives_them() -> None:
    @dataclass(frozen=True)
    class Some:
        number: float = 0.5
        pair: tuple[float, float] = (0.0, 1.0)
        maybe: int | None = None

    read = read_settings(Some, "t", {"number": 1, "pair": [1, 2.5], "maybe": 3})
    assert read == Some(1.0, (1.0, 2.5), 3) and isinstance(read.number, float) and isinstance(read.pair[0], float)
    for wrong in ({"number": True}, {"pair": [1]}, {"maybe": 1.5}, {"pair": 3}):
        with pytest.raises(TeacherError):
            read_settings(Some, "t", wrong)


def test_a_scaled_camera_sees_the_same_ray_through_the_same_place() -> None:
    camera = Pinhole(500.0, 510.0, 319.5, 239.5, (480, 640))
    half = camera.scaled((240, 320))
    # The picture's right edge lies half a pixel beyond the last pixel's centre, in either size.
    assert (639.5 - camera.cx) / camera.fx == pytest.approx((319.5 - half.cx) / half.fx)
    assert (479.5 - camera.cy) / camera.fy == pytest.approx((239.5 - half.cy) / half.fy)
    back = half.scaled((480, 640))
    assert (back.fx, back.fy, back.cx, back.cy) == pytest.approx((500.0, 510.0, 319.5, 239.5))


def test_errors_travel_between_processes_whole() -> None:
    error = TeacherError("m", "h", ["d"])
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.hint, again.details) == (TeacherError, "m", "h", ("d",))


def test_a_view_knows_its_size() -> None:
    assert View("f", np.zeros((4, 6, 3), np.uint8)).size == (4, 6)


@pytest.mark.parametrize("name", ["da2", "da2-metric", "sam2"])
def test_missing_weights_are_not_fetched_and_the_error_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(TeacherError, match="not on this machine, and nothing is downloaded unasked") as caught:
        make(name)
    assert "download = true" in caught.value.hint and f"[teachers.{name}]" in caught.value.hint and "--local-dir" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_weights_named_by_an_id_are_found_in_the_hubs_cache_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    revision = "0" * 40
    model = tmp_path / "models--vortex--tiny"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(revision)
    (model / "snapshots").mkdir()
    write_weights(model / "snapshots" / revision)
    local = write_weights(tmp_path / "local")
    found = find_weights("t", "vortex/tiny", False)
    assert found.folder == model / "snapshots" / revision and found.sha256 == find_weights("t", str(local), False).sha256


def test_the_hash_follows_the_bytes_and_not_the_place(tmp_path: Path) -> None:
    one, two = (find_weights("t", str(write_weights(tmp_path / name)), False) for name in ("one", "two"))
    assert one.sha256 == two.sha256
    before = one.sha256
    config = tmp_path / "one" / "config.json"
    config.write_text(json.dumps({"model_name": "other"}))
    assert find_weights("t", str(tmp_path / "one"), False).sha256 != before


@pytest.mark.parametrize("weights", ["", "no/such/folder", "./none", "https://example.org/model", "../.."])
def test_what_is_neither_folder_nor_id_is_refused(weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    with pytest.raises(TeacherError, match="teacher t"):
        find_weights("t", weights, False)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(TeacherError, match=r"does not hold config\.json and \*\.safetensors"):
        find_weights("t", str(tmp_path), False)
