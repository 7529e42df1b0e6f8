"""A workspace with an exam: ten sequences of rooms that passed the gate, and versions whose errors on it are made up or measured."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from core.files import write_atomic
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.evaluate.student import Evaluation
from pipelines.evaluate.version import log_errors
from pipelines.exam.sets import ExamSet, exam_sets
from pipelines.hub.exports import PARITY_DOMAIN
from pipelines.hub.open import hub
from pipelines.ship.promote import PromotionReport, promote
from pipelines.workspace import FILE, Workspace, load
from registry.edges import Edge
from registry.records import DataUse, Export, Metrics, NewVersion
from tests.made_once import made_once

SIZE = (64, 96)
PIXELS = 1000.0


@pytest.fixture(scope="session")
def exam_template(tmp_path_factory: pytest.TempPathFactory, fresh_store: Path) -> Path:
    """A workspace with the dataset `rooms`, validated and packed: 40 training frames, 10 to be judged by, each of a sequence of its own."""
    from pipelines.data.datasets import resolve
    from pipelines.init import init
    from pipelines.pack.preparing import pack
    from pipelines.synthetic.dataset import synthesise
    from pipelines.validate.gate_run import validate

    def make(folder: Path) -> None:
        ws = init(folder / "workspace")
        shutil.copytree(fresh_store, ws.root / "mlruns", dirs_exist_ok=True)
        synthesise(ws, "rooms", world="rooms", frames=60, seed=1, size=SIZE)
        ws = load(ws.root)
        ref = resolve(ws, name_or_manifest="rooms")
        assert validate(ws, ref).passed
        pack(ws, ref, SIZE)

    return made_once(tmp_path_factory, "exam", make) / "workspace"


@dataclass
class Arena:
    """A workspace in which versions are put up for promotion."""

    ws: Workspace
    checkpoint: Path
    count: int = 0
    older: bytes = b""
    """`data.dvc` of an older version of data/."""

    @property
    def sets(self) -> tuple[ExamSet, ...]:
        """The exam of rooms."""
        return exam_sets(self.ws, "rooms")

    def configure(self, text: str) -> None:
        """Add lines to vortex.toml."""
        write_atomic(self.ws.root / FILE, (self.ws.root / FILE).read_text() + text)
        self.ws = load(self.ws.root)

    def ask(self, text: str) -> None:
        """Add a line to what vortex.toml says of the domain rooms."""
        written = (self.ws.root / FILE).read_text()
        assert "[domains.rooms]\n" in written
        write_atomic(self.ws.root / FILE, written.replace("[domains.rooms]\n", f"[domains.rooms]\n{text}\n"))
        self.ws = load(self.ws.root)

    def register(
        self,
        *,
        shift: float = 0.0,
        domain: str | None = "rooms",
        data: tuple[DataUse, ...] | None = None,
        parents: tuple[Edge, ...] = (),
        derived: bool = False,
        size: tuple[int, int] = SIZE,
        **fields: object,
    ) -> str:
        """Register a student with random weights, whose depth is moved by `shift` metres; its parity on export was good."""
        import torch

        from models.checkpoint import save
        from models.student import Student, StudentConfig

        self.count += 1
        registry = hub(self.ws)
        run = registry.store.start_run("made by a test")
        path = self.checkpoint
        if shift or size != SIZE:
            torch.manual_seed(0)
            student = Student(StudentConfig(encoder="mobilenetv3_small_100", size=size))
            with torch.no_grad():
                student.depth_head[0].bias += shift  # type: ignore[operator, index]
            path = self.checkpoint.with_name(f"{self.count}.safetensors")
            save(path, student, {})
        stored = registry.store.log_artifact(run, path, "checkpoint")
        if data is None:
            ref = next(exam_set.ref for exam_set in self.sets if exam_set.ref.name == "rooms")
            data = (DataUse("rooms", "rooms", "room", ref.digest, ref.dvc, True, {"train": 40, "val": 10}),)
        new = NewVersion(None, derived, {}, parents, domain, data, size, run, f"run-{self.count}", stored, **fields)  # type: ignore[arg-type]
        name = registry.register(new, actor="test").name
        self.export(name, size=size)
        return name

    def export(self, name: str, *, size: tuple[int, int] = SIZE, **changes: object) -> None:
        """Record an export whose parity was good, with what `changes` of the record; its file is any."""
        registry = hub(self.ws)
        artifact = registry.store.log_artifact(registry.get(name).run_id, self.checkpoint, "exports")
        export = Export(
            artifact, size=size, parity_m=1e-5, class_agreement=1.0, parity_on="rooms", frames=6, detail={PARITY_DOMAIN: "rooms"}
        )
        registry.add_export(name, replace(export, **changes), actor="test")  # type: ignore[arg-type]

    def errors(self, exam_set: ExamSet, rmse: float, *, noise: float = 0.05, seed: int = 0, size: tuple[int, int] = SIZE) -> FrameErrors:
        """Errors of `rmse` metres on every frame of a set, give or take `noise`."""
        wobble = 1 + noise * np.random.default_rng(seed).standard_normal(len(exam_set.frames))
        sums = {COUNT: np.full(len(wobble), PIXELS), SQUARED: PIXELS * (rmse * wobble) ** 2}
        ids, sequences = [[getattr(frame, key) for frame in exam_set.frames] for key in ("id", "sequence")]
        return FrameErrors(tuple(ids), sums, size, tuple(sequences))

    def record(self, name: str, exam_set: ExamSet, frame_errors: FrameErrors, **changes: object) -> None:
        """Record errors as if the version had been measured, with what `changes` of the record."""
        registry = hub(self.ws)
        ref = exam_set.ref
        rmse = float(np.sqrt(frame_errors.sums[SQUARED].sum() / frame_errors.sums[COUNT].sum()))
        values = {"rmse": rmse, "mae": 0.1, "abs_rel": 0.1, "delta1": 0.9}
        evaluation = Evaluation(
            ref.domain, exam_set.frames[0].camera, f"{exam_set.split}-pooled-10m/1", values, len(frame_errors.ids), frame_errors
        )
        artifact = log_errors(self.ws, registry, registry.get(name).run_id, ref, evaluation)
        metrics = Metrics(ref.domain, evaluation.camera, evaluation.protocol, ref.name, ref.digest, values, evaluation.frames, artifact)
        registry.add_metrics(name, replace(metrics, **changes), actor="test")  # type: ignore[arg-type]

    def version(self, rmse: float, *, noise: float = 0.05, seed: int = 0, **options: object) -> str:
        """A version with errors of so many metres on every set of the exam."""
        name = self.register(**options)  # type: ignore[arg-type]
        for exam_set in self.sets:
            self.record(name, exam_set, self.errors(exam_set, rmse, noise=noise, seed=seed))
        return name

    def promote(self, name: str, stage: str = "production", **options: object) -> PromotionReport:
        """Ask for a stage of the rooms' channel."""
        return promote(self.ws, name, stage, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student with random weights."""
    import torch

    from models.checkpoint import save
    from models.student import Student, StudentConfig

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("student") / "student.safetensors"
    save(path, Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)), {})
    return path


@pytest.fixture
def arena(exam_template: Path, random_checkpoint: Path, tmp_path: Path) -> Arena:
    """A copy of the template."""
    return _copied(exam_template, random_checkpoint, tmp_path)


@pytest.fixture(scope="session")
def held_template(exam_template: Path, random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template with v10, which has 0.4 m, in production."""

    def make(folder: Path) -> None:
        arena = _copied(exam_template, random_checkpoint, folder)
        assert arena.promote(arena.version(0.4)).passed

    return made_once(tmp_path_factory, "held", make) / "workspace"


@pytest.fixture
def held_arena(held_template: Path, random_checkpoint: Path, tmp_path: Path) -> Arena:
    """A workspace with v10, which has 0.4 m, in production."""
    arena = _copied(held_template, random_checkpoint, tmp_path)
    arena.count = 1
    return arena


def _copied(template: Path, checkpoint: Path, folder: Path) -> Arena:
    shutil.copytree(template, folder / "workspace", symlinks=True)
    return Arena(load(folder / "workspace"), Path(shutil.copy(checkpoint, folder / "student.safetensors")))


def failed(report: PromotionReport) -> list[str]:
    """The checks that refused."""
    return list(dict.fromkeys(check.name for check in report.refused.checks if not check.ok)) if report.refused else []


Measured = Callable[..., str]
