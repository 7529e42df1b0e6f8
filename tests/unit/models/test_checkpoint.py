from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from core.classes import CLASSES
from models import checkpoint
from models.legacy import CLASS_ORDER
from models.student import Student, StudentConfig
from models.tensors import CheckpointError

SMALL = "mobilenetv3_small_100"
META = {"recipe": "v6", "epoch": 4, "rmse": 0.5}


def student(encoder: str = SMALL, seed: int = 0) -> Student:
    torch.manual_seed(seed)
    return Student(StudentConfig(encoder=encoder, size=(64, 96))).eval()


@pytest.fixture(scope="module")
def original() -> Student:
    return student()


@pytest.fixture
def saved(original: Student, tmp_path: Path) -> Path:
    path = tmp_path / "best.safetensors"
    checkpoint.save(path, original, META)
    return path


def rewrite(path: Path, **changes: Any) -> None:
    """Change the header's fields and keep the tensors."""
    with safe_open(path, "pt") as stream:
        header = json.loads(stream.metadata()["vortex"])
    save_file(load_file(path), path, {"vortex": json.dumps({**header, **changes})})


def test_what_is_saved_is_loaded(saved: Path, original: Student) -> None:
    loaded, meta = checkpoint.load(saved)
    assert meta == META
    assert loaded.config == original.config and not loaded.training
    rgb = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for ours, theirs in zip(loaded(rgb), original(rgb), strict=True):
            assert torch.equal(ours, theirs)
    assert [p.name for p in saved.parent.iterdir()] == ["best.safetensors"]


def test_header_is_read_without_torch(saved: Path) -> None:
    code = (
        "import sys, json, pathlib; from models.checkpoint import read_header; "
        f"print(json.dumps(read_header(pathlib.Path({str(saved)!r}))), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    header, torch_loaded = done.stdout.strip().rsplit(" ", 1)
    assert torch_loaded == "False"
    assert json.loads(header) == {"format": 1, "encoder": SMALL, "size": [64, 96], "classes": list(CLASSES), "meta": META}


@pytest.mark.parametrize("keep", [0, 5, 8, 300, -1])
def test_truncated_files_are_one_clear_line(saved: Path, keep: int) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[:keep] if keep >= 0 else content[:-1000])
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(saved)
    assert str(saved) in caught.value.message and "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    "content", [b"\xff" * 4096, b"PK\x03\x04" + b"\0" * 64, b"\x10" + b"\0" * 7 + b"[" * 16, b"\x02" + b"\0" * 7 + b"{}"]
)
def test_garbage_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert "\n" not in caught.value.message and caught.value.hint


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such weights file"):
        checkpoint.load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(tmp_path)


def test_another_architecture_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"mobilenetv3_small_100.*wanted efficientvit_b1"):
        checkpoint.load(saved, encoder="efficientvit_b1")
    rewrite(saved, encoder="efficientvit_b1")
    with pytest.raises(CheckpointError, match="does not fit a student with encoder efficientvit_b1") as caught:
        checkpoint.load(saved)
    assert caught.value.details
    rewrite(saved, encoder="resnet50")
    with pytest.raises(CheckpointError, match="resnet50"):
        checkpoint.load(saved)


def test_another_class_order_is_refused(saved: Path) -> None:
    rewrite(saved, classes=list(CLASS_ORDER))
    with pytest.raises(CheckpointError, match="its classes are floor, wall, person"):
        checkpoint.load(saved)


def test_a_newer_or_damaged_header_is_refused(saved: Path) -> None:
    rewrite(saved, format=2)
    with pytest.raises(CheckpointError, match="format 2"):
        checkpoint.load(saved)
    for change in (
        {"format": 1, "size": [0, 96]},
        {"format": "1"},
        {"format": 1, "size": "64x96"},
        {"format": 1, "size": [64, 96], "meta": 3},
    ):
        rewrite(saved, **change)
        with pytest.raises(CheckpointError, match="damaged Vortex header"):
            checkpoint.load(saved)


def test_missing_extra_misshapen_and_non_finite_tensors_are_named(saved: Path) -> None:
    tensors, header = load_file(saved), checkpoint.read_header(saved)
    for change, word in (
        ({"neck.0.weight": None}, "neck.0.weight is missing"),
        ({"extra": torch.zeros(1)}, "extra is not part"),
        ({"seg_head.bias": torch.zeros(13)}, r"seg_head.bias has shape \(13,\), wanted \(6,\)"),
        ({"neck.0.bias": torch.full((128,), torch.nan)}, "non-finite weights in neck.0.bias"),
    ):
        changed = {name: value for name, value in {**tensors, **change}.items() if value is not None}
        save_file(changed, saved, {"vortex": json.dumps(header)})
        with pytest.raises(CheckpointError, match=word):
            checkpoint.load(saved)


def test_a_plain_safetensors_file_is_not_a_checkpoint(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(CheckpointError, match="not a Vortex checkpoint"):
        checkpoint.load(tmp_path / "plain.safetensors")


def test_a_write_that_fails_keeps_the_old_file(saved: Path, original: Student) -> None:
    before = saved.read_bytes()
    with pytest.raises(TypeError):
        checkpoint.save(saved, original, {"bad": object()})
    # A cap on the size of files stands in for a full disk.
    code = (
        "import pathlib, resource, signal, torch; from models.tensors import write_tensors; from core.errors import VortexError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"try: write_tensors(pathlib.Path({str(saved)!r}), {{'a': torch.zeros(100_000)}}, {{}})\n"
        "except VortexError as error: print('refused:', error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("refused:"), done.stdout
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


# --- checkpoints of before Vortex --------------------------------------------------------------------------------------------------
