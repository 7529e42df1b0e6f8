"""What other work on the machine costs training, evaluation, labelling, a Ray worker and ONNX Runtime, by how their threads wait.

    make bench-neighbours        (benchmarks/neighbours.py [--rounds 5] [--seconds 6] [--size 96x128] [--only training …]
                                  [--also GOMP_SPINCOUNT=20000 …] [--smoke])

Each kind of work runs alone and beside one busy loop a core: in the environment that `core.environment` prepares (vortex), with the waiting
that OpenMP and ONNX Runtime choose by themselves (libraries), and with each variable of `--also` instead. Each of these is a process that
warms up once; then all take turns within each round, and those whose turn it is not sleep
(a variable of `--also` by which threads never sleep, such as OMP_WAIT_POLICY=ACTIVE, would disturb the others). What is printed is the median of the rounds, and
how many turns beside were slower than a tenth of alone.
Targets: CPU time a frame beside busy loops ≤ 1.2× of alone, and alone ≥ 0.95× of the frames a second of the libraries' own waiting.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Final

import numpy as np

from core import environment
from core.machine import cores

Step = Callable[[], int]
"""A piece of work, which says how many frames it did."""
WORKS = ("training", "evaluation", "one thread", "labelling", "ray worker", "onnx runtime")
BATCH = 8
OURS, THEIRS = "vortex", "libraries"
UNPREPARED = "VORTEX_BENCH_UNPREPARED"
"""Set in the processes whose threads wait as the libraries, or a variable of `--also`, choose."""
LOST = 0.1
"""Share of the frames a second of alone below which a turn beside busy loops is counted as lost."""
CPU_RATIO, SPEED_RATIO = 1.2, 0.95
WARM, TURN, DONE, END = "warm", "turn", "done", "end"
"""Files by which a process that works and the one that measures talk."""


def main() -> None:
    """Measure every kind of work in turn, print the table; exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each turn")
    parser.add_argument("--size", default="96x128", help="H x W")
    parser.add_argument("--only", nargs="+", choices=WORKS, default=WORKS, help="measure these")
    parser.add_argument("--also", nargs="+", default=[], metavar="NAME=VALUE", help="ways of waiting to be measured beside")
    parser.add_argument("--work", choices=WORKS, help="be a process that works")
    parser.add_argument("--gate", type=Path, help="the folder in which that process is told its turns, and says what it did")
    parser.add_argument("--smoke", action="store_true", help="one short round of labelling as Vortex sets it: does it work at all?")
    options = parser.parse_args()
    if options.work:
        height, width = (int(side) for side in options.size.split("x"))
        work(options.work, (height, width), options.seconds, options.gate)
        return
    if options.smoke:
        options.rounds, options.seconds, options.size = 1, 0.2, "64x96"
    print(f"{cores()} cores, {options.size}, training in batches of {BATCH}, {options.rounds} rounds of {options.seconds:g} s")
    print(
        f"{'work':13} {'waiting':24} {'alone: frames/s':>15} {'CPU ms':>7} {'beside: frames/s':>17} {'CPU ms':>7} {'ratio':>6} {'lost':>5}"
    )
    met = [_report(kind, options) for kind in (["labelling"] if options.smoke else options.only)]
    sys.exit(0 if all(met) or options.smoke else 1)


def _report(kind: str, options: argparse.Namespace) -> bool:
    ways = [OURS] if options.smoke else [OURS, THEIRS, *options.also]
    turns: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    with ExitStack() as workers:
        at_work = {way: workers.enter_context(worker(kind, way, options)) for way in ways}
        for _ in range(options.rounds):
            for way, turn in at_work.items():
                for beside in (False, True):
                    with busy_loops((1 if options.smoke else cores()) if beside else 0):
                        turns.setdefault((way, beside), []).append(turn())
    median = {key: tuple(statistics.median(column) for column in zip(*of_way, strict=True)) for key, of_way in turns.items()}
    for way in ways:
        alone, beside = median[way, False], median[way, True]
        lost = sum(rate < LOST * alone[0] for rate, _ in turns[way, True])
        words = f"{kind:13} {way:24} {alone[0]:15.1f} {alone[1]:7.1f} {beside[0]:17.1f} {beside[1]:7.1f}"
        print(f"{words} {beside[1] / alone[1]:6.2f} {lost:5}")
    cpu, speed = median[OURS, True][1] / median[OURS, False][1], median[OURS, False][0] / median[ways[min(1, len(ways) - 1)], False][0]
    good = cpu <= CPU_RATIO and speed >= SPEED_RATIO
    word = "met" if good else "MISSED"
    print(f"{'':13} {OURS}: {speed:.3f} of their speed alone (≥ {SPEED_RATIO}), beside: {cpu:.2f}× the CPU (≤ {CPU_RATIO})  {word}")
    return good


