from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from core.classes import CLASSES
from core.errors import VortexError
from core.files import sha256_file
from models.student import Prediction, Student, StudentConfig
from pipelines.data.datasets import DatasetCard, new_dataset
from pipelines.hub.exports import HOST, PARITY_DOMAIN, newest, on_too_few_frames, parity_checks
from pipelines.hub.open import hub
from pipelines.predict.runtimes import DEPTH, INPUT, LOGITS, of_file, session
from pipelines.ship.export.contract import contract
from pipelines.ship.export.onnx import OPSET, holds, write_onnx
from pipelines.ship.export.parity import measure_parity, noise
from pipelines.ship.export.run import export, export_path, parity_frames
from pipelines.workspace import Workspace, load
from registry.records import Artifact, DataUse, Export, Metrics
from tests.unit.pipelines.conftest import SIZE, write_frames


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(1)
    return Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)).eval()


@pytest.fixture(scope="module")
def exported(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exports") / "student.onnx"
    write_onnx(student, SIZE, path, {"vortex.version": "v6"})
    return path


def test_file_is_whole_static_and_named(exported: Path):
    model = onnx.load(str(exported))
    assert next(entry.version for entry in model.opset_import if not entry.domain) == OPSET
    assert [value.name for value in model.graph.input] == [INPUT] and [value.name for value in model.graph.output] == [DEPTH, LOGITS]
    assert session(exported).get_inputs()[0].shape == [1, 3, *SIZE]
    assert session(exported).get_modelmeta().custom_metadata_map["vortex.version"] == "v6"
    assert [path.name for path in exported.parent.iterdir()] == ["student.onnx"]  # no external weights, no staging left


class Tiny(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 7, 3, padding=1)

    def forward(self, rgb: torch.Tensor) -> Prediction:
        both = self.layer(rgb)
        return Prediction(both[:, :1], both[:, 1:])


def test_exporter_is_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    write_onnx(Tiny(), SIZE, tmp_path / "tiny.onnx", {"a": "b"})  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")
    assert holds(tmp_path / "tiny.onnx", {"a": "b"}) and not holds(tmp_path / "tiny.onnx", {"a": "c"})
    (tmp_path / "tiny.onnx").write_bytes((tmp_path / "tiny.onnx").read_bytes()[:-7])
    assert not holds(tmp_path / "tiny.onnx", {"a": "b"}) and not holds(tmp_path / "none.onnx", {})


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import errno
    import os

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(VortexError, match=r"tiny\.onnx: no space left on the disk; nothing was written"):
        write_onnx(Tiny(), SIZE, tmp_path / "tiny.onnx", {})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_file_normalises_by_itself_so_that_doing_it_before_is_another_picture(exported: Path, student: Student):
    raw = noise(SIZE, 1).astype(np.float32).transpose(0, 3, 1, 2) / 255
    mean, deviation = (np.array(values, np.float32)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    run = session(exported)
    with torch.no_grad():
        expected = student(torch.from_numpy(raw)).depth.numpy()
    assert np.abs(run.run([DEPTH], {INPUT: raw})[0] - expected).max() < 1e-4
    assert np.abs(run.run([DEPTH], {INPUT: (raw - mean) / deviation})[0] - expected).max() > 1e-3


def test_parity_holds_and_notices(exported: Path, student: Student):
    frames = noise(SIZE, 2)
    found = measure_parity(student, of_file(exported), frames)
    assert found.depth_m < 1e-4 and found.class_agreement > 0.999 and found.frames == 2
    with torch.no_grad():
        student.depth_head[0].bias += 0.5  # type: ignore[operator, index]
        student.seg_head.bias[2] += 100  # type: ignore[index]
    off = measure_parity(student, of_file(exported), frames)
    assert off.depth_m == pytest.approx(0.5, abs=1e-4) and off.class_agreement < 0.999
    with torch.no_grad():
        student.depth_head[0].bias += float("nan")  # type: ignore[operator, index]
    assert np.isnan(measure_parity(student, of_file(exported), frames).depth_m)


def test_what_cannot_be_exported_leaves_no_file(tmp_path: Path):
    class Odd(torch.nn.Module):
        def forward(self, rgb: torch.Tensor) -> torch.Tensor:
            return rgb if rgb.sum() > 0 else -rgb

    with pytest.raises(VortexError, match="could not translate the student"):
        write_onnx(Odd(), SIZE, tmp_path / "odd.onnx", {})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_named(tmp_path: Path):
    (tmp_path / "bad.onnx").write_bytes(b"no")
    with pytest.raises(VortexError, match=r"bad\.onnx: is no ONNX file that can be run \("):
        session(tmp_path / "bad.onnx")


def test_a_file_that_is_not_all_of_its_model_is_not_run(tmp_path: Path):
    """What is recorded is its own digest, not that of the file that it names."""
    weight = onnx.numpy_helper.from_array(np.ones(4, np.float32), "weight")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["weight"], ["depth"])], "g", [], [onnx.helper.make_tensor_value_info("depth", 1, [4])], [weight]
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save_model(proto, tmp_path / "whole.onnx")
    assert session(tmp_path / "whole.onnx").run(["depth"], {})[0].tolist() == [1, 1, 1, 1]
    onnx.save_model(proto, tmp_path / "part.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(VortexError, match=r"part\.onnx: names other files, which nobody has verified"):
        session(tmp_path / "part.onnx")


def test_export_is_recorded(workspace: Workspace, make_version: Callable[..., str]):
    name = make_version()
    dry = export(workspace, name, record=False)
    assert hub(workspace).get(name).exports == () and Path(dry.artifact.uri).is_file()
    made = export(workspace, name)
    version = hub(workspace).get(name)
    assert newest(version) == made and made.size == SIZE and made.opset == OPSET
    assert made.parity_m is not None and made.parity_m < 1e-4 and (made.parity_on, made.frames) == ("noise", 4)
    assert made.detail["host_only"] is True
    properties = session(hub(workspace).artifacts.path(made.artifact)).get_modelmeta().custom_metadata_map
    assert properties["vortex.version"] == name and properties["vortex.checkpoint_sha256"] == version.checkpoint.sha256
    assert properties["vortex.classes"].split(",") == list(CLASSES)
    # Only the recorded file is kept.
    path, stored = export_path(workspace, hub(workspace).get(name)), hub(workspace).artifacts.path(made.artifact)
    steps: list[str] = []
    inode = path.stat().st_ino
    export(workspace, name, on_step=steps.append)
    assert path.stat().st_ino == inode and not any(step.startswith("exporting") for step in steps)
    model = onnx.load(str(path))  # another network under the same names and metadata
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.00001), bias.name))
    onnx.save(model, str(path))
    assert holds(path, {entry.key: entry.value for entry in model.metadata_props})
    again = export(workspace, name, on_step=steps.append)
    assert steps[-2] == f"exporting {name} at {SIZE[0]}x{SIZE[1]}"
    assert again.artifact.sha256 == sha256_file(path) == sha256_file(hub(workspace).artifacts.path(again.artifact))
    assert sha256_file(stored) == made.artifact.sha256, "what the first event names is still there"
    assert properties["vortex.colour_order"] == "RGB" and properties["vortex.normalisation"].startswith("inside")
    assert properties["vortex.domain"] == version.domain and properties["vortex.camera"] == "not recorded"
    page = (Path(__file__).parents[4] / "docs" / "onnx.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(vortex\.[a-z0-9_]+)`", page)) == {key for key in properties if key.startswith("vortex.")}


