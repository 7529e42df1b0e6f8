"""What half precision and 8 bits cost a trained student, what they gain it, and what NVIDIA's parser refuses.

    make bench-export      (benchmarks/export.py [--folder build/bench-export] [--frames 240] [--epochs 12] [--only accuracy|speed|parser] [--smoke])

The first time a student (EfficientViT-B1, 240×320) is trained from scratch on two synthetic corridors, about a quarter of an hour on two idle
cores; a folder that has a version takes its newest one. `accuracy` exports each form and holds it to the network on the held-out frames of
both corridors, by the verdict that promotions go by. `speed` asks `vortex bench` of each file, on one thread, in interleaved rounds with
torch eager: targets fp32 ≥ 1.7, and int8 for the host ≥ 2.5 within the bounds of the task, or withheld, which is what a promotion then says.
`parser` shows files to TensorRT-RTX where it is installed: ours for a Jetson is to be taken, ONNX Runtime's default recipe to be refused.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from core.files import write_atomic
from models.checkpoint import save
from models.student import Student, StudentConfig
from pipelines import workspace
from pipelines.data.datasets import resolve
from pipelines.hub.exports import FP32_PARTS, HOST, INT8_HOST, TASK, Form, TaskResult
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.ship.bench import bench
from pipelines.ship.export import tensorrt_check
from pipelines.ship.export.onnx import quiet
from pipelines.ship.export.parity import noise
from pipelines.ship.export.quantized import Frames, write_int8
from pipelines.ship.export.run import export, export_path
from pipelines.ship.promote import promote
from pipelines.synthetic.dataset import synthesise
from pipelines.validate.gate_run import validate
from pipelines.workspace import Workspace
from registry.records import DataUse, NewVersion

SETS = {"lobby": 11, "hall": 12}
"""Two corridors of twelve layouts each, by their seeds: a verdict asks for many layouts, not for many frames."""
DEVICE = "eight"
FORMS = (HOST, Form("fp16", "jetson"), Form("int8", "jetson"), INT8_HOST)
TARGETS = {HOST: 1.7, INT8_HOST: 2.5}
DEFAULT_RECIPES: dict[str, dict[str, Any]] = {
    "ONNX Runtime's defaults": {},
    "U8S8, as they are": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8},
    "U8S8, biases in fp32": {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "extra_options": {"QuantizeBias": False},
    },
}


def main() -> None:
    """Measure and print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("build/bench-export"))
    parser.add_argument("--frames", type=int, default=240, help="of each corridor")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--only", choices=("accuracy", "speed", "parser"))
    parser.add_argument("--smoke", action="store_true", help="a tiny student that nobody trained: does it work at all?")
    options = parser.parse_args()
    print(f"{processor()}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    if options.smoke:
        with tempfile.TemporaryDirectory() as folder:
            ws, forms = prepare(Path(folder), 24, (64, 96), ["hall"]), (HOST, INT8_HOST)
            measure(ws, untrained(ws), forms, None)
        return
    versions = hub(workspace.load(options.folder)).versions() if (options.folder / workspace.FILE).exists() else []
    if not versions:
        ws = prepare(options.folder, options.frames, (240, 320), list(SETS))
        train(ws, options.epochs)
    ws = workspace.load(options.folder)
    measure(ws, hub(ws).versions()[-1].name, FORMS, options.only)


def measure(ws: Workspace, name: str, forms: Iterable[Form], only: str | None) -> None:
    """Print the tables of a version."""
    version = hub(ws).get(name)
    trained = ", ".join(f"{use.frames.get('train', 0)} frames of {use.name}" for use in version.data)
    print(
        f"{name}: {version.recipe_config.get('student', {}).get('encoder', 'untrained')} at {version.size[0]}x{version.size[1]}, on {trained}"
    )
    if only in (None, "accuracy"):
        accuracy(ws, name, forms)
    if only in (None, "speed"):
        speed(ws, name, [form for form in forms if form.precision != "fp16"])  # a processor computes it in fp32
    if only in (None, "parser"):
        shown_to_parser(export_path(ws, version), version.size)


def accuracy(ws: Workspace, name: str, forms: Iterable[Form]) -> None:
    """Each form against the network, metric by metric."""
    for form in forms:
        started = time.perf_counter()
        exported = export(ws, name, form)
        seconds = time.perf_counter() - started
        print(f"\n{form}: {exported.artifact.bytes / 1e6:.1f} MB, exported and judged in {seconds:.0f} s")
        print(f"  largest difference {exported.parity_m:.1e} m, same class {exported.class_agreement:.2%}, {exported.frames} frames")
        if FP32_PARTS in exported.detail:
            print(f"  stays in fp32: {', '.join(exported.detail[FP32_PARTS])}")
        task = TaskResult.from_json(exported.detail[TASK]) if TASK in exported.detail else None
        for metric, place, comparison in task.judgements if task else ():
            print(f"  {metric:14} {place:24} {comparison.word:10} {comparison.text}")
        if task:
            print(f"  {'passes' if task.passed else 'does not pass'}: within {task.margin:.0%}, of IoU {task.iou:.1%} at least")


def speed(ws: Workspace, name: str, forms: Iterable[Form]) -> None:
    """Each file against torch eager, and what a promotion makes of it."""
    print(f"\n{'file':16} {'p50 ms':>8} {'p99 ms':>8}   times torch eager")
    for form in forms:
        measured = bench(ws, name, form=form, task=False, record=True)
        assert measured.over_eager is not None
        target = TARGETS.get(form)
        met = "" if target is None else f"   (target {target}: {'met' if measured.over_eager >= target else 'MISSED'})"
        print(f"{form!s:16} {measured.compute.p50:8.2f} {measured.compute.p99:8.2f}   {measured.over_eager:.2f}{met}")
    eager = bench(ws, name, runtime="torch", form=HOST, frames=50, task=False)
    print(f"{'torch eager':16} {eager.compute.p50:8.2f} {eager.compute.p99:8.2f}")
    for device in ("host", DEVICE):
        report = promote(ws, name, "production", device=device, domain="corridor", dry_run=True)
        print(f"\n{report.sentence()}")
        for check in (check for stage in report.stages for check in stage.checks):
            if check.name.startswith(("int8-speed", "independent-frames", "better-than-nothing")) or not check.passed:
                print(f"  {'pass' if check.passed else 'FAIL'} {check.name}: {check.found}")


def shown_to_parser(source: Path, size: tuple[int, int]) -> None:
    """Which 8-bit files NVIDIA's parser takes; calibrated on noise, for no parser looks at ranges."""
    if not tensorrt_check.installed():
        print(f"\nTensorRT-RTX is not installed, so no parser was asked: {tensorrt_check.INSTALL}")
        return
    print("\nTensorRT-RTX is shown:")
    frames = noise(size, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        write_int8(source, path, "jetson", list(frames))
        print(f"  S8S8 as exported: {outcome(tensorrt_check.build(path), True)}")
        for words, recipe in DEFAULT_RECIPES.items():
            with quiet():
                quantize_static(str(source), str(path), Frames(list(frames)), quant_format=QuantFormat.QDQ, **recipe)
            print(f"  {words}: {outcome(tensorrt_check.build(path), False)}")


def outcome(builds: tensorrt_check.Builds, expected: bool) -> str:
    """What the parser said, and whether that was to be."""
    return f"{'taken' if builds.passed else 'refused'}{'' if builds.passed is expected else ' (UNEXPECTED)'}: {builds.text}"


def prepare(folder: Path, frames: int, size: tuple[int, int], names: Iterable[str]) -> Workspace:
    """A workspace with corridors that passed the gate, and a device that is sent int8."""
    ws = init(folder)
    write_atomic(folder / workspace.FILE, (folder / workspace.FILE).read_text() + f'\n[devices.{DEVICE}]\nprecision = "int8"\n')
    for name in names:
        synthesise(ws, name, world="corridor", domain="corridor", frames=frames, seed=SETS[name], size=size)
        ws = workspace.load(folder)
        assert validate(ws, resolve(ws, name_or_manifest=name)).passed
    return ws


def train(ws: Workspace, epochs: int) -> None:
    """Train from scratch, as a person would."""
    line = f"train v5 --domain corridor --size 240x320 --epochs {epochs} --encoder-weights none"
    print(f"$ vortex {line}", flush=True)
    subprocess.run([sys.executable, "-m", "vortex_cli.main", *shlex.split(line)], check=True, cwd=ws.root)


def untrained(ws: Workspace) -> str:
    """A version with random weights that says that it was trained on what is there."""
    registry, size = hub(ws), (64, 96)
    ref = resolve(ws, name_or_manifest="hall")
    run = registry.store.start_run("made by a benchmark")
    torch.manual_seed(0)
    path = ws.build / "student.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, Student(StudentConfig(encoder="mobilenetv3_small_100", size=size)), {})
    stored = registry.store.log_artifact(run, path, "checkpoint")
    use = DataUse("hall", "corridor", "corridor", ref.digest, ref.dvc, True, {"train": 16})
    return registry.register(NewVersion(None, False, {}, (), "corridor", (use,), size, run, "smoke", stored), actor="benchmark").name


def processor() -> str:
    """The processor as the system calls it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "a processor")


if __name__ == "__main__":
    main()
