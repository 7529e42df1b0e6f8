"""A training as SLURM is to see it, and the text of its batch script."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FOLDER: Final = "slurm"
"""Below a run's folder: batch scripts, and what jobs print."""
QUIET: Final = "export SUBMITIT_LOG_LEVEL=WARNING"
"""submitit tells of its own files otherwise, in the log of every job."""
LONGEST_WARNING: Final = 180
"""Seconds before the wall at which SLURM signals. It may be up to a minute early, and a checkpoint has to fit into the rest."""


@dataclass(frozen=True)
class Request:
    """What is asked of the cluster. `minutes` is the wall, None without one."""

    partition: str
    minutes: int | None = None
    gres: str | None = None
    account: str | None = None
    cpus: int | None = None
    mem: str | None = None
    requeue: bool = False

    @property
    def gpus(self) -> int:
        """GPUs of a node that `gres` names: gpu, gpu:2 or gpu:a100:2, among others."""
        counts = [each.split(":") for each in (self.gres or "").split(",")]
        return sum(int(words[-1]) if words[-1].isdigit() else 1 for words in counts if words[0].removeprefix("gres/") == "gpu")


def script(run: str, folder: Path, request: Request, python: str = sys.executable) -> str:
    """The text that sbatch is given for a run that lies in `folder`."""
    from submitit.slurm.slurm import _make_sbatch_string  # what its executor calls with these same parameters

    place = folder / FOLDER
    command = f"{interpreter(python)} -u -m submitit.core._submit {shlex.quote(str(place))}"
    return _make_sbatch_string(command=command, folder=place, **parameters(run, request))


def warning_seconds(minutes: int | None) -> int:
    """How long before the wall SLURM is to signal: a quarter of a short job."""
    return LONGEST_WARNING if minutes is None else min(LONGEST_WARNING, 60 * minutes // 4)


def interpreter(python: str = sys.executable) -> str:
    """The command that becomes the batch script's process: with exec, so that the signal before the wall reaches it and not a shell.

    -P keeps the folder that the job was submitted from off the path: it may hold a user's own `pipelines/`.
    """
    return f"exec {shlex.quote(python)} -P"


def parameters(run: str, request: Request) -> dict[str, Any]:
    """submitit's parameters of a job. Only its own process is signalled: workers that do not expect a signal would die of it."""
    return {
        "job_name": run,
        "partition": request.partition,
        "time": request.minutes or 0,  # SLURM's word for no limit; without one submitit asks for five minutes
        "gres": request.gres,
        "account": request.account,
        "cpus_per_task": request.cpus,
        "mem": request.mem,
        "nodes": 1,
        "ntasks_per_node": 1,
        "use_srun": False,
        "wckey": None,
        "setup": [QUIET],
        "additional_parameters": {
            "signal": f"B:USR2@{warning_seconds(request.minutes)}",
            "requeue" if request.requeue else "no-requeue": True,
        },
    }
