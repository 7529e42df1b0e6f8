"""What is asked of SLURM, through its own commands: partitions and their limits, jobs and their states, a requeue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import UsageError, VortexError
from pipelines.runs.slurm.limits import parse_limit
from pipelines.runs.wall import SLURM_END, SLURM_START

PROGRAMS: Final = ("scontrol", "sbatch", "srun")
"""What submitting takes: SLURM is asked by the first, gets the job by the second, and submitit takes a machine without the third for none of SLURM's."""
PATIENCE: Final = 60.0
"""Seconds that a command of SLURM may take; a busy controller answers within its own message timeout, 10 s unless set higher."""
ITS_TURN: Final = ("None", "Priority", "Resources", "Dependency", "BeginTime")
"""Reasons for which a job waits that has nothing to be told: the last is that of one that was requeued."""
_FIELD: Final = re.compile(r"(\S+?)=(\S*)")


@dataclass(frozen=True)
class ClusterPartition:
    """A partition as the controller knows it; limits are in minutes, None without one."""

    name: str
    default_minutes: int | None
    max_minutes: int | None
    default: bool

    @property
    def minutes(self) -> int | None:
        """The limit of a job that asks for none."""
        return self.default_minutes or self.max_minutes


def missing_programs() -> list[str]:
    """The commands of SLURM that submitting takes and that no folder of PATH has."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def require_programs() -> None:
    """Raise VortexError naming the commands of SLURM that are missing, and where they were looked for."""
    if missing := missing_programs():
        folders = os.environ.get("PATH", os.defpath).replace(os.pathsep, ", ")
        raise VortexError(
            f"this machine cannot submit to SLURM: no {' and no '.join(missing)} in the folders of PATH ({folders})",
            "submit from a login node of the cluster, or put SLURM's bin/ on PATH (often: module load slurm)",
        )


def ask(*command: str) -> str:
    """What a command of SLURM prints, with times as seconds since 1970. Raises VortexError saying why there is no answer."""
    try:
        process = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=PATIENCE, env=os.environ | {"SLURM_TIME_FORMAT": "%s"}
        )
    except FileNotFoundError as error:
        raise VortexError(f"{command[0]} is not on this machine: it is no part of a SLURM cluster", "submit from a login node") from error
    except subprocess.TimeoutExpired as error:
        raise VortexError(
            f"{command[0]} had no answer from SLURM in {PATIENCE:.0f} s", "see whether its controller is up: sinfo"
        ) from error
    except subprocess.CalledProcessError as error:
        raise VortexError(f"SLURM says no: {complaint(error.stderr)}", f"the command was: {' '.join(command)}") from error
    return process.stdout


def complaint(stderr: str) -> str:
    """The line of a SLURM command's complaint that says why, which is its last."""
    lines = [re.sub(r"^\w+: (error: |fatal: )?", "", line.strip()) for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"


def partitions() -> dict[str, ClusterPartition]:
    """The partitions of this machine's cluster."""
    return parse_partitions(ask("scontrol", "show", "partition", "--oneliner"))


def parse_partitions(text: str) -> dict[str, ClusterPartition]:
    """The partitions in what `scontrol show partition --oneliner` prints."""
    partitions = {}
    for line in text.splitlines():
        fields = dict(_FIELD.findall(line))
        if name := fields.get("PartitionName"):
            limits = parse_limit(fields.get("DefaultTime", "NONE")), parse_limit(fields.get("MaxTime", "UNLIMITED"))
            partitions[name] = ClusterPartition(name, *limits, fields.get("Default") == "YES")
    return partitions


def choose(partitions: dict[str, ClusterPartition], name: str | None) -> ClusterPartition:
    """The partition called `name`, SLURM's default for None. Raises UsageError naming those there are."""
    names = ", ".join(sorted(partitions)) or "none"
    if name is None:
        standard = next((partition for partition in partitions.values() if partition.default), None)
        if standard is None:
            raise UsageError(f"which partition? this cluster has no default one; it has: {names}", "name one with --partition")
        return standard
    if name not in partitions:
        raise UsageError(f"unknown partition {name!r}; this cluster has: {names}", "name one of them with --partition")
    return partitions[name]


@dataclass(frozen=True)
class JobState:
    """SLURM's word for a job (PENDING, RUNNING, TIMEOUT, …); `reason` is why it waits where that is more than its turn, else empty."""

    word: str
    reason: str = ""


def job_states(jobs: Sequence[str]) -> dict[str, JobState] | None:
    """The states of the jobs that SLURM remembers; None where it cannot be asked.

    An ended job is forgotten after `MinJobAge`, five minutes unless set otherwise.
    """
    if not jobs:
        return {}
    try:
        text = ask("squeue", "--noheader", "--states=all", "--format=%A|%T|%r", f"--jobs={','.join(jobs)}")
    except VortexError as error:
        return {} if "Invalid job id" in error.message else None  # which it says only of a single job
    return parse_states(text)


def parse_states(text: str) -> dict[str, JobState]:
    """Job by job what `squeue` prints as `ID|STATE|REASON`."""
    states = {}
    for line in text.splitlines():
        job, word, reason = (*line.strip().split("|", 2), "", "")[:3]
        if word:
            states[job] = JobState(word, reason if word == "PENDING" and reason not in ITS_TURN else "")
    return states


def times(job: str) -> dict[str, str]:
    """When a running job began and when SLURM will end it, in seconds since 1970: as the variables by which newer SLURMs tell the job."""
    fields = dict(_FIELD.findall(ask("scontrol", "show", "job", "--oneliner", job)))
    variables = {SLURM_START: fields.get("StartTime", ""), SLURM_END: fields.get("EndTime", "")}
    return {name: value for name, value in variables.items() if value.isdigit()}


def requeue(job: str) -> None:
    """Put a running job back into the queue. SLURM ends the caller where that is the job itself."""
    ask("scontrol", "requeue", job)
