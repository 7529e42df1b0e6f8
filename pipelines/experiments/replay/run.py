"""The replay from its sets to its findings. Whatever stops it, the same call goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Interrupted
from core.files import locked, write_atomic
from pipelines.data.datasets import find, resolve
from pipelines.device import choose_device
from pipelines.experiments.replay import results
from pipelines.experiments.replay.results import Replay, RunRecord, SetUsed
from pipelines.experiments.replay.scales import Scale
from pipelines.experiments.replay.scores import constant_guess
from pipelines.experiments.replay.sets import RELATIVE, prepare
from pipelines.experiments.replay.version_runs import Watch, carry_out
from pipelines.experiments.seeded_run import write_record
from pipelines.recipes import recipe as recipes
from pipelines.workspace import Workspace

SPENT = "seconds"
"""The file with the seconds that a replay took, interruptions left out."""


def replay(ws: Workspace, scale: Scale, seeds: int, watch: Watch, *, device: str = "auto", again: str = "run it again") -> Replay:
    """Train and measure every version of the scale with each seed, and judge the findings.

    The versions of seed 0 are registered with their parents. Further seeds repeat them, each from its own seed's parents, and leave
    measurements alone. What is measured already is not trained again; a training that diverges leaves open what it was to decide.
    Raises Interrupted, with `again` as what to do, when it was stopped.
    """
    try:
        with locked(results.folder(ws) / ".lock", timeout=1.0), _timed(results.folder(ws) / SPENT):
            ws = prepare(ws, scale, _needed(scale), watch.tell)
            runs = [carry_out(ws, scale, version, seed, device, watch) for seed in range(seeds) for version in scale.versions]
        return _conclude(ws, scale, seeds, tuple(runs), device)
    except Interrupted as error:
        raise Interrupted("the replay was stopped; it goes on where it was, and every run that is measured is kept", again) from error


def _needed(scale: Scale) -> tuple[str, ...]:
    """The sets that the scale's versions train on, and those that all are measured on."""
    trained = [data.dataset for version in scale.versions for stage in recipes.load(version).stages for data in stage.data]
    relative = any(recipes.load(version).teacher.unit == "relative" for version in scale.versions)
    return tuple(dict.fromkeys([*trained, *([RELATIVE] if relative else []), *scale.measured]))


@contextmanager
def _timed(account: Path) -> Iterator[None]:
    """Add the seconds of the block to those that earlier, interrupted calls have spent."""
    started = time.perf_counter()
    try:
        yield
    finally:
        write_atomic(account, f"{_spent(account) + time.perf_counter() - started:.1f}\n")


def _spent(account: Path) -> float:
    return float(account.read_text(encoding="utf-8")) if account.exists() else 0.0


def _conclude(ws: Workspace, scale: Scale, seeds: int, runs: tuple[RunRecord, ...], device: str) -> Replay:
    """Judge the findings and keep the whole."""
    constants = {name: constant_guess(ws, name, scale.size) for name in scale.measured}
    result = Replay(
        scale=scale.name,
        size=scale.size,
        seeds=seeds,
        device=choose_device(device),
        seconds=_spent(results.folder(ws) / SPENT),
        sets=tuple(_used(ws, name) for name in _needed(scale)),
        constants=constants,
        runs=runs,
        findings=results.findings(ws, runs, constants),
    )
    write_record(results.folder(ws) / results.RESULT, result)
    return result


def _used(ws: Workspace, name: str) -> SetUsed:
    card, ref = find(ws, name).card, resolve(ws, name_or_manifest=name)
    return SetUsed(
        name=name, source=card.source or card.format, cameras=card.cameras, frames=card.frames, segmentation=card.segmentation,
        digest=ref.digest,
    )  # fmt: skip
