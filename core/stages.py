"""The stages that a version passes on its way to a device, in their order."""

from __future__ import annotations

from typing import Final, Literal, get_args

Stage = Literal["candidate", "staging", "production"]
STAGES: Final[tuple[Stage, ...]] = get_args(Stage)
