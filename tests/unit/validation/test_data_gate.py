"""What the data gate says of a set besides its checks, and the probability of an all-ignore batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import VortexError
from tests.unit.validation.frame_sets import FrameSet, data_judgement
from validation.data_gate import all_ignore_batch


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="corridor, indoor, robot_home, room"):
        data_judgement(tmp_path, [], "moon")


def test_probability_of_an_all_ignore_batch() -> None:
    assert all_ignore_batch(0.06, 16) == pytest.approx(0.3716, abs=1e-4)
    assert (all_ignore_batch(1.0, 16), all_ignore_batch(0.0, 16)) == (0.0, 1.0)


def test_labelled_frames_are_counted_by_their_pixels(tmp_path: Path) -> None:
    judgement = data_judgement(tmp_path, FrameSet(tmp_path, labels="partial").build().frames, "room")
    assert (judgement.frames, judgement.labelled, judgement.train_labelled) == (12, 3, 0.25)
