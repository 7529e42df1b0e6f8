"""Give a planned training to SLURM."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import UsageError, VortexError
from core.files import locked
from core.progress import Notice
from pipelines.runs.slurm import limits, queue
from pipelines.runs.slurm.job import JobRecord, read_record
from pipelines.runs.slurm.script import FOLDER, Request, interpreter, parameters
from pipelines.runs.slurm.segment import Segment
from pipelines.workspace import FILE as SETTINGS
from pipelines.workspace import Partition, Workspace

if TYPE_CHECKING:
    from pipelines.train.plan.train_plan import TrainPlan


SUBMIT_LOCK: Final = ".submit.lock"
"""In a run's folder. Not the training's own lock: the job may begin before the command is done."""
LEAST_MINUTES: Final = 2
"""The signal before the wall of a shorter job would come before the job has begun."""


def request(
    ws: Workspace,
    *,
    partition: str | None = None,
    gres: str | None = None,
    time: str | None = None,
    account: str | None = None,
    cpus: int | None = None,
    mem: str | None = None,
    requeue: bool = False,
    before: JobRecord | None = None,
) -> Request:
    """What a job asks for: what is said here, else what the run's job `before` had, else the partition's settings in `vortex.toml`, else
    what the cluster gives by itself. A wall is asked for anew each time.

    Raises UsageError for a partition that does not exist or a time beyond its limit, VortexError where there is no SLURM.
    """
    if before:
        partition, gres, account = partition or before.partition, gres or before.gres, account or before.account
        requeue = requeue or before.requeue
    if partition is None and len(ws.config.partitions) == 1:
        partition = next(iter(ws.config.partitions))
    found = queue.choose(queue.partitions(), partition)
    settings = ws.config.partitions.get(found.name, Partition())
    return Request(
        partition=found.name,
        minutes=_minutes(found, time, settings.time),
        gres=gres or settings.gres,
        account=account or settings.account,
        cpus=cpus or settings.cpus,
        mem=mem or settings.mem,
        requeue=requeue,
    )


def job_before(ws: Workspace, run: str) -> JobRecord | None:
    """The newest job that a run had. Raises VortexError for a run that is not there."""
    from pipelines.runs.folder import run_folder

    return read_record(run_folder(ws, run))


def submit(ws: Workspace, plan: TrainPlan, asked: Request) -> JobRecord:
    """Lay the run out, hand it to SLURM, and record the job in its folder. Where SLURM refuses, a new run leaves nothing behind.

    Raises UsageError for a run that somebody works on: of two that submit it at once, the second waits and is then told of the first's job.
    """
    from pipelines.runs import listing as runs
    from pipelines.train.driver.run import lay_out

    folder = plan.folder(ws)
    if "%" in str(folder):
        raise VortexError(f"{folder}: in a path SLURM takes % for a sign of its own", "move the workspace to a path without it")
    if not plan.resumed:
        lay_out(plan, folder)
    with locked(folder / SUBMIT_LOCK):
        if plan.resumed:
            runs.require_idle(ws, plan.run)
        try:
            job_id = _sbatch(ws, plan, folder, asked)
        except VortexError:
            if not plan.resumed:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        made = JobRecord(job_id, asked.partition, asked.gres, asked.minutes, asked.requeue, asked.account, time.time())
        made.write(folder)
    return made


def require_utilisation(ws: Workspace, plan: TrainPlan, asked: Request, say: Notice) -> None:
    """Raise GateRefused when the training would keep its device busy for less of the time than the partition demands.

    Judged by the newest profile of this plan on any machine, else by one that is measured here, which `say` then tells. Nothing is
    measured where `vortex.toml` states no demand. Raises VortexError where that takes a GPU, and this machine has none.
    """
    settings = ws.config.partitions.get(asked.partition)
    if settings is None or settings.min_utilisation is None:
        return
    from pipelines import profile

    made = profile.latest(ws, plan)
    if made is None:
        _require_device(plan, asked)
        made = profile.profile(ws, plan, report=say)
    profile.require_utilisation(made, settings.min_utilisation, asked.partition)


def _require_device(plan: TrainPlan, asked: Request) -> None:
    import torch

    if plan.device == "cuda" and not torch.cuda.is_available():
        raise VortexError(
            f"partition {asked.partition} asks for a utilisation, and this machine has no GPU to measure the training on",
            f"srun --partition {asked.partition} --gres {asked.gres} vortex profile …, with the same options, then submit; or --no-profile",
        )


def _minutes(found: queue.ClusterPartition, said: str | None, usual: str | None) -> int | None:
    """The wall of a job: as said, as usual in the partition, or what SLURM gives a job that asks for none."""
    if said is None and usual is None:
        return found.minutes
    source, text = ("--time", said) if said is not None else (f"{SETTINGS}: partitions.{found.name}.time", str(usual))
    try:
        minutes = limits.parse_limit(str(text))
    except UsageError as error:
        raise UsageError(f"{source}: {error.message}", error.hint) from error
    largest = math.inf if found.max_minutes is None else found.max_minutes
    if not LEAST_MINUTES <= (math.inf if minutes is None else minutes) <= largest:
        allowed = f"{limits.show_limit(LEAST_MINUTES)} to {limits.show_limit(found.max_minutes)}"
        short = minutes is not None and minutes < LEAST_MINUTES
        hint = "a shorter job would meet its wall before it has begun" if short else "--requeue goes on with a run that meets the wall"
        raise UsageError(f"{source} {text}: allowed in partition {found.name}: {allowed}", hint)
    return minutes


def _sbatch(ws: Workspace, plan: TrainPlan, folder: Path, asked: Request) -> str:
    """Submit the run's next segment; the job's id. Raises VortexError with SLURM's own reason."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.slurm.slurm import SlurmExecutor

    executor = SlurmExecutor(folder / FOLDER, python=interpreter())
    executor.update_parameters(**parameters(plan.run, asked))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):  # submitit prints what sbatch says
            return str(executor.submit(Segment(ws.root, folder, asked.requeue)).job_id)
    except (FailedJobError, FailedSubmissionError) as error:
        raise VortexError(
            f"SLURM refused the job: {queue.complaint(complaint.getvalue())}",
            f"see what it allows: scontrol show partition {asked.partition}",
        ) from error
