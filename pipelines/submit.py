"""Give a planned training to SLURM."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import time
from pathlib import Path
from typing import Final

from core.errors import UsageError, VortexError
from core.files import locked
from core.progress import Notice
from pipelines.profile import record
from pipelines.runs import listing
from pipelines.runs.folder import run_folder
from pipelines.runs.slurm import limits, queue
from pipelines.runs.slurm.job import JobRecord, read_record
from pipelines.runs.slurm.job_options import JobOptions
from pipelines.runs.slurm.script import FOLDER, Request, interpreter, parameters
from pipelines.runs.slurm.segment import Segment
from pipelines.train.plan.decide import decide
from pipelines.train.plan.gather import gather
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.resume import resume
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import FILE as SETTINGS
from pipelines.workspace import Partition, Workspace

SUBMIT_LOCK: Final = ".submit.lock"
"""In a run's folder. Not the training's own lock: the job may begin before the command is done."""
LEAST_MINUTES: Final = 2
"""The signal before the wall of a shorter job would come before the job has begun."""


def planned(ws: Workspace, options: TrainOptions, job: JobOptions) -> tuple[TrainPlan, Request]:
    """A new training, and what its job asks for: the plan knows the GPUs that it will have. Raises as `request_of`, `gather` and `decide` do."""
    request = request_of(ws, job)
    return decide(options, gather(ws, options, request.gpus)), request


def begun(ws: Workspace, run: str, job: JobOptions, address: str | None) -> tuple[TrainPlan, Request]:
    """A run that goes on, and what its next job asks for: what is not said, the job before it asked for."""
    request = request_of(ws, job, before=read_record(run_folder(ws, run)))
    return resume(ws, run, address, request.gpus), request


def request_of(ws: Workspace, options: JobOptions, before: JobRecord | None = None) -> Request:
    """What a job asks for: what is said here, else what the run's job `before` had, else the partition's settings in `vortex.toml`, else
    what the cluster gives by itself. A wall is asked for anew each time.

    Raises UsageError for a partition that does not exist or a time beyond its limit, VortexError where SLURM, or a part of it, is missing.
    """
    queue.require_programs()
    name, gres, account, requeue = options.partition, options.gres, options.account, options.requeue
    if before:
        name, gres, account = name or before.partition, gres or before.gres, account or before.account
        requeue = requeue or before.requeue
    if name is None and len(ws.config.partitions) == 1:
        name = next(iter(ws.config.partitions))
    partition = queue.choose(queue.partitions(), name)
    settings = ws.config.partitions.get(partition.name, Partition())
    return Request(
        partition=partition.name,
        minutes=_minutes(partition, options.time, settings.time),
        gres=gres or settings.gres,
        account=account or settings.account,
        cpus=options.cpus or settings.cpus,
        mem=options.mem or settings.mem,
        requeue=requeue,
    )


def submit(ws: Workspace, plan: TrainPlan, request: Request) -> JobRecord:
    """Lay the run out, hand it to SLURM, and record the job in its folder. Where that fails, a new run leaves nothing behind.

    Raises UsageError for a run that somebody works on: of two that submit it at once, the second waits and is then told of the first's job.
    """
    from pipelines.train.driver.run import lay_out  # here, so that a dry run and a refusal do without torch

    folder = plan.folder(ws)
    if "%" in str(folder):
        raise VortexError(f"{folder}: in a path SLURM takes % for a sign of its own", "move the workspace to a path without it")
    if not plan.resumed:
        lay_out(plan, folder)
    with locked(folder / SUBMIT_LOCK):
        if plan.resumed:
            listing.require_idle(ws, plan.run)
        try:
            job_id = _sbatch(ws, plan, folder, request)
        except (VortexError, OSError):
            if not plan.resumed:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        job = JobRecord(job_id, request.partition, request.gres, request.minutes, request.requeue, request.account, time.time())
        job.write(folder)
    return job


def require_utilisation(ws: Workspace, plan: TrainPlan, request: Request, say: Notice) -> None:
    """Raise GateRefused when the training would keep its device busy for less of the time than the partition demands.

    Judged by the newest profile of this plan on any machine, else by one that is measured here, which `say` then tells. Nothing is
    measured where `vortex.toml` states no demand. Raises VortexError where that takes a GPU, and this machine has none.
    """
    settings = ws.config.partitions.get(request.partition)
    if settings is None or settings.min_utilisation is None:
        return
    prediction = record.latest(ws, plan)
    if prediction is None:
        _require_device(plan, request)
        from pipelines.profile.measurement import profile  # here, so that a plan whose profile is kept is judged without torch

        prediction = profile(ws, plan, report=say)
    record.require_utilisation(prediction, settings.min_utilisation, request.partition)


def _require_device(plan: TrainPlan, request: Request) -> None:
    import torch

    if plan.device == "cuda" and not torch.cuda.is_available():
        raise VortexError(
            f"partition {request.partition} asks for a utilisation, and this machine has no GPU to measure the training on",
            f"srun --partition {request.partition} --gres {request.gres} vortex profile …, with the same options, then submit; or --no-profile",
        )


def _minutes(partition: queue.ClusterPartition, stated: str | None, usual: str | None) -> int | None:
    """The wall of a job: as stated, as usual in the partition, or what SLURM gives a job that asks for none."""
    if stated is None and usual is None:
        return partition.minutes
    source, text = ("--time", stated) if stated is not None else (f"{SETTINGS}: partitions.{partition.name}.time", str(usual))
    try:
        minutes = limits.parse_limit(str(text))
    except UsageError as error:
        raise UsageError(f"{source}: {error.message}", error.hint) from error
    largest = math.inf if partition.max_minutes is None else partition.max_minutes
    if not LEAST_MINUTES <= (math.inf if minutes is None else minutes) <= largest:
        allowed = f"{limits.show_limit(LEAST_MINUTES)} to {limits.show_limit(partition.max_minutes)}"
        short = minutes is not None and minutes < LEAST_MINUTES
        hint = "a shorter job would meet its wall before it has begun" if short else "--requeue goes on with a run that meets the wall"
        raise UsageError(f"{source} {text}: allowed in partition {partition.name}: {allowed}", hint)
    return minutes


def _sbatch(ws: Workspace, plan: TrainPlan, folder: Path, request: Request) -> str:
    """Submit the run's next segment; the job's id. Raises VortexError with SLURM's own reason."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError
    from submitit.slurm.slurm import SlurmExecutor

    executor = SlurmExecutor(folder / FOLDER, python=interpreter())
    executor.update_parameters(**parameters(plan.run, request))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):  # submitit prints what sbatch says
            return str(executor.submit(Segment(ws.root, folder, request.requeue)).job_id)
    except (FailedJobError, FailedSubmissionError) as error:
        raise VortexError(
            f"SLURM refused the job: {queue.complaint(complaint.getvalue())}",
            f"see what it allows: scontrol show partition {request.partition}",
        ) from error
