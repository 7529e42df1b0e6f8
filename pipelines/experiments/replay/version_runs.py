"""One run of a replay: a version trained with a seed, measured on every set, and kept."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import VortexError
from core.files import write_atomic
from core.progress import NamedProgress
from pipelines.evaluate.version import record_of, with_protocols
from pipelines.experiments.replay import results
from pipelines.experiments.replay.findings import LAST, NYU
from pipelines.experiments.replay.results import FIGURES, RunRecord, Score
from pipelines.experiments.replay.scales import Scale
from pipelines.experiments.replay.scores import Judged, last_rmse, measure
from pipelines.experiments.replay.sets import RELATIVE
from pipelines.experiments.seeded_run import SeededRun, begun, read_record, write_record
from pipelines.hub.open import actor, commit, hub
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import Recipe
from pipelines.runs.events import TrainEvent
from pipelines.runs.folder import runs_folder
from pipelines.train.driver.run import STUDENT, TrainResult
from pipelines.train.plan.decide import decide
from pipelines.train.plan.gather import gather
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.sources import Start
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.checkpoints import BEST, STATE, Checkpoints
from pipelines.workspace import Workspace

OnRun = Callable[[RunRecord], None]


@dataclass(frozen=True)
class Watch:
    """Who hears of a replay: `tell` of what is going on and how far it is, `ran` of every run that is measured."""

    tell: NamedProgress
    ran: OnRun


def carry_out(ws: Workspace, scale: Scale, version: str, seed: int, device: str, watch: Watch) -> RunRecord:
    """Train one version with one seed, or go on with it, and measure it; done already, only read it.

    A training that diverges is kept as that, and so are the versions that would have started from its weights.
    """
    path = results.record_path(ws, version, seed)
    record = read_record(path, RunRecord)
    if record is not None:
        return record
    record = _without_parent(ws, recipes.load(version), seed)
    if record is not None:
        write_record(path, record)
    else:
        record = _train(ws, scale, version, seed, device, watch.tell)
    watch.ran(record)
    return record


def _without_parent(ws: Workspace, recipe: Recipe, seed: int) -> RunRecord | None:
    """The record of a version whose parent diverged with this seed, and left no weights to start from."""
    parent = read_record(results.record_path(ws, recipe.weights_parent, seed), RunRecord) if recipe.weights_parent else None
    if parent is None or not parent.diverged:
        return None
    return RunRecord(version=recipe.name, seed=seed, run="", diverged=f"not trained, as {parent.version} has no weights to start from")


def _train(ws: Workspace, scale: Scale, version: str, seed: int, device: str, tell: NamedProgress) -> RunRecord:
    def follow(event: TrainEvent) -> None:
        if event.kind == "epoch":
            tell(f"{version} seed {seed} {event.stage}", event.epoch, event.epochs)

    def measure_and_thin(plan: TrainPlan, result: TrainResult) -> RunRecord:
        record = _measured(ws, scale, version, plan, result)
        _thin(plan.folder(ws), plan)
        return record

    return SeededRun(
        path=results.record_path(ws, version, seed),
        record=RunRecord,
        plan=lambda: _plan(ws, scale, version, seed, device),
        measure=measure_and_thin,
        diverge=lambda plan, error: RunRecord(version=version, seed=seed, run=plan.run, truncated=plan.truncated, diverged=error.message),
        register=seed == 0,
    ).carry_out(ws, follow)


def _measured(ws: Workspace, scale: Scale, version: str, plan: TrainPlan, result: TrainResult) -> RunRecord:
    """What a finished run comes to; the registry has it too, where it was registered."""
    registered = result.version.name if result.version else None
    if registered not in (None, version):
        raise VortexError(
            f"{version} was registered as {registered}: another training took its name", "start the replay anew in a new folder"
        )
    judged = measure(ws, result.student, plan.size, plan.device, scale.measured)
    if registered:
        _record(ws, registered, judged)
    for name, (_, evaluation) in judged.items():
        evaluation.errors.save(results.errors_path(ws, version, plan.seed, name))
    scores = _scores(judged)
    stage = plan.stage_folder(plan.folder(ws), len(plan.stages) - 1)
    if math.isfinite(last := last_rmse(ws, stage, NYU, plan.size, plan.device)):
        scores[NYU].values[LAST] = last
    return RunRecord(
        version=version,
        seed=plan.seed,
        run=plan.run,
        registered=registered,
        truncated=plan.truncated,
        best_epoch=result.best_epoch,
        epochs=plan.stages[-1].last_epoch,
        seconds=round(result.seconds, 1),
        scores=scores,
    )


def _scores(judged: Judged) -> dict[str, Score]:
    """What is kept of each measurement."""
    return {
        name: Score(
            camera=evaluation.camera,
            protocol=evaluation.protocol,
            frames=evaluation.frames,
            values={metric: evaluation.values[metric] for metric in FIGURES if math.isfinite(evaluation.values.get(metric, math.nan))},
        )
        for name, (_, evaluation) in judged.items()
    }


def _plan(ws: Workspace, scale: Scale, version: str, seed: int, device: str) -> TrainPlan:
    """The plan of a run: that which was begun, or a new one whose name is written down before it starts."""
    name_file = results.folder(ws) / f"{version}-seed{seed}.run"
    name = name_file.read_text(encoding="utf-8").strip() if name_file.exists() else ""
    if (earlier := begun(ws, name)) is not None:
        return earlier
    recipe = recipes.load(version)
    relative = recipe.teacher.unit == "relative"
    options = TrainOptions(
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
    plan = decide(options, gather(ws, options))
    if seed and recipe.weights_parent:
        start = _start(ws, recipe.weights_parent, seed)
        plan = plan.model_copy(update={"start": start})
    write_atomic(name_file, plan.run)
    return plan


def _start(ws: Workspace, parent: str, seed: int) -> Start:
    """The weights that this very seed gave the parent."""
    record = read_record(results.record_path(ws, parent, seed), RunRecord)
    if record is None:
        raise VortexError(f"{parent} of seed {seed} was not trained yet, and its weights are needed", "train its parents first")
    return Start(kind="version", ref=f"{parent} (seed {seed})", path=runs_folder(ws) / record.run / STUDENT)


def _record(ws: Workspace, version: str, judged: Judged) -> None:
    """Add the measurements to the registered version, as `vortex evaluate` does."""
    registry = hub(ws)
    run_id = registry.get(version).run_id
    metrics = [
        record_of(ws, registry, run_id, ref, named)
        for ref, evaluation in judged.values()
        for named in with_protocols(ws, ref, [evaluation])
    ]
    registry.add_metrics(version, *metrics, actor=actor(), reason="measured by the replay", commit=commit(ws))


def _thin(folder: Path, plan: TrainPlan) -> None:
    """Drop what only a training that goes on reads of a finished run: 27 runs would keep 2 GB of optimiser state.

    The last stage keeps the students of its last and its best epoch, the latter as another name of the run's own: a record that was
    lost is measured again from them.
    """

    *earlier, last = (plan.stage_folder(folder, number) for number in range(len(plan.stages)))
    for stage in earlier:
        shutil.rmtree(stage, ignore_errors=True)
    if (latest := Checkpoints(last).latest) is None:
        return
    for path in [latest / STATE, *(path for path in last.iterdir() if path.is_file())]:
        path.unlink(missing_ok=True)
    linked = folder / f".{STUDENT}.staging"
    linked.unlink(missing_ok=True)
    with suppress(OSError):  # a file system without hard links keeps two copies
        os.link(latest / BEST, linked)
        os.replace(linked, folder / STUDENT)
