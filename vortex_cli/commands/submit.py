"""`vortex submit`: a training as a job of a SLURM cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from vortex_cli import console
from vortex_cli.planning import takes_plan_options

if TYPE_CHECKING:
    from pipelines.slurm.script import Request
    from pipelines.train.plan import TrainPlan
    from pipelines.workspace import Workspace


@takes_plan_options()
def submit(
    plan: dict[str, Any],
    partition: Annotated[
        str | None, typer.Option(metavar="P", help="Where to run; default: the only one of vortex.toml, or SLURM's.")
    ] = None,
    gres: Annotated[str | None, typer.Option(metavar="gpu:1", help="Generic resources of the job: its GPUs.")] = None,
    time: Annotated[str | None, typer.Option(metavar="12:00:00", help="Wall time; default: the partition's.")] = None,
    account: Annotated[str | None, typer.Option(metavar="A", help="Account to charge.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU cores; default: what the partition gives.")] = None,
    mem: Annotated[str | None, typer.Option(metavar="32G", help="Memory; default: what the partition gives.")] = None,
    requeue: Annotated[bool, typer.Option("--requeue", help="At the wall, go back into the queue and go on later.")] = False,
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
    from pipelines.slurm import limits, script, submitting

    ws = console.workspace()
    before = submitting.job_before(ws, resume) if resume is not None else None
    said: Any = {"partition": partition, "gres": gres, "time": time, "account": account, "cpus": cpus, "mem": mem, "requeue": requeue}
    asked = submitting.request(ws, **said, before=before)
    made = _planned(ws, plan, resume, asked)
    for line in made.inferred:
        console.note(line)
    if dry_run:
        text = script.script(made.run, made.folder(ws), asked)
        console.emit({"run": made.run, "request": asked, "script": text}) if console.session.json else console.write(text)
        return
    if not no_profile:
        submitting.require_utilisation(ws, made, asked, say=console.note)
    job = submitting.submit(ws, made, asked)
    wall = "no wall" if job.minutes is None else f"wall {limits.show_limit(job.minutes)}"
    then = ", requeued there" if job.requeue else ""
    console.emit({"run": made.run, **console.plain(job)}, f"{made.run}: job {job.job_id} in partition {job.partition}, {wall}{then}")
    console.note(f"next: vortex runs; vortex logs {made.run} -f")


def _planned(ws: Workspace, plan: dict[str, Any], resume: str | None, asked: Request) -> TrainPlan:
    """The plan of a new run, or that of one to go on with. Raises UsageError for a run that is not idle."""
    from pipelines import runs
    from pipelines.train import plan as planning

    if resume is None:
        return planning.plan(ws, **plan, gpus=asked.gpus)
    where = {"address": plan.pop("address")} if "address" in plan else {}
    if plan:
        raise UsageError(
            "--resume continues a run as it was planned: no other option of the training fits it", f"vortex submit --resume {resume}"
        )
    found = runs.find(ws, resume)
    if found.state in runs.ACTIVE:
        raise UsageError(f"{resume} is {found.state} already{f' as job {found.job}' if found.job else ''}", f"vortex logs {resume} -f")
    return planning.resume(ws, resume, **where, gpus=asked.gpus)
