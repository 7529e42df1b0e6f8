"""What a replay leaves: a record for every run, written when the run is measured, and the findings that they add up to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors
from pipelines.experiments.replay.claims import Finding, Measured
from pipelines.experiments.replay.findings import judge_all
from pipelines.workspace import Workspace

RESULT: Final = "replay.json"
FIGURES: Final = ("rmse", "rmse_median_scaled", "abs_rel", "delta1", "rmse_near", "miou", "iou_glass")
"""What is kept of a measurement, where it is finite; the registry has everything of the first seed."""


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Score(_Kept):
    """One version of one seed on one set: figures as `models.metrics` names them, and what they were measured on."""

    camera: str
    protocol: str
    frames: int
    values: dict[str, float]


class RunRecord(_Kept):
    """A run of the replay: `version` is what it repeats, `registered` the name that it took (first seed only).

    One that `diverged` says how, and has no scores; one whose parent diverged says that, and has no `run` either.
    """

    version: str
    seed: int
    run: str
    registered: str | None = None
    truncated: str | None = None
    best_epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    scores: dict[str, Score] = {}
    diverged: str | None = None


class SetUsed(_Kept):
    """A set of the replay: where it came from, and what it is."""

    name: str
    source: str
    cameras: list[str]
    frames: dict[str, int]
    segmentation: str
    digest: str


class Replay(_Kept):
    """A whole replay. `constants` is the RMSE in metres of the best constant guess on each set."""

    scale: str
    size: tuple[int, int]
    seeds: int
    device: str
    seconds: float
    sets: tuple[SetUsed, ...]
    constants: dict[str, float]
    runs: tuple[RunRecord, ...]
    findings: tuple[Finding, ...]

    @property
    def lost(self) -> tuple[str, ...]:
        """Every run without a score, in words: why findings that ask for it are not decidable."""
        return tuple(f"{run.version} seed {run.seed} decides nothing: {run.diverged}" for run in self.runs if run.diverged)

    @classmethod
    def read(cls, path: Path) -> Replay:
        """A replay from its file. Raises VortexError when it is not one."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise VortexError(f"{path}: not readable as the result of a replay", "make one with: vortex replay") from error


def folder(ws: Workspace) -> Path:
    """Where a replay keeps its records."""
    return ws.build / "replay"


def record_path(ws: Workspace, version: str, seed: int) -> Path:
    """The record of a run; it exists once the run is measured."""
    return folder(ws) / f"{version}-seed{seed}.json"


def errors_path(ws: Workspace, version: str, seed: int, dataset: str) -> Path:
    """The per-frame errors of a run on a set."""
    return folder(ws) / f"{version}-seed{seed}-{dataset}.npz"


def findings(ws: Workspace, runs: tuple[RunRecord, ...], constants: dict[str, float]) -> tuple[Finding, ...]:
    """Judge what the runs measured."""
    figures: dict[tuple[str, str, str], dict[int, float]] = {}
    errors: dict[tuple[str, str], dict[int, FrameErrors]] = {}
    for run in runs:
        for dataset, score in run.scores.items():
            for metric, value in score.values.items():
                figures.setdefault((run.version, dataset, metric), {})[run.seed] = value
            errors.setdefault((run.version, dataset), {})[run.seed] = FrameErrors.load(errors_path(ws, run.version, run.seed, dataset))
    return judge_all(Measured(figures, errors, constants))
