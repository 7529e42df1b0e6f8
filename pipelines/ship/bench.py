"""How fast a version runs here, how much memory it takes, and how good its answers are on the very engine that was timed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from vortex_jetson.engines.timing import WARM_UP, Memory, percentiles, timed

from core.errors import UsageError
from core.files import write_atomic
from core.progress import Notice
from pipelines.evaluate.student import evaluate_predictor
from pipelines.exam.sets import ExamSet
from pipelines.hub.evidence import add
from pipelines.hub.exports import Form, newest
from pipelines.hub.open import hub
from pipelines.pack.decoding import resized
from pipelines.pack.preparing import packs_folder
from pipelines.predict.engines import opened
from pipelines.predict.runtimes import Predictor
from pipelines.protocol import EXAM
from pipelines.ship.export.parity import noise
from pipelines.ship.export.run import exam_of
from pipelines.workspace import Workspace
from registry.records import Artifact, Version
from validation.decode import read_rgb
from validation.evidence.device_bench import DeviceBench, Latency

ROUNDS, CALLS = 15, 3
"""Of a comparison with torch eager: both take turns, and turns at going first, and the median of the rounds' own ratios counts, because a slow
spell of the machine meets both sides of its round."""
PICTURES: Final = 16
"""Different pictures that take turns, so that no engine works from a warm cache of one."""
BESIDE_EAGER: Final = ("onnx", "openvino")
"""The runtimes that compute where torch eager does: on the processor."""
METRICS: Final = ("rmse", "rmse_near", "miou", "iou_glass")


@dataclass(frozen=True)
class Bench:
    """What was measured. `compute` is from a picture [H,W,3] in memory to depth and logits in memory; `end_to_end` is that with reading the
    file, decoding and resizing it before, None where no pictures are here. `memory_bytes` is what loading and running the engine added to
    the process at most, None where the system does not tell. `task` is place → metric → value, on the exam, by the same engine. `over_eager` is
    how many times as fast as torch eager it is, None for torch itself and on a GPU."""

    version: str
    runtime: str
    form: Form
    library: str
    machine: str
    threads: int
    size: tuple[int, int]
    frames: int
    pictures: str
    warm_up: int
    compute: Latency
    frames_per_second: float
    end_to_end: Latency | None
    memory_bytes: int | None
    task: dict[str, dict[str, float]]
    over_eager: float | None = None
    remark: str = ""
    report: DeviceBench | None = None
    recorded: bool = False


def bench(
    ws: Workspace,
    name: str,
    *,
    runtime: str = "onnx",
    form: Form,
    threads: int = 1,
    frames: int = 200,
    task: bool = True,
    record: bool = False,
    on_step: Notice | None = None,
) -> Bench:
    """Time version `name` on an engine of this machine over `frames` frames, one at a time, after a warm-up.

    torch runs the network, every other runtime the recorded export of this form, of which there is a report. With `record` that is added to
    the version's evidence. Raises UsageError for an unknown runtime, and for `record` without a file that the report could be about;
    VortexError for a runtime that is not installed, and an export that is not there.
    """
    notice = on_step or (lambda _: None)
    registry = hub(ws)
    version = registry.get(name)
    if record and runtime == "torch":
        raise UsageError("--record keeps a report about a file, and torch runs the network", "leave --record out, or name another runtime")
    sets = exam_of(ws, version.domain) if version.domain else ()
    files = _files(sets)
    pictures = [resized(read_rgb(path), version.size) for path in files] or list(noise(version.size))
    taken = Memory()
    with opened(registry, version, runtime, form, threads) as engine:
        notice(f"timing {name} on {engine.library}: {frames} frames")
        compute = timed(frames, lambda place: engine.predict(pictures[place % len(pictures)][None]))
        memory = taken.added()
        whole = (
            timed(frames, lambda place: engine.predict(resized(read_rgb(files[place % len(files)]), version.size)[None])) if files else None
        )
        over_eager = None
        if runtime in BESIDE_EAGER:
            notice(f"timing it beside torch eager: {ROUNDS} rounds")
            with opened(registry, version, "torch", form, threads) as eager:
                over_eager = _speedup(engine.predict, eager.predict, pictures)
        figures = _task(ws, version, engine.predict, sets, notice) if task else {}
    measured = Bench(
        name,
        runtime,
        form,
        engine.library,
        _machine(),
        threads,
        version.size,
        frames,
        ", ".join(exam_set.ref.name for exam_set in sets) or "seeded noise",
        WARM_UP,
        Latency(**percentiles(compute)),
        float(1000 * len(compute) / compute.sum()),
        None if whole is None else Latency(**percentiles(whole)),
        memory,
        figures,
        over_eager,
        engine.remark,
    )
    exported = newest(version, form)
    if runtime == "torch" or exported is None:
        return measured
    measured = dataclasses.replace(measured, report=_report(measured, version, exported.artifact))
    return dataclasses.replace(measured, recorded=_record(ws, measured)) if record else measured


def _files(sets: Sequence[ExamSet]) -> list[Path]:
    every = [exam_set.ref.root / frame.rgb for exam_set in sets for frame in exam_set.frames]
    places = np.unique(np.linspace(0, len(every) - 1, PICTURES).astype(int)) if every else ()
    return [every[place] for place in places]


def _speedup(ours: Predictor, theirs: Predictor, pictures: Sequence[NDArray[np.uint8]]) -> float:
    """How many times as fast as `theirs` one of two predictors is: the median over the rounds in which they take turns."""
    sides = (ours, theirs)
    for predict in sides:
        for place in range(CALLS):
            predict(pictures[place % len(pictures)][None])
    seconds = np.empty((ROUNDS, len(sides)))
    for number in range(ROUNDS):
        for side in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            for place in range(number * CALLS, (number + 1) * CALLS):
                sides[side](pictures[place % len(pictures)][None])
            seconds[number, side] = time.perf_counter() - started
    return float(np.median(seconds[:, 1] / seconds[:, 0]))


def _task(ws: Workspace, version: Version, predictor: Predictor, sets: Sequence[ExamSet], notice: Notice) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    for exam_set in sets:
        notice(f"measuring it on {len(exam_set.frames)} frames of {exam_set.ref.name}")
        for evaluation in evaluate_predictor(predictor, exam_set.ref, exam_set.frames, version.size, packs_folder(ws), EXAM):
            values: dict[str, float] = {name: evaluation.values[name] for name in METRICS if name in evaluation.values}
            figures[f"{exam_set.ref.name}, {evaluation.camera}"] = values
    return figures


def _report(measured: Bench, version: Version, artifact: Artifact) -> DeviceBench:
    return DeviceBench(
        format=1,
        kind="device-bench",
        checkpoint_sha256=version.checkpoint.sha256,
        export_sha256=artifact.sha256,
        made_at=datetime.now(UTC),
        made_by="vortex bench",
        device=f"host ({measured.machine})",
        runtime=measured.library,
        precision=measured.form.precision,
        input_size=list(measured.size),
        frames=measured.frames,
        latency_ms=measured.compute,
        throughput_fps=measured.frames_per_second,
        end_to_end_ms=measured.end_to_end,
        threads=measured.threads,
        memory_bytes=measured.memory_bytes,
        # A report holds no number that is none; who predicts one has lost anyway.
        task={place: {name: value for name, value in values.items() if np.isfinite(value)} for place, values in measured.task.items()},
        over_eager=measured.over_eager,
    )


def _record(ws: Workspace, measured: Bench) -> bool:
    """Add the report to the version's evidence; True."""
    assert measured.report is not None
    path = ws.build / "bench" / f"{measured.version}-{measured.runtime}{measured.form.suffix}.json"
    write_atomic(path, measured.report.model_dump_json(exclude_none=True, indent=1))
    add(ws, measured.version, path, "device-bench")
    return True


def _machine() -> str:
    """The processor as the system calls it."""
    import platform

    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())[:200]
    return platform.processor() or platform.machine()
