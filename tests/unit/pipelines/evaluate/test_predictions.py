from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.workspace import Workspace


def test_picture_shows_the_frames_and_their_true_classes(
    workspace: Workspace, small_set: Path, make_version: Callable[..., str], tmp_path: Path
):
    import cv2

    from core.classes import PALETTE
    from pipelines.evaluate.predictions import draw

    name, seen = make_version(), []
    path = draw(workspace, name, None, tmp_path / "grid.png", data=str(small_set), frames=3, on_progress=lambda *at: seen.append(at))
    grid = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    assert seen == [(1, 3), (2, 3), (3, 3)] and grid.shape[1] > 6 * 240 and grid.shape[0] > 3 * 160
    true_classes = grid[100:, -24 - 240 : -24].reshape(-1, 3)
    for label in (0, 1):
        assert (true_classes == PALETTE[label]).all(axis=1).mean() > 0.05
