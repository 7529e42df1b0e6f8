"""The sets that a replay trains and measures on: those that its workspace has by these names, and synthetic ones for the others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from core.errors import GateRefused, VortexError
from core.machine import cores
from core.progress import NamedProgress
from pipelines.data.datasets import Dataset, listing, resolve
from pipelines.experiments.replay.scales import Scale
from pipelines.synthetic.dataset import synthesise
from pipelines.validate.gate_run import validate
from pipelines.validate.validation_report import verdict
from pipelines.workspace import Workspace, load
from validation.manifest import load_manifest
from validation.rows import Frame


@dataclass(frozen=True)
class Place:
    """How a set is rendered. `labelled` is the share of its training frames with classes; `seed` decides its layouts."""

    world: str
    domain: str
    seed: int
    teacher: str = "metric"
    labelled: float = 1.0
    held_out: bool = False
    like: str | None = None
    """The set whose frames it shows again, with another teacher."""


WORTH_A_PROCESS: Final = 48
"""Frames below which a second process takes longer to start than it saves."""
RELATIVE: Final = "nyu_relative"
"""NYU once more, as V1 and V2 were shown it: with the relative teacher. Its validation truth is that of `nyu`."""
PLACES: Final[dict[str, Place]] = {
    "nyu": Place("rooms", "nyu", seed=11),
    RELATIVE: Place("rooms", "nyu", seed=11, teacher="relative", like="nyu"),
    "sunrgbd": Place("workplaces", "sunrgbd", seed=12, labelled=0.0),
    "diode": Place("halls", "diode", seed=13, labelled=0.0),
    "lilocbench": Place("corridor", "corridor", seed=14),
    "corridor_eval": Place("corridor_femto", "corridor", seed=15, held_out=True),
}


def prepare(ws: Workspace, scale: Scale, needed: tuple[str, ...], tell: NamedProgress) -> Workspace:
    """Render the sets of `needed` that the workspace lacks, and let the data gate judge those it has not judged.

    The relative set is not asked: the gate refuses relative depth as metric supervision, and that is what V1 and V2 are about. Raises
    GateRefused when another set fails, VortexError for a rendered set of another scale, and where NYU is real but lacks its relative twin.
    """
    have = {dataset.name: dataset for dataset in listing(ws)}
    for name in needed:
        if name in have:
            _require_scale(have[name], scale)
            continue
        place = PLACES[name]
        if place.like in have and have[place.like].card.format != "synthetic":
            raise VortexError(
                f"{place.like} is real, but there is no dataset {name}: the same frames with a relative teacher's depth",
                f"vortex data add {name} PATH --domain {place.domain}, then: vortex label {name} --teachers da2",
            )
        frames = scale.frames[place.like or name]
        synthesise(
            ws, name, world=place.world, frames=frames, seed=place.seed, size=scale.size, domain=place.domain,
            teacher=place.teacher, labelled=place.labelled, held_out=place.held_out,
            workers=1 if frames < WORTH_A_PROCESS else min(8, cores()),
            on_frame=partial(tell, f"rendering {name}"),
        )  # fmt: skip
    ws = load(ws.root)
    for name in needed:
        if name == RELATIVE:
            continue
        ref = resolve(ws, name_or_manifest=name)
        if verdict(ws, ref) is None:
            validate(ws, ref, progress=partial(tell, f"validating {name}"))
        judged = verdict(ws, ref)
        if not (judged and judged.passed):
            raise GateRefused(f"{name} failed validation, and a replay trains on data that has passed", f"vortex validate {name}")
    return ws


def _require_scale(dataset: Dataset, scale: Scale) -> None:
    """Raise VortexError when a rendered set is of another size: its figures would be those of another replay."""
    settings = dataset.card.settings
    if dataset.card.format == "synthetic" and tuple(settings.get("size", ())) != scale.size:
        rendered = "x".join(map(str, settings.get("size", ("?",))))
        raise VortexError(
            f"{dataset.name} was rendered at {rendered}, the scale {scale.name} is {scale.size[0]}x{scale.size[1]}",
            "give each scale a workspace of its own",
        )


def judged_frames(name: str, manifest: Path) -> list[Frame]:
    """The frames of a set that versions are measured on: validation frames, or the test frames of a set that nothing is trained on."""
    frames = load_manifest(manifest)
    tested = [frame for frame in frames if frame.split == "test"] if PLACES[name].held_out else []
    return tested or [frame for frame in frames if frame.split == "val"]
