"""Health is the task: what a model answers on frames with truth, and what becomes of one that crashes or hangs."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from vortex_jetson.engines.engine import OnnxEngine, open_engine
from vortex_jetson.errors import BadBundle, EngineFailed, HealthFailed, Interrupted, LibraryMissing, Untrusted, UsageError
from vortex_jetson.formats import bundle as bundles
from vortex_jetson.formats.bundle import Bounds, HealthFrame
from vortex_jetson.formats.channel import Release
from vortex_jetson.update import agent, health
from vortex_jetson.update.device import Device
from vortex_jetson.update.health import Frame, Measured, measure, verdict
from vortex_jetson.update.slots import Slots

from tests.unit.jetson.bundles import PLAIN, bundle_of
from tests.unit.jetson.models import HEIGHT, METRES, WIDTH, model, picture, truth
from tests.unit.jetson.publisher import Publisher

BOUNDS = Bounds(0.05, 0.06, 0.95)


def frames() -> list[Frame]:
    made = []
    for seed in range(2):
        rgb = picture(seed)
        depth, classes = truth(rgb)
        made.append(Frame(rgb, depth.astype(np.float32) / 1000, classes))
    return made


def test_a_good_model_answers_in_metres_and_classes() -> None:
    engine = OnnxEngine(model("good"), "good")
    rgb = picture(0)
    depth, logits = engine.run(rgb)
    assert depth.shape == (HEIGHT, WIDTH) and depth.dtype == np.float32 and logits.shape == (6, HEIGHT, WIDTH)
    np.testing.assert_allclose(depth, rgb.mean(2) / 255 * METRES, atol=1e-5)
    measured = measure(engine, frames())
    assert measured.rmse_m < 0.0005, "the truth is rounded to millimetres"
    assert measured.class_agreement == 1.0
    assert verdict(measured, BOUNDS) is None


def test_rmse_is_over_all_known_pixels_together() -> None:
    class Fixed:
        def __init__(self) -> None:
            self.depths = iter([np.full((2, 2), 1.0, np.float32), np.array([[3.0, 2.0], [2.0, 2.0]], np.float32)])

        def run(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return next(self.depths), np.zeros((6, 2, 2), np.float32)

    rgb = np.zeros((2, 2, 3), np.uint8)
    first = Frame(rgb, np.array([[1.5, 0.0], [0.0, 11.0]], np.float32), np.array([[0, 1], [255, 255]], np.uint8))
    second = Frame(rgb, np.array([[1.0, 2.0], [2.0, 0.0]], np.float32), None)
    measured = measure(Fixed(), [first, second])
    assert measured.rmse_m == pytest.approx(np.sqrt((0.5**2 + 2.0**2) / 4))
    assert measured.worst_rmse_m == pytest.approx(np.sqrt(4 / 3))
    assert (measured.class_agreement, measured.spread_m, measured.change_m) == (0.5, 1.0, 2.0)


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (Measured(0.01, 0.01, 1.0, 0.005, 1.0), "constant"),
        (Measured(0.01, 0.01, 1.0, 1.0, 0.0), "answers every picture alike"),
        (Measured(float("nan"), 0.01, 1.0, 1.0, 1.0), "not a number"),
        (Measured(0.01, 0.01, 1.0, float("inf"), 1.0), "not a number"),
        (Measured(0.01, 0.01, 1.0, 1.0, float("nan")), "answers every picture alike"),
        (Measured(0.051, 0.051, 1.0, 1.0, 1.0), "depth is off by 0.051 m"),
        (Measured(0.01, 0.07, 1.0, 1.0, 1.0), "worst frame"),
        (Measured(0.01, 0.01, 0.9, 1.0, 1.0), "90.0 % of the classes"),
        (Measured(0.01, 0.01, None, 1.0, 1.0), "0.0 % of the classes"),
    ],
)
def test_what_fails_says_why(measured: Measured, words: str) -> None:
    reason = verdict(measured, BOUNDS)
    assert reason is not None and words in reason
    assert verdict(Measured(0.05, 0.06, 0.95, 1.0, None), BOUNDS) is None


@pytest.mark.parametrize("kind", ["constant", "nan", "half"])
def test_a_model_that_loads_and_does_not_see_fails(kind: str) -> None:
    reason = verdict(measure(OnnxEngine(model(kind), kind), frames()), BOUNDS)
    assert reason is not None
    assert {"constant": "constant", "nan": "not a number", "half": "depth is off by"}[kind] in reason


def test_an_engine_refuses_what_is_not_its_size_or_no_model() -> None:
    engine = OnnxEngine(model("good"), "good")
    for rgb in (np.zeros((HEIGHT, WIDTH + 1, 3), np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.float32)):
        with pytest.raises(EngineFailed, match=r"allowed: uint8 \(12, 16, 3\)"):
            engine.run(rgb)
    with pytest.raises(EngineFailed, match="does not load"):
        OnnxEngine(b"no model", "none")


def test_a_model_is_loaded_only_as_it_was_verified(tmp_path: Path) -> None:
    bundle = bundle_of(PLAIN | {"models/v9-fp32.onnx": model("good")})
    (tmp_path / "models").mkdir()
    path = tmp_path / "models/v9-fp32.onnx"
    path.write_bytes(model("good"))
    assert open_engine("onnxruntime", tmp_path, bundle).run(picture(0))[0].shape == (HEIGHT, WIDTH)
    path.write_bytes(model("constant"))
    with pytest.raises(Untrusted, match="was not loaded"):
        open_engine("onnxruntime", tmp_path, bundle)
    with pytest.raises(UsageError, match="allowed: onnxruntime, tensorrt"):
        open_engine("caffe", tmp_path, bundle)
    with pytest.raises(UsageError, match="v9 has no model for tensorrt, it has: host"):
        open_engine("tensorrt", tmp_path, replace(bundle, models=bundle.models[:1]))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.asfortranarray(np.zeros((4, 4, 3), np.uint8)),
        np.array([["a"]], object),
        np.zeros((1200, 1200, 3), np.uint8),
    ],
)
def test_a_health_frame_of_another_kind_is_refused(array: NDArray[np.uint8], tmp_path: Path) -> None:
    np.save(tmp_path / "rgb.npy", array)
    np.save(tmp_path / "depth.npy", np.zeros((4, 4), np.uint16))
    with pytest.raises(BadBundle):
        health.load(tmp_path, HealthFrame("rgb.npy", "depth.npy", None))


def test_a_health_frame_whose_header_promises_more_than_it_has_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "rgb.npy", np.zeros((4, 4, 3), np.uint8))
    np.save(tmp_path / "depth.npy", np.zeros((4, 4), np.uint16))
    assert health.load(tmp_path, HealthFrame("rgb.npy", "depth.npy", None)).rgb.shape == (4, 4, 3)
    content = (tmp_path / "rgb.npy").read_bytes()
    for changed in (content[:-1], content + b"x", content.replace(b"(4, 4, 3)", b"(9, 9, 3)"), b"PK\x03\x04", b""):
        (tmp_path / "rgb.npy").write_bytes(changed)
        with pytest.raises(BadBundle):
            health.load(tmp_path, HealthFrame("rgb.npy", "depth.npy", None))


def library(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a library that is called onnxruntime before the real one, for the child process."""
    (folder / "onnxruntime.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")])))


