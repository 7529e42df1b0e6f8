"""The replay from its sets to its findings. Whatever stops it, the same call goes on where it was."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import Interrupted, VortexError
from core.files import locked, write_atomic
from pipelines import recipe as recipes
from pipelines.data.datasets import find, resolve
from pipelines.evaluate import as_metrics, log_errors
from pipelines.hub import actor, commit, hub
from pipelines.replay import results
from pipelines.replay.findings import LAST, NYU
from pipelines.replay.measuring import Judged, constant_guess, last_rmse, measure
from pipelines.replay.results import FIGURES, Replay, RunRecord, Score, SetUsed
from pipelines.replay.scales import Scale
from pipelines.replay.sets import RELATIVE, Tell, prepare
from pipelines.train import plan as planning
from pipelines.train.events import TrainEvent
from pipelines.train.placement import choose_device
from pipelines.train.plan import TrainPlan
from pipelines.train.run import STUDENT, stage_folder, train
from pipelines.train.sources import Start
from pipelines.workspace import Workspace

SPENT = "seconds"
"""The file with the seconds that a replay took, interruptions left out."""
OnRun = Callable[[RunRecord], None]


@dataclass(frozen=True)
class Watch:
    """Who hears of a replay: `tell` of what is going on and how far it is, `ran` of every run that is measured."""

    tell: Tell
    ran: OnRun


def replay(ws: Workspace, scale: Scale, seeds: int, watch: Watch, *, device: str = "auto", again: str = "run it again") -> Replay:
    """Train and measure every version of the scale with each seed, and judge the findings.

    The versions of seed 0 are registered with their parents. Further seeds repeat them, each from its own seed's parents, and leave
    measurements alone. What is measured already is not trained again. Raises Interrupted, with `again` as what to do,
    when it was stopped.
    """
    try:
        with locked(results.folder(ws) / ".lock", timeout=1.0), _timed(results.folder(ws) / SPENT):
            ws = prepare(ws, scale, _needed(scale), watch.tell)
            runs = []
            for seed in range(seeds):
                for version in scale.versions:
                    record = results.read_record(ws, version, seed)
                    if record is None:
                        record = _run(ws, scale, version, seed, device, watch)
                        watch.ran(record)
                    runs.append(record)
        return _conclude(ws, scale, seeds, tuple(runs), device)
    except Interrupted as error:
        raise Interrupted("the replay was stopped; it goes on where it was, and every run that is measured is kept", again) from error


def _needed(scale: Scale) -> tuple[str, ...]:
    """The sets that the scale's versions train on, and those that all are measured on."""
    trained = [data.dataset for version in scale.versions for stage in recipes.load(version).stages for data in stage.data]
    relative = any(recipes.load(version).teacher.unit == "relative" for version in scale.versions)
    return tuple(dict.fromkeys([*trained, *([RELATIVE] if relative else []), *scale.measured]))


def _run(ws: Workspace, scale: Scale, version: str, seed: int, device: str, watch: Watch) -> RunRecord:
    """Train one version with one seed, or go on with it, and measure it."""
    plan = _plan(ws, scale, version, seed, device)

    def follow(event: TrainEvent) -> None:
        if event.kind == "epoch":
            watch.tell(f"{version} seed {seed} {event.stage}", event.epoch, event.epochs)

    result = train(ws, plan, follow, register=seed == 0)
    registered = result.version.name if result.version else None
    if registered not in (None, version):
        raise VortexError(
            f"{version} was registered as {registered}: another training took its name", "start the replay anew in a new folder"
        )
    folder = plan.folder(ws)
    judged = measure(ws, result.student, plan.size, plan.device, scale.measured)
    if registered:
        _record(ws, registered, judged)
    for name, (_, one) in judged.items():
        one.errors.save(results.errors_path(ws, version, seed, name))
    scores = _scores(judged)
    stage = stage_folder(folder, plan, len(plan.stages) - 1)
    if math.isfinite(last := last_rmse(ws, stage, NYU, plan.size, plan.device)):
        scores[NYU].values[LAST] = last
    record = RunRecord(
        version=version,
        seed=seed,
        run=plan.run,
        registered=registered,
        truncated=plan.truncated,
        best_epoch=result.best_epoch,
        epochs=plan.stages[-1].last_epoch,
        seconds=round(result.seconds, 1),
        scores=scores,
    )
    results.write(results.record_path(ws, version, seed), record)
    _thin(folder)
    return record


def _scores(judged: Judged) -> dict[str, Score]:
    """What is kept of each measurement."""
    return {
        name: Score(
            camera=one.camera,
            protocol=one.protocol,
            frames=one.frames,
            values={metric: one.values[metric] for metric in FIGURES if math.isfinite(one.values.get(metric, math.nan))},
        )
        for name, (_, one) in judged.items()
    }


def _plan(ws: Workspace, scale: Scale, version: str, seed: int, device: str) -> TrainPlan:
    """The plan of a run: that which was begun, or a new one whose name is written down before it starts."""
    begun = results.folder(ws) / f"{version}-seed{seed}.run"
    name = begun.read_text(encoding="utf-8").strip() if begun.exists() else ""
    if name and (planning.runs(ws) / name / planning.PLAN).is_file():
        return planning.resume(ws, name)
    recipe = recipes.load(version)
    relative = recipe.teacher.unit == "relative"
    plan = planning.plan(
        ws,
        recipe=version,
        # V1 and V2 learn from the same frames with other depth, which the gate does not let through.
        manifest=(RELATIVE,) if relative else (),
        allow_unvalidated=relative,
        size=scale.size,
        seed=seed,
        lr=scale.relative_lr if relative else None,
        device=device,
        encoder_weights=None if recipe.weights_parent else scale.encoder_weights,
        settings=scale.settings(recipe),
    )
    if seed and recipe.weights_parent:
        start = _start(ws, recipe.weights_parent, seed)
        plan = plan.model_copy(update={"start": start})
    write_atomic(begun, plan.run)
    return plan


def _start(ws: Workspace, parent: str, seed: int) -> Start:
    """The weights that this very seed gave the parent."""
    record = results.read_record(ws, parent, seed)
    if record is None:
        raise VortexError(f"{parent} of seed {seed} was not trained yet, and its weights are needed", "train its parents first")
    return Start(kind="version", ref=f"{parent} (seed {seed})", path=planning.runs(ws) / record.run / STUDENT)


def _record(ws: Workspace, version: str, judged: Judged) -> None:
    """Add the measurements to the registered version, as `vortex evaluate` does."""
    registry = hub(ws)
    run_id = registry.get(version).run_id
    metrics = [as_metrics(one, ref, log_errors(ws, registry, run_id, ref, one)) for ref, one in judged.values()]
    registry.add_metrics(version, *metrics, actor=actor(), reason="measured by the replay", commit=commit(ws))


def _thin(folder: Path) -> None:
    """Drop a finished run's checkpoints, which no one resumes: 27 runs would keep 2 GB of optimiser state."""
    for stage in folder.iterdir():
        if stage.is_dir():
            shutil.rmtree(stage, ignore_errors=True)


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
    made = Replay(
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
    results.write(results.folder(ws) / results.RESULT, made)
    return made


def _used(ws: Workspace, name: str) -> SetUsed:
    card, ref = find(ws, name).card, resolve(ws, name_or_manifest=name)
    return SetUsed(
        name=name, source=card.source or card.format, cameras=card.cameras, frames=card.frames, segmentation=card.segmentation,
        digest=ref.digest,
    )  # fmt: skip
