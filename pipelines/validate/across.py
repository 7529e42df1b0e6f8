"""Whether a dataset shares frames with another across their splits: what one trains on must not be what another is judged by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pipelines.data.datasets import listing, resolve
from pipelines.validate.cached import statistics_path
from pipelines.validate.fingerprints import Fingerprints, fingerprints_of
from validation.checks import Check
from validation.manifest import load_manifest
from validation.policies import load_policies
from validation.questions import ACROSS
from validation.statistics import stored_digest

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from pipelines.workspace import Workspace

HELD_OUT: Final = ("val", "test")


def leaks_across(ws: Workspace, ref: DataRef) -> Check | None:
    """The check of a set against the other sets of `data/`, both ways; None where it has no other to be compared with.

    Compared is with those that were validated as they are; another is compared when its turn comes.
    """
    others = []
    for dataset in listing(ws):
        if dataset.root.resolve() != ref.root.resolve():
            other = resolve(ws, name_or_manifest=dataset.name)
            if stored_digest(statistics_path(ws, other)) == other.digest:
                others.append(other)
    if not others:
        return None
    bounds = load_policies().data.kind(ref.kind).twins
    ours = _halves(ws, ref)
    examples: list[str] = []
    reasons: list[str] = []
    for other in others:
        theirs = _halves(ws, other)
        for (ids, judged), (_, trained), where in (
            (ours["held out"], theirs["train"], f"a training picture of {other.name}"),
            (theirs["held out"], ours["train"], f"held out by {other.name}, and trained on here"),
        ):
            same, alike = judged.leaks_from(trained, bounds.leak_bits)
            if same.any() or alike.sum() > bounds.leaks * len(judged):
                places = np.flatnonzero(same | alike)
                examples += [ids[place] for place in places]
                reasons += [where] * len(places)
    names = ", ".join(other.name for other in others)
    answer = f"{len(examples)} frames, for example {examples[0]}: {reasons[0]}" if examples else "none"
    return Check(
        ACROSS,
        f"no training picture held out in another set ({names}), or the other way round",
        answer,
        not examples,
        tuple(examples[:5]),
        tuple(reasons[:5]),
    )


def _halves(ws: Workspace, ref: DataRef) -> dict[str, tuple[list[str], Fingerprints]]:
    frames = load_manifest(ref.manifest)
    halves = {
        "train": [frame.id for frame in frames if frame.split == "train"],
        "held out": [frame.id for frame in frames if frame.split in HELD_OUT],
    }
    return {name: (ids, fingerprints_of(ws, ref, set(ids))) for name, ids in halves.items()}
