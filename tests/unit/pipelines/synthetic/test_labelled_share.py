"""`--labelled SHARE`: how many training frames of a synthetic set keep their class mask, and which."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines.data import datasets
from pipelines.synthetic.dataset import Job, synthesise
from pipelines.workspace import Workspace
from validation.manifest import load_manifest, stream_split


@pytest.mark.parametrize("share", [0.0, 0.06, 0.1, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("frames", [12, 100, 240])
def test_the_share_is_kept_and_spread_evenly(share: float, frames: int) -> None:
    job = Job("rooms", "rooms", frames, 0, (48, 64), None, share)
    kept = [
        job.keeps_mask(sequence, index)
        for sequence, total in enumerate(job.sequences)
        for index in range(total)
        if stream_split(index, total) == "train"
    ]
    assert sum(kept) == int(len(kept) * share + 1e-9)
    half = len(kept) // 2
    assert abs(sum(kept[:half]) - half * share) <= 1


def test_measured_splits_keep_their_truth_and_the_card_says_how_many_do_not(workspace: Workspace) -> None:
    made = synthesise(workspace, "rooms", world="rooms", frames=12, size=(48, 64), labelled=0.25)
    frames = load_manifest(made.manifest)
    training = [frame for frame in frames if frame.split == "train"]
    assert sum(frame.supervision == "full" for frame in training) == len(training) // 4
    assert all(frame.segmentation for frame in frames if frame.split != "train")
    assert made.card.settings["labelled"] == 0.25 and made.card.segmentation == "partial"
    stored = {path.name for path in Path(made.root / "segmentation").iterdir()}
    assert stored == {Path(frame.segmentation).name for frame in frames if frame.segmentation}
    assert datasets.find(workspace, "rooms").card == made.card


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(workspace: Workspace, share: float) -> None:
    with pytest.raises(VortexError, match=r"labelled share .* is not allowed: 0 to 1"):
        synthesise(workspace, "rooms", world="rooms", frames=12, size=(48, 64), labelled=share)
    assert not (workspace.data / "rooms").exists()
