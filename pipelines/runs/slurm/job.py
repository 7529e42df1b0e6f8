"""Which job a run was given to: a small file in its folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from core.errors import VortexError
from core.files import write_atomic

FILE: Final = "slurm.json"


@dataclass(frozen=True)
class JobRecord:
    """The newest job of a run. `submitted` is in seconds since 1970, `minutes` the wall."""

    job_id: str
    partition: str
    gres: str | None
    minutes: int | None
    requeue: bool
    account: str | None
    submitted: float

    def write(self, folder: Path) -> None:
        """Keep it in the run's folder."""
        write_atomic(folder / FILE, json.dumps(asdict(self), indent=1))


_RECORD = TypeAdapter(JobRecord)


def read_record(folder: Path) -> JobRecord | None:
    """The record of a run; None for one that was never submitted. Raises VortexError when it cannot be read."""
    path = folder / FILE
    try:
        return _RECORD.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise VortexError(f"{path}: not readable as the record of a job", "remove it; the job itself is not touched") from error
