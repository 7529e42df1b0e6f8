"""`vortex submit`: a training as a job of a SLURM cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from vortex_cli import console
from vortex_cli.planning import takes_plan_options

if TYPE_CHECKING:
    from pipelines.runs.listing import Run
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
    from pipelines import submit as submitting
    from pipelines.runs.slurm import limits, script
    from pipelines.train.plan import decide as planning

    ws = console.workspace()
    found = _idle(ws, plan, resume) if resume is not None else None
    if found and found.state == "finished":
        became = f": it is {found.version}" if found.version else ""
        console.emit({"run": found.run, "version": found.version}, f"{found.run} is finished and needs no job{became}")
        return
    before = submitting.job_before(ws, found.run) if found else None
    said: Any = {"partition": partition, "gres": gres, "time": time, "account": account, "cpus": cpus, "mem": mem, "requeue": requeue}
    asked = submitting.request(ws, **said, before=before)
    if found:
        made = planning.resume(ws, found.run, plan.get("address"), asked.gpus)
    else:
        made = planning.plan(ws, **plan, gpus=asked.gpus)
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


def _idle(ws: Workspace, plan: dict[str, Any], resume: str) -> Run:
    """The run to go on with. Raises UsageError for one that somebody works on, or for options that do not fit."""
    from pipelines.runs import listing as runs

    if plan.keys() - {"address"}:
        raise UsageError(
            "--resume continues a run as it was planned: no other option of the training fits it", f"vortex submit --resume {resume}"
        )
    return runs.require_idle(ws, resume)
