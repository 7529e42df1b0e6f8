"""`vortex submit`: a training as a job of a SLURM cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UsageError
from pipelines.runs.slurm.job_options import JobOptions
from pipelines.train.plan.options import TrainOptions
from vortex_cli import console
from vortex_cli.options import named

if TYPE_CHECKING:
    from pipelines.runs.listing import Run
    from pipelines.runs.slurm.job import JobRecord
    from pipelines.runs.slurm.script import Request
    from pipelines.train.plan.train_plan import TrainPlan
    from pipelines.workspace import Workspace


def submit(
    context: typer.Context,
    options: TrainOptions,
    job: JobOptions,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a run that was begun.")] = None,
    no_profile: Annotated[
        bool, typer.Option("--no-profile", help="Submit without asking whether it would use the device well enough.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script, and stop.")] = False,
) -> None:
    """Plan a training now, and have SLURM carry it out. Takes the options of `vortex train`.

    What is trained is decided and checked here, and laid out as a run that the job resumes. At the wall the job leaves a checkpoint;
    with --requeue it goes on by itself, otherwise with --resume.

    Example: vortex submit v6 --domain corridor --partition gpu --gres gpu:1 --time 12:00:00 --requeue
    """
    from pipelines import submit as submitting

    ws, names = console.workspace(), named(context, TrainOptions)
    run = None if resume is None else _idle(ws, resume, names)
    if run and run.state == "finished":
        _finished(run)
        return
    if run is None:
        plan, request = submitting.planned(ws, options, job)
    else:
        plan, request = submitting.begun(ws, run.run, job, options.address if "address" in names else None)
    for line in plan.inferred:
        console.note(line)
    if dry_run:
        _script(ws, plan, request)
        return
    if not no_profile:
        submitting.require_utilisation(ws, plan, request, say=console.note)
    _submitted(plan, submitting.submit(ws, plan, request))


def _idle(ws: Workspace, run: str, names: set[str]) -> Run:
    """The run to go on with; `names` are the options of the training that were given.

    Raises UsageError for options that do not fit, or a run that somebody works on.
    """
    from pipelines.runs.listing import require_idle

    if names - {"address"}:
        raise UsageError(
            "--resume continues a run as it was planned: no other option of the training fits it", f"vortex submit --resume {run}"
        )
    return require_idle(ws, run)


def _finished(run: Run) -> None:
    version = f": it is {run.version}" if run.version else ""
    console.emit({"run": run.run, "version": run.version}, f"{run.run} is finished and needs no job{version}")


def _script(ws: Workspace, plan: TrainPlan, request: Request) -> None:
    from pipelines.runs.slurm.script import script

    text = script(plan.run, plan.folder(ws), request)
    console.emit({"run": plan.run, "request": request, "script": text}) if console.session.json else console.write(text)


def _submitted(plan: TrainPlan, job: JobRecord) -> None:
    from pipelines.runs.slurm.limits import show_limit

    wall = "no wall" if job.minutes is None else f"wall {show_limit(job.minutes)}"
    requeued = ", requeued there" if job.requeue else ""
    console.emit({"run": plan.run, **console.plain(job)}, f"{plan.run}: job {job.job_id} in partition {job.partition}, {wall}{requeued}")
    console.note(f"next: vortex runs; vortex logs {plan.run} -f")