@contextmanager
def worker(kind: str, way: str, options: argparse.Namespace) -> Iterator[Callable[[], tuple[float, float]]]:
    """A process that is warm: called, it works for one turn, and gives frames a second and milliseconds of CPU a frame."""
    variables = {
        name: value for name, value in os.environ.items() if name not in (*environment.WAITING, *environment.BLAS, "OMP_WAIT_POLICY")
    }
    variables |= environment.FAIR  # how nice a Ray worker is says nothing of its waiting, and takes a thirtieth of a core beside others
    if way == OURS:
        variables |= environment.BLAS  # this module loads numpy before `prepare` is called, which no command does
    else:
        name, _, value = way.partition("=")
        variables |= {UNPREPARED: "1"} | ({name: value} if way != THEIRS else {})
    command = [sys.executable, "-m", "benchmarks.neighbours", "--work", kind, "--seconds", str(options.seconds), "--size", options.size]
    with tempfile.TemporaryDirectory() as folder:
        gate = Path(folder)
        process = subprocess.Popen([*command, "--gate", folder], env=variables, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[1])

        def answer(to: str) -> str:
            while not (gate / to).exists():
                if process.poll() is not None:
                    raise SystemExit(f"{kind}: the process that works ended with {process.returncode}")
                time.sleep(0.02)
            text = (gate / to).read_text()
            (gate / to).unlink()
            return text

        def turn() -> tuple[float, float]:
            (gate / TURN).touch()
            frames, seconds, cpu = json.loads(answer(DONE))
            return frames / seconds, 1000 * cpu / frames

        try:
            answer(WARM)
            yield turn
        finally:
            (gate / END).touch()
            process.wait()


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that never wait."""
    # They look after their parent, so that a benchmark that is killed leaves none behind.
    program = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    loops = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def work(kind: str, size: tuple[int, int], seconds: float, gate: Path) -> None:
    """Work for so many seconds whenever `gate` says so, in an environment that is prepared unless this process was told not to.

    Writes frames, seconds and seconds of CPU of each turn into `gate`.
    """
    if not os.environ.get(UNPREPARED):
        environment.prepare()
    if kind == "ray worker":
        import ray

        ray.init(num_cpus=cores(), include_dashboard=False, log_to_driver=False, _temp_dir=str(environment.socket_folder()))
        try:
            ray.get(ray.remote(work).options(num_cpus=cores()).remote("training", size, seconds, gate))
        finally:
            ray.shutdown()
        return
    step = STEPS[kind](size)
    step(), step()
    _write(gate / WARM, "")
    while gate.exists() and not (gate / END).exists():
        if not (gate / TURN).exists():
            time.sleep(0.02)
            continue
        (gate / TURN).unlink()
        started, cpu = time.perf_counter(), time.process_time()
        frames = 0
        while time.perf_counter() - started < seconds:
            frames += step()
        _write(gate / DONE, json.dumps((frames, time.perf_counter() - started, time.process_time() - cpu)))


def _write(path: Path, text: str) -> None:
    """Whole, or not there."""
    path.with_suffix(".part").write_text(text)
    path.with_suffix(".part").rename(path)


def _training(size: tuple[int, int]) -> Step:
    import torch

    from benchmarks.train import packed, real_batches, trainer
    from pipelines.train.plan.switches import Switches

    torch.set_num_threads(cores())
    switches = Switches.for_device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        batch = next(real_batches(packed(Path(folder), 16, size, fast=True), BATCH, torch.device("cpu"), switches))
    turn = trainer(switches, repeat(batch), encoder="efficientvit_b1", device=torch.device("cpu"))

    def step() -> int:
        turn(1)
        return BATCH

    return step


def _evaluation(size: tuple[int, int], threads: int = cores()) -> Step:
    """As `vortex evaluate` runs a network, or, for the libraries' own waiting, a whole batch by all threads."""
    import torch

    from models.student import Student, StudentConfig
    from pipelines.evaluate.student import frames_a_batch
    from pipelines.predict.runtimes import of_student

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    student, images = Student(StudentConfig(size=size)).eval(), np.zeros((frames_a_batch(size), *size, 3), np.uint8)
    predict = of_student(student)

    def step() -> int:
        if os.environ.get(UNPREPARED):
            with torch.inference_mode():
                student(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
        else:
            predict(images)
        return len(images)

    return step


def _labelling(size: tuple[int, int]) -> Step:
    from models.teachers.contract import View
    from models.teachers.geometric import Geometric
    from pipelines.synthetic.shot import camera_at, shoot
    from pipelines.synthetic.worlds import world

    place = world("rooms")
    scene = place.build((0, 0))
    shot = shoot(place, scene, 0.5, size, np.random.default_rng(0))
    view = View("frame", shot.rgb, camera_at(place, size, scene.walk(0.5)).pinhole, shot.depth, None)
    teacher = Geometric()

    def step() -> int:
        teacher.structure(view)
        return 1

    return step


def _onnx(size: tuple[int, int]) -> Step:
    """As `vortex evaluate` runs an export, or, for the libraries' own waiting, picture by picture by all threads."""
    import onnxruntime
    import torch

    from models.student import Student, StudentConfig
    from pipelines.evaluate.student import frames_a_batch
    from pipelines.predict.runtimes import INPUT, of_file, scaled
    from pipelines.ship.export.onnx import write_onnx

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.onnx"
        write_onnx(Student(StudentConfig(size=size)).eval(), size, path, {})
        predict = of_file(path, cores())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        runtime = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    images = np.zeros((frames_a_batch(size), *size, 3), np.uint8)

    def step() -> int:
        if os.environ.get(UNPREPARED):
            for image in images:
                runtime.run(None, {INPUT: scaled(image)})
        else:
            predict(images)
        return len(images)

    return step


STEPS: Final[dict[str, Callable[[tuple[int, int]], Step]]] = {
    "training": _training,
    "evaluation": _evaluation,
    "one thread": partial(_evaluation, threads=1),
    "labelling": _labelling,
    "onnx runtime": _onnx,
}
"""How each kind of work makes its step; a Ray worker trains. One thread waits for nobody: what other work costs it is the machine's doing."""


if __name__ == "__main__":
    main()