def on_trial(device: Device, publisher: Publisher) -> None:
    from vortex_jetson.update.transfer import FolderSource, Transfer

    release = publisher.bundle("v8")
    publisher.publish(release)
    agent.stage(device, device.slots(), release, Transfer(FolderSource(publisher.folder)))


def test_a_library_that_crashes_is_tried_three_times_and_a_reboot_between_them_does_not_count(
    device: Device, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_trial(device, publisher)
    runs = tmp_path / "runs"
    library(tmp_path, f"import os\nopen({str(runs)!r}, 'a').write('x')\nos.kill(os.getpid(), {int(signal.SIGSEGV)})\n", monkeypatch)
    device.write(device.slots().crash("an earlier boot").crash("an earlier boot"))
    with pytest.raises(HealthFailed, match=r"its process died of SIGSEGV \(3 times\)"):
        agent.prove(device, device.slots())
    assert runs.read_text() == "xxx"
    assert list(device.slots().barred.values()) == ["v8: its process died of SIGSEGV (3 times)"]


def test_a_hang_fails_and_an_end_from_outside_says_nothing(
    device: Device, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_trial(device, publisher)
    library(tmp_path, f"import os\nos.kill(os.getpid(), {int(signal.SIGTERM)})\n", monkeypatch)
    with pytest.raises(Interrupted):
        agent.prove(device, device.slots())
    assert device.slots().trial is not None and not device.slots().barred
    library(tmp_path, "import time\ntime.sleep(60)\n", monkeypatch)
    hasty = replace(device, limits=replace(device.limits, health_s=1.0))
    with pytest.raises(HealthFailed, match="it did not answer within 1 s"):
        agent.prove(hasty, device.slots())


def test_a_child_that_gives_no_answer_fails_with_what_it_said_last(
    device: Device, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_trial(device, publisher)
    library(tmp_path, "import sys\nprint('hello')\nprint('out of memory', file=sys.stderr)\nsys.exit(7)", monkeypatch)
    once = replace(device, limits=replace(device.limits, health_crashes=1))
    with pytest.raises(HealthFailed, match=r"its process ended with 7: out of memory \(1 times\)"):
        agent.prove(once, device.slots())


def test_a_device_without_its_library_bars_nothing(
    device: Device, publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_trial(device, publisher)
    library(tmp_path, "raise ImportError('libcuda.so.1 is missing')", monkeypatch)
    with pytest.raises(LibraryMissing, match=r"libcuda\.so\.1 is missing"):
        agent.prove(device, device.slots())
    assert device.slots() == Slots()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": (HEIGHT, WIDTH + 2)}, f"its size is {HEIGHT}x{WIDTH}, the manifest says {HEIGHT}x{WIDTH + 2}"),
        ({"classes": ("floor", "wall", "glass")}, "it answers 6 classes, the manifest names 3"),
    ],
)
def test_a_model_of_another_size_or_other_classes_than_a_robot_asks_for_does_not_do_its_task(
    change: dict[str, object], words: str, device: Device, publisher: Publisher
) -> None:
    """It would answer its frames well here, and none of the robot's."""
    v8 = publisher.bundle("v8")
    manifest = bundles.parse((publisher.folder / "files" / v8.bundle[:2] / v8.bundle).read_bytes())
    content = bundles.dump(replace(manifest, inflation={}, **change))  # type: ignore[arg-type]
    digest = bundles.digest(content)
    publisher.put(f"files/{digest[:2]}/{digest}", content)
    publisher.publish(Release("v8", digest, len(content)))
    with pytest.raises(HealthFailed, match=words):
        agent.pull(device)
    assert device.slots().running is None and digest in device.slots().barred
