"""What a person asks of a cluster for a job; what is left out, the partition's settings or SLURM say."""

# No `annotations` of __future__ here: every command would compile the fields' types from text, `--help` too.
from dataclasses import dataclass
from typing import Annotated

from core.option import Option


@dataclass(frozen=True)
class JobOptions:
    """The options of `vortex submit` about the job, in SLURM's own words."""

    partition: Annotated[str | None, Option("Where to run; default: the only one of vortex.toml, or SLURM's.", metavar="P")] = None
    gres: Annotated[str | None, Option("Generic resources of the job: its GPUs.", metavar="gpu:1")] = None
    time: Annotated[str | None, Option("Wall time; default: the partition's.", metavar="12:00:00")] = None
    account: Annotated[str | None, Option("Account to charge.", metavar="A")] = None
    cpus: Annotated[int | None, Option("CPU cores; default: what the partition gives.", least=1)] = None
    mem: Annotated[str | None, Option("Memory; default: what the partition gives.", metavar="32G")] = None
    requeue: Annotated[bool, Option("At the wall, go back into the queue and go on later.")] = False
