"""What every report of evidence says: of which kind it is, whose weights and which file it is about, when and by what it was made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from core.printable import plain_line

Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(plain_line)]
"""One line of text that only says something."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Frozen, every key is known, and nothing is guessed: a text is no number, and a number that is not finite is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Report(Part, ABC):
    """The keys that every kind has. `checkpoint_sha256` and `export_sha256` are those that `vortex show vN --json` has of the version."""

    format: Literal[1]
    checkpoint_sha256: Sha256
    export_sha256: Sha256 | None = None
    made_at: AwareDatetime
    made_by: Line
    remarks: Line | None = None

    @abstractmethod
    def summary(self) -> str:
        """What it says, in a few words."""
