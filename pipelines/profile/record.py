"""A prediction as it is kept, and the gate that reads it. Needs no torch."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import GateRefused
from core.files import write_atomic
from core.machine import cores
from pipelines.compare.intervals import Ends
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace


class StageCost(BaseModel):
    """One stage of the schedule: steps an epoch, epochs, and seconds for one epoch with the encoder frozen and with it trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    steps: int
    epochs: int
    frozen_epochs: int
    epoch_seconds: float
    frozen_epoch_seconds: float


class Profile(BaseModel):
    """What was measured of a plan on a machine, and what follows from it. Rates are training frames a second, times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    digest: str
    """Of all that decides the cost; see `cost_digest`."""
    machine: str
    device: str
    measured: str
    batch: int
    """Frames of a step in this process: a worker's share of the batch where there are workers."""
    rounds: int
    loader_rate: float
    loader_band: Ends
    step_rate: float
    """Of one resident batch, again and again: all that the device can do."""
    step_band: Ends
    together_rate: float
    """Of the training loop itself."""
    together_band: Ends
    utilisation: float
    """Share of an epoch, validation and checkpoint included, in which the device computes."""
    utilisation_band: Ends
    validation_seconds: float
    checkpoint_seconds: float
    start_seconds: float
    """From weights in memory to the first batch, once a stage; packing is not in it, because the frames are packed now."""
    epoch_seconds: float
    """An epoch of the stage that takes longest, encoder trained, with validation and checkpoint."""
    epoch_band: Ends
    wall_seconds: float
    """All stages to their last epoch, and the final evaluation."""
    wall_band: Ends
    stages: tuple[StageCost, ...]
    remedies: tuple[str, ...]
    """What would raise the rate or the utilisation, by these numbers."""
    remarks: tuple[str, ...] = ()
    """What was not measured."""


def cost_digest(plan: TrainPlan) -> str:
    """Digest of all of a plan that decides what it costs. Two runs of one plan share it, whatever they start from."""
    return plan.digest(without=("seed", "start"))


def machine() -> str:
    """This machine, by name and number of cores that this process may use."""
    return f"{platform.node() or 'unnamed'}, {cores()} cores"


def profiles(ws: Workspace) -> Path:
    """The folder of the kept profiles."""
    return ws.build / "profiles"


def store(ws: Workspace, profile: Profile) -> Path:
    """Keep a profile; it replaces the one of the same plan and machine."""
    place = re.sub(r"[^A-Za-z0-9]+", "-", profile.machine).strip("-").lower()
    path = profiles(ws) / f"{profile.digest[:16]}-{place}.json"
    write_atomic(path, profile.model_dump_json(indent=1))
    return path


def latest(ws: Workspace, plan: TrainPlan) -> Profile | None:
    """The newest profile of a plan, on whatever machine it was measured; None when there is none that can be read."""
    digest = cost_digest(plan)
    readable = []
    for path in profiles(ws).glob(f"{digest[:16]}-*.json"):
        try:
            readable.append(Profile.model_validate_json(path.read_text()))
        except (OSError, ValidationError):
            continue  # written by another Vortex: as good as none
    return max((profile for profile in readable if profile.digest == digest), key=lambda profile: profile.measured, default=None)


def require_utilisation(profile: Profile, threshold: float, partition: str) -> None:
    """Raise GateRefused, with the remedies, when the device would compute less than `threshold` (a share) of the time."""
    if profile.utilisation >= threshold:
        return
    low, high = profile.utilisation_band
    raise GateRefused(
        f"{profile.recipe} would keep the device busy {profile.utilisation:.0%} of the time ({low:.0%} to {high:.0%}, measured on {profile.machine}); "
        f"partition {partition} asks for {threshold:.0%}",
        profile.remedies[0] if profile.remedies else "use a partition with a lower min_utilisation",
        profile.remedies[1:],
    )
