"""The synthetic worlds: exact geometry, classes, the ToF model's losses, and the same bytes for a seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.classes import CLASSES
from core.errors import VortexError
from core.pinhole import Pinhole
from pipelines.data import datasets
from pipelines.synthetic.dataset import Job, render_dataset, synthesise
from pipelines.synthetic.parts import Spot, Surface, columns
from pipelines.synthetic.render import Camera, cast, rays
from pipelines.synthetic.scene import Pose, Scene, compiled, new_spot
from pipelines.synthetic.shade import render
from pipelines.synthetic.shot import camera_at, shoot
from pipelines.synthetic.teacher import predict
from pipelines.synthetic.worlds import WORLDS, World
from pipelines.workspace import Workspace, load
from validation.decode import read_confidence, read_depth, read_rgb, read_segmentation
from validation.headers import image_size
from validation.manifest import load_manifest

FLOOR = Surface("plain", label="floor")
WALL = Surface("plain", label="wall")


def _spot() -> Spot:
    return new_spot((0, 0), np.random.default_rng(0))


def _camera(position: tuple[float, float, float], yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Camera:
    return Camera(np.array(position), Pose(position, yaw, pitch, roll).rotation(), Pinhole(50.0, 50.0, 31.5, 23.5, (48, 64)))


def _depth(build: Callable[[Spot], None], camera: Camera) -> np.ndarray:
    spot = _spot()
    build(spot)
    return cast(camera, rays(camera), columns(spot.parts.solid)).depth


def test_a_wall_across_the_axis_has_one_depth() -> None:
    depth = _depth(lambda spot: spot.box(3.5, 0, -10, (1, 40, 20), WALL), _camera((0, 0, 0)))
    assert depth == pytest.approx(np.full((48, 64), 3.0), abs=1e-5)


def test_the_floor_follows_the_plane_equation() -> None:
    camera = _camera((0, 0, 1.4), yaw=0.3, pitch=-0.5, roll=0.1)
    depth = _depth(lambda spot: spot.box(0, 0, -1, (2000, 2000, 1), FLOOR), camera)
    down = rays(camera).direction[2].astype(np.float64)
    expected = np.where(down < 0, 1.4 / np.maximum(-down, 1e-9), np.inf)
    near = expected < 50
    assert near.sum() > 1000
    assert depth[near] == pytest.approx(expected[near], rel=1e-4)


def _box_distance(point: np.ndarray) -> np.ndarray:
    """Signed distance to the turned box of the next test, written independently of the renderer."""
    x, y = point[..., 0] - 2.0, point[..., 1] - 0.2
    cosine, sine = np.cos(0.6), np.sin(0.6)
    local = np.stack([cosine * x + sine * y, -sine * x + cosine * y, point[..., 2] - 0.1], -1)
    outside = np.abs(local) - np.array([0.4, 0.3, 0.25])
    return np.linalg.norm(np.maximum(outside, 0), axis=-1) + np.minimum(outside.max(-1), 0)


def _capsule_distance(point: np.ndarray) -> np.ndarray:
    a, b = np.array([1.5, -0.5, -0.3]), np.array([2.2, 0.4, 0.5])
    along = np.clip(((point - a) @ (b - a)) / ((b - a) @ (b - a)), 0, 1)
    return np.linalg.norm(point - a - along[..., None] * (b - a), axis=-1) - 0.2


def _cylinder_distance(point: np.ndarray) -> np.ndarray:
    radial = np.hypot(point[..., 0] - 2.0, point[..., 1] - 0.1) - 0.3
    upright = np.abs(point[..., 2] - 0.05) - 0.35
    both = np.stack([radial, upright], -1)
    return np.linalg.norm(np.maximum(both, 0), axis=-1) + np.minimum(both.max(-1), 0)


@pytest.mark.parametrize(
    ("build", "distance"),
    [
        (lambda spot: spot.box(2.0, 0.2, -0.15, (0.8, 0.6, 0.5), WALL, 0.6), _box_distance),
        (lambda spot: spot.capsule((1.5, -0.5, -0.3), (2.2, 0.4, 0.5), 0.2, WALL), _capsule_distance),
        (lambda spot: spot.cylinder(2.0, 0.1, -0.3, 0.3, 0.7, WALL), _cylinder_distance),
    ],
    ids=["box", "capsule", "cylinder"],
)
@pytest.mark.parametrize("position", [(0.0, 0.0, 0.0), (0.3, 0.4, 0.9), (0.1, -0.6, -0.8)])
def test_hits_lie_on_the_surface_and_nothing_is_missed(build: Callable, distance: Callable, position: tuple) -> None:
    camera = _camera(position, yaw=0.05, pitch=-0.6 * position[2] / 2, roll=0.2)
    view, depth = rays(camera), _depth(build, camera)
    hit = np.isfinite(depth)
    assert 50 < hit.sum() < hit.size
    direction = view.direction.transpose(1, 2, 0).astype(np.float64)
    points = camera.position + depth[hit][:, None] * direction[hit]
    assert np.abs(distance(points)).max() < 2e-4
    # March along every ray by spheres: what the marcher finds, and where, is what the renderer found.
    marched = np.full(depth.shape, 0.05)
    for _ in range(200):
        marched += np.maximum(distance(camera.position + marched[..., None] * direction), 0) / np.sqrt(view.square)
    found = (marched < 10) & (distance(camera.position + marched[..., None] * direction) < 1e-4)
    assert (found != hit).mean() < 0.005
    both = found & hit
    assert np.abs(marched - depth)[both].max() < 5e-3


def test_a_mirrored_camera_sees_mirrored_points_at_the_same_pixel() -> None:
    camera, normal = _camera((0.2, 0.1, 1.0), 0.4, -0.2), np.array([0.0, 0.0, 1.0])
    mirrored = camera.mirrored(normal, 0.25)
    point = np.array([2.0, 0.8, 0.9])
    image = point - 2 * (normal @ point - 0.25) * normal
    seen, reflected = (image - camera.position) @ camera.rotation, (point - mirrored.position) @ mirrored.rotation
    assert seen == pytest.approx(reflected)


def _glass_room() -> Scene:
    spot = _spot()
    spot.box(5, 0, -9, (0.1, 20, 18), WALL)
    spot.at(2, 0, yaw=-np.pi / 2).pane(0, 0, -2, 2.0, 6.0, Surface("flat", (0.9, 0.9, 0.9), "glass", gloss=1.0))
    spot.light(0, 0, 2, 3.0)
    return compiled(spot.parts, height=3.0, walls=[], walk=lambda phase: Pose((0, 0, 0), 0))


def test_the_depth_of_glass_is_the_pane() -> None:
    scene = _glass_room()
    camera = _camera((0, 0, 0))
    picture = render(scene, camera, scene.solid, np.random.default_rng(0))
    glass = picture.label == CLASSES.index("glass")
    # The pane spans ±1 m at 2 m: 50 of 64 columns.
    assert glass[24].sum() == pytest.approx(50, abs=2)
    assert picture.depth[glass] == pytest.approx(np.full(glass.sum(), 1.995), abs=1e-4)
    assert picture.behind[glass] == pytest.approx(np.full(glass.sum(), 4.95), abs=1e-4)
    assert picture.depth[~glass] == pytest.approx(np.full((~glass).sum(), 4.95), abs=1e-4)
    assert picture.rgb[:, glass].mean() > 0.3 * picture.rgb[:, ~glass].mean(), "one sees through it"


@pytest.mark.parametrize(("world", "low", "high"), [("rooms", 0.30, 0.45), ("corridor", 0.75, 0.81)])
def test_a_world_is_closed_varied_and_loses_tof_as_stated(world: str, low: float, high: float) -> None:
    lost, labels, medians, brightness, far = [], set(), [], [], 0.0
    for layout in range(5):
        scene = WORLDS[world].build((3, layout))
        for phase in np.linspace(0, 1, 9)[:-1]:
            shot = shoot(WORLDS[world], scene, float(phase), (90, 120), np.random.default_rng(int(phase * 100)))
            assert (shot.depth > 0.1).all(), "no ray leaves the building"
            assert shot.label.max() < len(CLASSES)
            assert shot.confidence.min() >= 0 and shot.confidence.max() <= 1
            trusted = shot.confidence >= 0.5
            assert (shot.tof[trusted] > 0).all(), "what is trusted was measured"
            lost.append(1 - trusted.mean())
            error = np.abs(shot.tof - shot.depth)[trusted & (shot.label != CLASSES.index("glass"))]
            if error.size:
                assert np.median(error) < 0.03
            labels |= set(np.unique(shot.label).tolist())
            medians.append(np.median(shot.depth))
            brightness.append(shot.rgb.mean())
            far = max(far, float(shot.depth.max()))
    assert low <= np.mean(lost) <= high
    assert labels == set(range(6))
    assert (1.0 < np.median(medians) < 4.0) and far > (5.0 if world == "rooms" else 9.0) and far < 18.0
    assert 90 < np.mean(brightness) < 175 and min(brightness) > 50


def test_layouts_differ_and_the_camera_is_the_worlds() -> None:
    first, second = (WORLDS["rooms"].build((0, layout)) for layout in (0, 1))
    assert len(first.solid) != len(second.solid)
    rooms, corridor = (camera_at(WORLDS[world], (240, 320)).pinhole for world in ("rooms", "corridor"))
    assert rooms.fx == pytest.approx(259.4, abs=1) and corridor.fx == pytest.approx(192.5, abs=1)
    heights = {world: WORLDS[world].build((0, 0)).walk(0.3).position[2] for world in WORLDS}
    assert 1.2 <= heights["rooms"] <= 1.6 and 0.4 <= heights["corridor"] <= 0.6


@pytest.mark.parametrize("world", WORLDS)
def test_a_second_lap_shows_no_picture_of_the_first(world: str) -> None:
    """It is the validation split: a picture that is almost one of training is a leak, for which the gate refused a tenth of all corridors."""
    for seed in range(20):
        walk = WORLDS[world].build((seed, 0)).walk
        for phase in np.linspace(0, 0.5, 60, endpoint=False):
            first, second = walk(float(phase)), walk(float(phase) + 0.5)
            turned = math.remainder(second.yaw - first.yaw, 2 * math.pi)
            assert math.hypot(turned, second.pitch - first.pitch) > 0.09, f"in radians, of seed {seed} at {phase:.3f}"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
    return digest.hexdigest()


def test_bytes_depend_on_the_seed_and_not_on_the_workers(tmp_path: Path) -> None:
    job = Job("corridor", "corridor", 12, 5, (48, 64), "metric")
    for name, workers, work in (("one", 1, job), ("two", 2, job), ("other", 1, replace(job, seed=6))):
        render_dataset(tmp_path / name, work, workers)
    assert len(list((tmp_path / "one").rglob("*.*"))) == 12 * 6
    assert _digest(tmp_path / "one") == _digest(tmp_path / "two")
    assert _digest(tmp_path / "one") != _digest(tmp_path / "other")


def test_synthesise_publishes_a_dataset(workspace: Workspace) -> None:
    ticks: list[tuple[int, int]] = []
    dataset = synthesise(
        workspace, "lab", world="rooms", frames=26, size=(48, 64), domain="lab", on_frame=lambda done, total: ticks.append((done, total))
    )
    assert ticks == [(done, 26) for done in range(1, 27)]
    assert datasets.find(workspace, "lab").card == dataset.card
    assert (dataset.card.kind, dataset.card.segmentation, dataset.card.cameras) == ("room", "full", ["synthetic-kinect"])
    assert load(workspace.root).config.domains["lab"].kind == "room", "a new domain takes the world's kind"
    frames = load_manifest(dataset.manifest)
    for sequence, training in (("s0", 5), ("s1", 5), ("s2", 4), ("s3", 4)):
        splits = [frame.split for frame in frames if frame.sequence == sequence]
        assert splits == ["train"] * training + ["gap", "val"], "the order of the stream decides"
    frame = frames[0]
    assert frame.intrinsics is not None and frame.depth and frame.tof and frame.tof_confidence and frame.segmentation
    assert frame.intrinsics.size == (48, 64) == image_size(dataset.root / frame.rgb)
    depth, tof = read_depth(dataset.root / frame.depth, "mm"), read_depth(dataset.root / frame.tof, "mm")
    confidence = read_confidence(dataset.root / frame.tof_confidence)
    assert depth.min() > 0.2 and depth.max() < 12
    assert np.median(np.abs(tof - depth)[confidence >= 0.5]) < 0.05
    assert read_segmentation(dataset.root / frame.segmentation).max() < 6
    assert read_rgb(dataset.root / frame.rgb).std() > 15
    with pytest.raises(VortexError, match="exists already"):
        synthesise(workspace, "lab", world="rooms", frames=26)


@pytest.mark.parametrize(("frames", "sequences"), [(12, 2), (18, 3), (26, 4), (60, 10), (72, 12), (240, 12)])
def test_sixty_frames_make_ten_independent_sequences(frames: int, sequences: int) -> None:
    job = Job("rooms", "rooms", frames, 0, (48, 64), None)
    assert len(job.sequences) == sequences and sum(job.sequences) == frames
    for number, total in enumerate(job.sequences):
        assert {job.split(number, index) for index in range(total)} == {"train", "gap", "val"}


def test_a_third_world_is_one_entry(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    third = World(lambda seed: _glass_room(), "indoor", "test-camera", 0.7, WORLDS["rooms"].sensor)
    monkeypatch.setitem(WORLDS, "hall", third)
    dataset = synthesise(workspace, "hall", world="hall", frames=12, size=(32, 32))
    assert (dataset.card.domain, dataset.card.kind, dataset.card.cameras) == ("hall", "indoor", ["test-camera"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"world": "moon"}, "unknown world 'moon'; known worlds: corridor, corridor_femto, halls, rooms, workplaces"),
        ({"frames": 11}, "11 frames are too few, allowed: 12 or more"),
        ({"size": (8, 320)}, "size 8x320 is not allowed"),
        ({"size": (240, 99999)}, "size 240x99999 is not allowed"),
        ({"seed": -1}, "seed -1 is not allowed"),
        ({"teacher": "oracle"}, "unknown synthetic teacher 'oracle'; allowed: metric, relative"),
        ({"domain": "A B"}, "domain name 'A B' is not allowed"),
        ({"workers": 0}, "0 workers are not allowed"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workspace: Workspace, change: dict, words: str) -> None:
    before = (workspace.root / "data.dvc").read_bytes()
    with pytest.raises(VortexError) as caught:
        synthesise(workspace, "bad", **({"world": "rooms", "frames": 12, "size": (48, 64)} | change))
    assert words in caught.value.message and caught.value.hint and "\n" not in caught.value.message
    assert not list(workspace.data.iterdir()) and (workspace.root / "data.dvc").read_bytes() == before
    assert not list(workspace.build.rglob("*.jpg"))


def test_teachers_err_as_theirs_do() -> None:
    depth = np.linspace(1, 6, 240 * 320, dtype=np.float32).reshape(240, 320)
    metric = predict("metric", depth, np.random.default_rng(1))
    error = np.abs(metric / depth - 1)
    assert 0.002 < error.mean() < 0.08 and error.max() < 0.2
    relative = predict("relative", depth, np.random.default_rng(1))
    assert np.corrcoef(relative.ravel(), 1 / depth.ravel())[0, 1] > 0.98, "inverse depth"
    assert np.sqrt(np.mean((relative - depth) ** 2)) > 20, "read as metres it misses by tens of metres"


@pytest.mark.parametrize(("world", "low", "high"), [("workplaces", 0.15, 0.30), ("halls", 0.04, 0.14), ("corridor_femto", 0.72, 0.84)])
def test_the_other_worlds_are_closed_too_and_lose_tof_as_stated(world: str, low: float, high: float) -> None:
    lost, labels = [], set()
    for layout in range(4):
        scene = WORLDS[world].build((3, layout))
        for phase in np.linspace(0, 1, 6)[:-1]:
            shot = shoot(WORLDS[world], scene, float(phase), (90, 120), np.random.default_rng(int(phase * 100)))
            assert (shot.depth > 0.1).all() and shot.depth.max() < 18, "no ray leaves the building"
            assert shot.rgb.mean() > 40
            lost.append(1 - (shot.confidence >= 0.5).mean())
            labels |= set(np.unique(shot.label).tolist())
    assert low <= np.mean(lost) <= high
    assert labels == set(range(6))


def test_every_world_has_a_camera_of_its_own() -> None:
    cameras = {(world.camera, world.focal) for world in WORLDS.values()}
    assert len(cameras) == len({camera for camera, _ in cameras}) == len({focal for _, focal in cameras}) == len(WORLDS)


def test_a_corridor_through_the_second_camera_is_the_same_place_and_another_picture() -> None:
    first, second = WORLDS["corridor"], WORLDS["corridor_femto"]
    scene = first.build((4, 0))
    assert len(scene.solid) == len(second.build((4, 0)).solid)
    shots = [shoot(world, scene, 0.4, (96, 128), np.random.default_rng(0)) for world in (first, second)]
    assert np.abs(shots[0].depth - shots[1].depth).mean() > 0.1, "another field of view"
    grain = [np.median(np.abs(np.diff(shot.rgb.astype(float), axis=1))) for shot in shots]
    assert grain[1] > 1.2 * grain[0]


def test_halls_are_larger_than_homes_and_workplaces_cooler() -> None:
    def filmed(world: str) -> tuple[float, float]:
        shots = [shoot(WORLDS[world], WORLDS[world].build((1, n)), 0.3, (48, 64), np.random.default_rng(n)) for n in range(6)]
        blue_to_red = np.mean([shot.rgb[..., 2].mean() / shot.rgb[..., 0].mean() for shot in shots])
        return float(np.median([np.median(shot.depth) for shot in shots])), float(blue_to_red)

    (homes, homes_blue), (halls, _), (_, work_blue) = (filmed(world) for world in ("rooms", "halls", "workplaces"))
    assert halls > 1.15 * homes
    assert work_blue > 1.05 * homes_blue


def test_a_held_out_set_is_there_to_be_measured_on(workspace: Workspace) -> None:
    made = synthesise(workspace, "eval", world="corridor_femto", frames=12, size=(32, 48), domain="corridor", labelled=0.0, held_out=True)
    assert made.card.frames == {"test": 12} and made.card.segmentation == "full", "what is measured on keeps its truth"
    assert made.card.settings["held_out"] is True


def test_the_relative_teacher_is_not_bounded() -> None:
    depth = np.array([[0.3, 1.0, 3.0, 9.0]] * 4, np.float32).repeat(8, 0).repeat(8, 1)
    outputs = [predict("relative", depth, np.random.default_rng(seed)) for seed in range(8)]
    assert min(output.min() for output in outputs) > 10 and max(output.max() for output in outputs) > 400, "far beyond [0, 1]"
    scales = [output[0, 20] for output in outputs]
    assert max(scales) / min(scales) > 1.2, "no frame's scale is another's"