def test_parity_uses_the_frames_that_judge_the_domain(workspace: Workspace, make_version: Callable[..., str]):
    version = hub(workspace).get(make_version())
    assert parity_frames(workspace, version, "rooms").domain is None
    with new_dataset(workspace, "small", DatasetCard(name="small", domain="rooms", kind="room", format="plain")) as folder:
        write_frames(folder)
    ws = load(workspace.root)
    frames = parity_frames(ws, version, "rooms")
    assert (frames.source, frames.domain, frames.rgb.shape, frames.rgb.dtype) == ("small", "rooms", (6, *SIZE, 3), np.uint8)
    elsewhere = parity_frames(ws, version, "attic")
    assert (elsewhere.source, elsewhere.domain, len(elsewhere.rgb)) == ("noise", None, 4)


@pytest.mark.parametrize(
    ("depth_m", "agreement", "answer", "passed"),
    [
        (1.5e-5, 1.0, "1.5e-05 m, 100.00% on 6 frames of small", True),
        (0.01, 1.0, "1.0e-02 m, 100.00% on 6 frames of small", False),
        (None, 1.0, "not exported: run `vortex export`", False),
    ],
)
def test_an_export_is_held_against_the_bound_of_staging_alone(depth_m: float | None, agreement: float, answer: str, passed: bool) -> None:
    exported = Export(
        Artifact("x", "0" * 64, 1),
        size=SIZE,
        parity_m=depth_m,
        class_agreement=agreement,
        parity_on="small",
        frames=6,
        detail={PARITY_DOMAIN: "rooms"},
    )
    assert [(check.name, check.found, check.passed) for check in parity_checks(exported)] == [("onnx-parity", answer, passed)]
    few = dataclasses.replace(exported, frames=2)
    assert not parity_checks(few)[0].passed and on_too_few_frames(few) == passed and not on_too_few_frames(exported)
    assert not on_too_few_frames(dataclasses.replace(few, detail={PARITY_DOMAIN: None})), "noise is no frame at all"


def test_the_contract_names_the_cameras_of_the_training_s_own_data(workspace: Workspace, make_version: Callable[..., str]):
    version = hub(workspace).get(make_version())
    use = DataUse("hall", "rooms", "room", "ab" * 32, None, True, {"train": 3})
    measured = [
        Metrics("rooms", camera, "val-pooled-10m/1", dataset, "ab" * 32, {}, 3) for camera, dataset in (("d455", "hall"), ("zed", "x"))
    ]
    told = contract(dataclasses.replace(version, data=(use,), metrics=tuple(measured)), {"floor": 7, "glass": 0}, HOST)
    assert (told["vortex.camera"], told["vortex.classes_trained"]) == ("d455", "floor=7,glass=0")
