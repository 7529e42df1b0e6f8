"""Checkpoints of before Vortex: the same answers with classes in Vortex's order, and nothing in the file is ever run or believed."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.classes import CLASSES
from models.legacy import CLASS_ORDER, load
from models.student import Student, StudentConfig
from models.tensors import CheckpointError

SMALL = StudentConfig(encoder="mobilenetv3_small_100", size=(64, 96))


@pytest.fixture(scope="module")
def old() -> Student:
    """A network of before Vortex: the same architecture, whose logits mean floor, wall, person, furniture, glass, other."""
    torch.manual_seed(3)
    return Student(SMALL).eval()


def wrapped(key: str, state: dict[str, Any]) -> dict[str, Any]:
    """As the published files wrap it: with an optimiser's state, an epoch and a saved metric."""
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(3))])
    return {"epoch": 50, key: state, "optimizer": optimiser.state_dict(), "rmse": np.float64(0.38)} if key else state


def equal(old: Student, new: Student, order: tuple[str, ...] = CLASS_ORDER) -> bool:
    """Whether both answer alike, bit by bit, when the classes are put into the same order."""
    rgb = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        theirs, ours = old(rgb), new(rgb)
    permuted = theirs.logits[:, [order.index(name) for name in CLASSES]]
    return torch.equal(ours.depth, theirs.depth) and torch.equal(ours.logits, permuted)


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
@pytest.mark.parametrize("key", ["", "model", "state_dict", "model_state_dict"])
def test_every_form_of_file_gives_the_same_answers(old: Student, tmp_path: Path, key: str, prefix: str) -> None:
    path = tmp_path / "best_depth_v9.pt"
    torch.save(wrapped(key, {f"{prefix}{name}": tensor for name, tensor in old.state_dict().items()}), path)
    legacy = load(path, SMALL)
    assert equal(old, legacy.student)
    assert (legacy.key, legacy.sha256) == (key, hashlib.sha256(path.read_bytes()).hexdigest())


def test_the_larger_encoder_gives_the_same_answers(tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = Student(StudentConfig()).eval()
    torch.save(network.state_dict(), tmp_path / "best_depth_v6.pt")
    legacy = load(tmp_path / "best_depth_v6.pt", StudentConfig())
    assert equal(network, legacy.student) and sum(weight.numel() for weight in legacy.student.parameters()) == 5_312_919


def test_the_order_of_the_classes_can_be_said(old: Student, tmp_path: Path) -> None:
    torch.save(old.state_dict(), tmp_path / "file.pt")
    other = ("other", "glass", "furniture", "person", "wall", "floor")
    assert equal(old, load(tmp_path / "file.pt", SMALL, other).student, other)
    assert equal(old, load(tmp_path / "file.pt", SMALL, CLASSES).student, CLASSES)
    assert not equal(old, load(tmp_path / "file.pt", SMALL, other).student)


class Payload:
    """A pickle that makes a file when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch ran-by-a-pickle",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_carries_code_is_refused_and_never_run(
    old: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = Path("bad.pt")
    torch.save({"model": old.state_dict(), "extra": Payload()}, bad, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"^bad\.pt: it holds objects .* which may run code; nothing of it was run") as refusal:
        load(bad, SMALL)
    assert "state_dict() alone" in str(refusal.value.hint), "the file is whole: nothing is to be restored"
    bad.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError, match="nothing of it was run"):
        load(bad, SMALL)
    assert not Path("ran-by-a-pickle").exists()
    pickle.loads(bad.read_bytes())  # the payload is a real one
    assert Path("ran-by-a-pickle").exists()


def test_what_is_no_student_is_named(old: Student, tmp_path: Path) -> None:
    state = old.state_dict()
    deeper = {name: tensor for name, tensor in state.items() if not name.startswith("depth_d2")}
    cases: dict[str, tuple[Any, str]] = {
        "nothing": ({"lr": 0.1}, "one state dict of tensors is wanted"),
        "two": ({"model": state, "state_dict": state}, "has model and state_dict, allowed: one of them"),
        "other": ({"conv.weight": torch.zeros(3)}, "are missing, 1 is unknown"),
        "partial": (deeper, "depth_d2.up.weight is missing"),
        "more": ({**state, "aux.weight": torch.zeros(3)}, "1 is unknown: aux.weight is not part of the student"),
        "thirteen": ({**state, "seg_head.bias": torch.zeros(13)}, r"1 is of another shape or kind: seg_head.bias has shape \(13,\), wanted \(6,\)"),
        "whole": ({**state, "depth_head.0.bias": torch.ones(1, dtype=torch.int64)}, "depth_head.0.bias is no plain tensor"),
        "sparse": ({**state, "neck.0.bias": torch.zeros(128).to_sparse()}, "neck.0.bias is no plain tensor"),
        "nowhere": ({**state, "neck.0.bias": torch.zeros(128, device="meta")}, "neck.0.bias is no plain tensor"),
        "endless": ({**state, "neck.0.bias": torch.zeros(1).expand(1 << 40)}, "neck.0.bias has shape"),
        "nan": ({**state, "neck.0.bias": torch.full((128,), float("nan"))}, "non-finite weights in neck.0.bias"),
        "numbered": ({0: torch.zeros(3)}, "'0' is no layer's name"),
    }  # fmt: skip
    for name, (content, problem) in cases.items():
        torch.save(content, tmp_path / f"{name}.pt")
        with pytest.raises(CheckpointError, match=problem) as caught:
            load(tmp_path / f"{name}.pt", SMALL)
        assert f"{name}.pt" in caught.value.message and "\n" not in caught.value.message and caught.value.hint, name
    with pytest.raises(CheckpointError, match="does not fit a student with encoder efficientvit_b1"):
        torch.save(state, tmp_path / "small.pt")
        load(tmp_path / "small.pt", StudentConfig())


def test_what_is_no_file_of_weights_is_one_clear_line(old: Student, tmp_path: Path) -> None:
    torch.save(old.state_dict(), tmp_path / "good.pt")
    good = (tmp_path / "good.pt").read_bytes()
    (tmp_path / "truncated.pt").write_bytes(good[:5000])
    (tmp_path / "cut.pt").write_bytes(good[:-100])
    (tmp_path / "garbage.pt").write_bytes(b"\x80\x04nonsense" * 50)
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "good.onnx").write_bytes(good)
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    for name in ("truncated.pt", "cut.pt", "garbage.pt", "empty.pt", "absent.pt", "good.onnx", "folder.pt", "pipe.pt"):
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / name, SMALL)
        assert name in caught.value.message and "\n" not in caught.value.message and caught.value.hint, name


def test_a_zip_bomb_is_not_unpacked(old: Student, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(old.state_dict(), buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for part in source.infolist():
            bomb.writestr(part.filename, source.read(part) + b"\0" * (1 << 20))
    with pytest.raises(CheckpointError, match="its parts are compressed or overlap"):
        load(tmp_path / "bomb.pt", SMALL)


def test_a_damaged_byte_is_an_error_or_changes_nothing_but_numbers(old: Student, tmp_path: Path) -> None:
    torch.save({"model": dict(list(old.state_dict().items())[:3])}, tmp_path / "good.pt")
    good, chance = (tmp_path / "good.pt").read_bytes(), random.Random(0)
    for _ in range(100):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / "bad.pt").write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load(tmp_path / "bad.pt", SMALL)
