"""Pictures say what they mean: colours are exact, sheets are whole and of the right size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.classes import PALETTE
from core.errors import VortexError
from pipelines.data.datasets import Dataset, DatasetCard
from pipelines.report import pictures
from pipelines.report.contact_sheet import _sources, contact_sheet, spread
from validation.manifest import load_manifest, write_manifest
from validation.rows import Frame


def dataset(root: Path, count: int = 5) -> Dataset:
    """Frames with everything a row can name, the last without classes."""
    for part in ("rgb", "depth", "tof", "confidence", "teacher", "segmentation"):
        (root / part).mkdir(parents=True, exist_ok=True)
    ramp = np.tile(np.linspace(500, 4000, 64), (48, 1))
    frames = []
    for index in range(count):
        name, labelled = f"{index}.png", index < count - 1
        cv2.imwrite(str(root / "rgb" / name), np.full((48, 64, 3), (200, 40, 40), np.uint8))
        cv2.imwrite(str(root / "depth" / name), ramp.astype(np.uint16))
        cv2.imwrite(str(root / "tof" / name), np.where(ramp > 2000, 0, ramp).astype(np.uint16))
        cv2.imwrite(str(root / "confidence" / name), np.full((48, 64), 128, np.uint8))
        np.save(root / "teacher" / f"{index}.npy", (1000 / ramp).astype(np.float32))
        cv2.imwrite(str(root / "segmentation" / name), np.tile(np.arange(64) // 10, (48, 1)).astype(np.uint8))
        frames.append(
            Frame(
                id=f"f{index}", domain="rooms", split="train", sequence="s", camera="cam", rgb=f"rgb/{name}", depth=f"depth/{name}",
                depth_unit="mm", tof=f"tof/{name}", tof_unit="mm", tof_confidence=f"confidence/{name}", teacher_depth=f"teacher/{index}.npy",
                teacher="da2-large", teacher_unit="relative", segmentation=f"segmentation/{name}" if labelled else None,
                supervision="full" if labelled else "none",
            )
        )  # fmt: skip
    write_manifest(root / "manifest.jsonl", frames)
    card = DatasetCard(name="set", domain="rooms", kind="room", format="test", cameras=["cam"], frames={"train": count})
    return Dataset("set", root, card)


def test_turbo_states_its_range() -> None:
    depth = np.array([[0.0, np.nan, -1.0, np.inf], [1.0, 3.0, 5.0, 99.0]], np.float32)
    colours = pictures.turbo(depth, 1.0, 5.0)
    assert {tuple(colour) for colour in colours[0].tolist()} == {pictures.NO_DEPTH}
    low, middle, high, beyond = (colour.astype(int) for colour in colours[1])
    assert low[2] > low[0] and high[0] > high[2] and middle[1] > 200 and (high == beyond).all()


def test_ticks_are_round_and_apart() -> None:
    assert pictures._ticks(0.5, 10.0) == [0.5, 2, 4, 6, 8, 10.0]
    assert pictures._ticks(0.5, 3.5) == [0.5, 2, 3.5]
    for low, high in ((0.0, 0.5), (2.0, 2.5), (0.0, 65.0), (0.0, 5000.0), (1.0, 1.0)):
        ticks = pictures._ticks(low, high)
        assert ticks[0] == low and ticks[-1] == high and len(ticks) <= 8 and ticks == sorted(ticks)


def test_class_colours_are_the_palette() -> None:
    colours = pictures.class_colours(np.array([[0, 5, 255, 9]], np.uint8))
    assert [tuple(colour) for colour in colours[0].tolist()] == [PALETTE[0], PALETTE[5], (0, 0, 0), pictures.UNKNOWN]


def test_depth_range_ignores_what_is_no_depth() -> None:
    depth = np.full((40, 40), 2.2, np.float32)
    depth[:8] = np.nan
    depth[8:12] = 0
    assert pictures.depth_range([depth]) == (2.0, 2.5)
    assert pictures.depth_range([]) == (0.0, 5.0) == pictures.depth_range([np.zeros((8, 8), np.float32)])


def test_the_overlay_draws_the_borders_of_depth_where_they_lie_on_colour() -> None:
    rgb = np.full((96, 128, 3), (40, 80, 160), np.uint8)
    depth = np.full((96, 128), 3, np.float32)
    depth[30:60, 50:90] = 1
    depth[0, 0] = np.nan
    red = (pictures.edges_on_colour(rgb, depth) == (230, 30, 30)).all(2)
    assert red[29:31, 50:90].any(0).all() and red[59:61, 50:90].any(0).all()
    assert red[30:60, 49:51].any(1).all() and red[30:60, 89:91].any(1).all() and red.sum() <= 150
    assert (pictures.edges_on_colour(rgb, depth)[~red] == pictures.edges_on_colour(rgb, depth)[95, 127]).all(), (
        "the rest is the picture in grey"
    )
    coarse = (pictures.edges_on_colour(rgb, depth[::2, ::2]) == (230, 30, 30)).all(2)
    assert coarse[28:32, 52:88].any(0).sum() >= 18 and not coarse[:26].any() and not coarse[34:56, 56:84].any()


def test_fitting_keeps_the_aspect_and_exact_colours() -> None:
    picture = np.zeros((10, 40, 3), np.uint8)
    picture[:, ::2] = 255
    fitted = pictures.fit(picture, (40, 40), exact=True)
    assert fitted.shape == (40, 40, 3) and set(np.unique(fitted)) == {0, 255} and (fitted[:15] == 255).all()


def test_frames_are_spread_over_the_whole_set(tmp_path: Path) -> None:
    rows = [Frame(id=f"f{n}", domain="d", split="train", sequence="s", camera="c", rgb="x.png") for n in range(100)]
    assert [frame.id for frame in spread(rows, 3)] == ["f0", "f50", "f99"]
    assert len(spread(rows, 1)) == 1 and len(spread(rows[:4], 8)) == 4


def test_a_sheet_shows_every_role(tmp_path: Path) -> None:
    seen: list[int] = []
    path = contact_sheet(dataset(tmp_path / "set"), tmp_path / "out" / "sheet.png", frames=3, on_frame=lambda done, _: seen.append(done))
    sheet = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    assert seen == [1, 2, 3] and sheet.shape[1] > 6 * 300
    for colour in (*PALETTE, pictures.NO_DEPTH, (40, 40, 200)):
        assert (sheet == colour).all(axis=2).sum() > 200, f"{colour} is not on the sheet"
    assert [entry.name for entry in path.parent.iterdir()] == ["sheet.png"]


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    tile = pictures.Tile(np.zeros((20, 20, 3), np.uint8), "$x_1$ & <b> $")
    assert pictures.save_grid(tmp_path / "g.png", [[tile]], columns=["$"], title="$\\frac").stat().st_size > 1000


def test_faults_are_named(tmp_path: Path) -> None:
    made = dataset(tmp_path / "set")
    (made.root / "depth" / "2.png").unlink()
    with pytest.raises(VortexError, match=r"depth/2\.png"):
        contact_sheet(made, tmp_path / "sheet.png", frames=5)
    assert not (tmp_path / "sheet.png").exists()
    (tmp_path / "file").touch()
    with pytest.raises(VortexError, match="cannot be written"):
        pictures.save_grid(tmp_path / "file" / "g.png", [], columns=["a"])


def test_who_decided_a_pixel_has_a_picture(tmp_path: Path) -> None:
    made = dataset(tmp_path, 2)
    sources = np.zeros((48, 64), np.uint8)
    sources[:24], sources[24:36] = 1, 2
    cv2.imwrite(str(tmp_path / "sources.png"), sources)
    rows = load_manifest(made.manifest)
    write_manifest(made.manifest, [replace(rows[0], segmentation_teacher="yolo+sam2", segmentation_sources="sources.png"), rows[1]])
    path = contact_sheet(made, tmp_path / "sheet.png", frames=2)
    plain = contact_sheet(dataset(tmp_path, 2), tmp_path / "plain.png", frames=2)
    assert cv2.imread(str(path)).shape[1] > cv2.imread(str(plain)).shape[1]
    tile = _sources(sources)
    assert tile.label == "blue geometric 50%, orange sam2 25%"
    assert tile.picture is not None and len(np.unique(tile.picture.reshape(-1, 3), axis=0)) == 3
