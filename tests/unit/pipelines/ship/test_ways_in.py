"""Ways to get a worse, a leaked or an untaught version into production. None succeeds: each is refused by a gate, or before one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.classes import CLASSES
from core.errors import VortexError
from core.files import write_atomic
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.data.datasets import CARD, DatasetCard, find, new_dataset, resolve
from pipelines.data.pointer import pointer
from pipelines.data.repository import repository
from pipelines.evaluate.baselines import MEAN_MAP, baseline_errors
from pipelines.evaluate.version import evaluate
from pipelines.exam.sets import exam_sets
from pipelines.hub.open import hub
from pipelines.protocol import Protocol
from pipelines.ship.quarantine import quarantine
from pipelines.validate.fingerprints import Fingerprints, fingerprints_of
from pipelines.validate.validation_report import record_path
from pipelines.workspace import FILE, Workspace, load
from registry.channels import Channel
from registry.edges import WeightsEdge
from registry.records import Artifact, DataUse
from registry.stages import channel_state, newest_exam
from tests.made_once import made_once
from tests.unit.pipelines.ship.conftest import SIZE, Arena, failed
from tests.unit.pipelines.training_set import FILES, publish
from validation.manifest import load_manifest, write_manifest
from validation.pixels import look

Way = Callable[[Arena], str]
WORSE: list[tuple[Way, str]] = []
"""(makes a version that is worse than the one in production, and has something better said of it; the check that refuses it)"""
UNTAUGHT: list[tuple[Way, str]] = []
"""The same for an empty channel: versions that know nothing, were taught by refused data, or have seen the exam."""


def worse(check: str) -> Callable[[Way], Way]:
    return lambda way: (WORSE.append((way, check)), way)[1]


def untaught(check: str) -> Callable[[Way], Way]:
    return lambda way: (UNTAUGHT.append((way, check)), way)[1]


@worse("not-worse-rmse")
def its_errors_are_larger(arena: Arena) -> str:
    return arena.version(0.5, seed=1)


@worse("not-worse-rmse")
def it_was_never_measured(arena: Arena) -> str:
    return arena.register()


def said_better(arena: Arena, **changes: object) -> str:
    """A version with random weights that is recorded as better than it is, but not by an exam."""
    name = arena.register()
    exam_set = arena.sets[0]
    arena.record(name, exam_set, arena.errors(exam_set, 0.1), **changes)
    return name


@worse("not-worse-rmse")
def a_set_outside_of_data_is_called_as_the_exam(arena: Arena) -> str:
    return said_better(arena, dataset="outside:rooms", protocol="val-pooled-10m/1+outside")


@worse("not-worse-rmse")
def it_was_measured_on_unvalidated_data(arena: Arena) -> str:
    return said_better(arena, protocol="val-pooled-10m/1+unvalidated")


@worse("not-worse-rmse")
def it_was_measured_on_two_frames(arena: Arena) -> str:
    return said_better(arena, protocol="val[2 of 10]-pooled-10m/1", frames=2)


@worse("not-worse-rmse")
def an_old_ledger_has_two_frames_under_the_name_of_all(arena: Arena) -> str:
    return said_better(arena, frames=2)


@worse("not-worse-rmse")
def it_was_measured_on_its_training_frames(arena: Arena) -> str:
    return said_better(arena, protocol="train-pooled-10m/1")


@worse("not-worse-rmse")
def it_was_measured_on_test_frames_of_a_set_with_other_splits(arena: Arena) -> str:
    return said_better(arena, protocol="test+other-splits-pooled-10m/1")


@worse("not-worse-rmse")
def the_truth_was_a_teacher(arena: Arena) -> str:
    return said_better(arena, protocol="val-pooled-10m/1+teacher")


@worse("not-worse-rmse")
def the_set_was_another_one_then(arena: Arena) -> str:
    return said_better(arena, digest="0" * 64)


@worse("not-worse-rmse")
def the_camera_was_another_one(arena: Arena) -> str:
    return said_better(arena, camera="synthetic-d455")


@worse("not-worse-rmse")
def its_errors_were_not_kept(arena: Arena) -> str:
    return said_better(arena, errors=None)


@worse("not-worse-rmse")
def its_errors_are_gone(arena: Arena) -> str:
    return said_better(arena, errors=Artifact("nowhere.npz", "0" * 64, 1))


@worse("not-worse-rmse")
def its_errors_are_of_other_frames(arena: Arena) -> str:
    name, exam_set = arena.register(), arena.sets[0]
    errors = arena.errors(exam_set, 0.1)
    arena.record(name, exam_set, replace(errors, ids=tuple(f"other-{number}" for number in range(len(errors.ids)))))
    return name


@worse("not-worse-rmse")
def its_errors_name_one_frame_ten_times(arena: Arena) -> str:
    name, exam_set = arena.register(), arena.sets[0]
    errors = arena.errors(exam_set, 0.1)
    arena.record(name, exam_set, replace(errors, ids=(errors.ids[0],) * len(errors.ids)))
    return name


@worse("not-worse-rmse")
def its_errors_are_of_another_size(arena: Arena) -> str:
    name, exam_set = arena.register(), arena.sets[0]
    arena.record(name, exam_set, arena.errors(exam_set, 0.1, size=(32, 48)))
    return name


@worse("not-worse-rmse")
def its_input_is_smaller(arena: Arena) -> str:
    return arena.register(size=(32, 64), shift=30.0)


@worse("not-worse-rmse")
def a_second_set_of_the_domain_was_left_out(arena: Arena) -> str:
    first = arena.sets[0]
    film_another(arena.ws)
    name = arena.register(shift=30.0)
    arena.record(name, first, arena.errors(first, 0.1))
    return name


@worse("not-worse-rmse")
def it_is_better_on_one_set_and_worse_on_another(arena: Arena) -> str:
    first = arena.sets[0]
    film_another(arena.ws)
    name = arena.register()
    for exam_set in arena.sets:
        arena.record(name, exam_set, arena.errors(exam_set, 0.1 if exam_set.ref.name == first.ref.name else 0.6))
    holder = str(channel_state(hub(arena.ws).ledger, Channel("host", "rooms")).production)
    (second,) = [exam_set for exam_set in arena.sets if exam_set.ref.name != first.ref.name]
    arena.record(holder, second, arena.errors(second, 0.4))
    return name


@worse("metrics-present")
def it_predicts_no_number(arena: Arena) -> str:
    name, exam_set = arena.register(), arena.sets[0]
    errors = arena.errors(exam_set, 0.1)
    broken = {**errors.sums, SQUARED: np.where(np.arange(len(errors.ids)) == 3, np.nan, errors.sums[SQUARED])}
    arena.record(name, exam_set, replace(errors, sums=broken))
    return name


@worse("exam-passed")
def the_exam_was_never_validated(arena: Arena) -> str:
    name = arena.version(0.1)
    ref = arena.sets[0].ref
    record_path(arena.ws, ref, ref.kind).unlink()
    return name


@worse("exam-passed")
def the_exam_was_made_easier_by_hand(arena: Arena) -> str:
    manifest = find(arena.ws, "rooms").manifest
    frames = load_manifest(manifest)
    easiest = [frame.id for frame in frames if frame.split == "val"][:5]
    write_manifest(manifest, [frame for frame in frames if frame.split != "val" or frame.id in easiest])
    return arena.version(0.1)


@worse("not-worse-rmse")
def there_is_too_little_to_say(arena: Arena) -> str:
    return arena.version(0.4, noise=0.9, seed=5)


@worse("not-worse-rmse")
def nothing_is_known_of_the_one_in_production_and_its_weights_are_gone(arena: Arena) -> str:
    holder = hub(arena.ws).get(str(channel_state(hub(arena.ws).ledger, Channel("host", "rooms")).production))
    film_another(arena.ws)
    name = arena.version(0.1)
    hub(arena.ws).artifacts.path(holder.checkpoint).unlink()
    return name


@untaught("better-than-nothing-rmse")
def its_weights_are_random(arena: Arena) -> str:
    return arena.register()


@untaught("better-than-nothing-rmse")
def it_answers_one_depth_everywhere(arena: Arena) -> str:
    return arena.register(shift=2.3)


@untaught("better-than-nothing-rmse")
def it_answers_the_mean_map(arena: Arena) -> str:
    name, exam_set = arena.register(), arena.sets[0]
    arena.record(name, exam_set, baseline_errors(arena.ws, exam_set.ref, exam_set.frames, SIZE)[MEAN_MAP])
    return name


@untaught("better-than-nothing-rmse")
def it_beats_the_constant_alone(arena: Arena) -> str:
    name, exam_set = arena.register(), arena.sets[0]
    errors = baseline_errors(arena.ws, exam_set.ref, exam_set.frames, SIZE)[MEAN_MAP]
    arena.record(name, exam_set, replace(errors, sums={**errors.sums, SQUARED: 1.005 * errors.sums[SQUARED]}))
    return name


@untaught("better-than-nothing-rmse")
def a_set_that_never_passed_would_make_the_baselines_weak(arena: Arena) -> str:
    """Its depth is far from that of the exam, and so would be the mean of all training frames."""
    name, exam_set = arena.register(), arena.sets[0]
    errors = baseline_errors(arena.ws, exam_set.ref, exam_set.frames, SIZE)[MEAN_MAP]
    arena.record(name, exam_set, replace(errors, sums={**errors.sums, SQUARED: 1.005 * errors.sums[SQUARED]}))
    arena.ask('exam = ["rooms"]')
    publish(arena.ws, "far", train=80, val=0)
    for path in (arena.ws.data / "far" / "depth").iterdir():
        path.chmod(0o644)
        cv2.imwrite(str(path), np.full(FILES, 9900, np.uint16))
    return name


@untaught("classes-trained")
def a_class_that_the_domain_requires_was_never_trained(arena: Arena) -> str:
    arena.ask('require_classes = ["wall", "glass"]')
    return arena.version(0.4, class_pixels={name: 0 if name == "glass" else 1000 for name in CLASSES})


@untaught("classes-trained")
def its_classes_were_not_counted(arena: Arena) -> str:
    arena.ask('require_classes = ["wall"]')
    return arena.version(0.4)


def use(arena: Arena, **changes: object) -> tuple[DataUse, ...]:
    ref = arena.sets[0].ref
    return (replace(DataUse("rooms", "rooms", "room", ref.digest, ref.dvc, True, {"train": 40, "val": 10}), **changes),)  # type: ignore[arg-type]


def failed_use(arena: Arena, state: str = "failed") -> tuple[DataUse, ...]:
    return use(arena, validated=False, state=state)


@untaught("data-passed")
def its_data_had_failed(arena: Arena) -> str:
    return arena.version(0.4, data=failed_use(arena))


@untaught("data-passed")
def its_data_had_never_been_validated(arena: Arena) -> str:
    return arena.version(0.4, data=failed_use(arena, "never validated"))


@untaught("data-passed")
def its_data_was_allowed_unvalidated_by_an_older_vortex(arena: Arena) -> str:
    return arena.version(0.4, data=use(arena, validated=False, state=""))


@untaught("data-passed")
def nothing_is_recorded_of_its_data(arena: Arena) -> str:
    return arena.version(0.4, data=())


@untaught("data-passed")
def its_parent_was_trained_on_refused_data(arena: Arena) -> str:
    parent = arena.register(data=failed_use(arena))
    return arena.version(0.4, parents=(WeightsEdge(parent),), derived=True)


@untaught("data-passed")
def its_grandparent_was_trained_on_refused_data(arena: Arena) -> str:
    oldest = arena.register(data=failed_use(arena))
    parent = arena.register(parents=(WeightsEdge(oldest),), derived=True)
    return arena.version(0.4, parents=(WeightsEdge(parent),), derived=True)


@untaught("data-passed")
def what_it_continues_was_trained_on_refused_data(arena: Arena) -> str:
    cut = arena.register(data=failed_use(arena), truncated="at its wall")
    return arena.version(0.4, parents=(WeightsEdge(cut, "trained on after its wall"),))


@untaught("data-passed")
def its_second_parent_was_trained_on_refused_data(arena: Arena) -> str:
    good, bad = arena.register(), arena.register(data=failed_use(arena))
    return arena.version(0.4, parents=(WeightsEdge(good), WeightsEdge(bad)), derived=True)


@untaught("data-passed")
def its_parent_is_not_registered(arena: Arena) -> str:
    return arena.version(0.4, parents=(WeightsEdge("v5"),))


def seen(arena: Arena, ids: set[str], change: Callable[[Fingerprints], Fingerprints] = lambda prints: prints) -> Artifact:
    """Stored fingerprints of training frames that are the exam's frames `ids`, changed so."""
    prints = change(fingerprints_of(arena.ws, arena.sets[0].ref, ids))
    path = arena.checkpoint.with_name("fingerprints.npz")
    prints.save(path)
    registry = hub(arena.ws)
    return registry.store.log_artifact(registry.store.start_run("trained elsewhere"), path, "fingerprints")


def exam_ids(arena: Arena) -> set[str]:
    return {frame.id for frame in arena.sets[0].frames}


def recompressed(prints: Fingerprints) -> Fingerprints:
    """Other bytes, two bits of the perceptual hash, a little lighter: what a second JPEG makes of a picture."""
    return replace(prints, content=prints.content + np.uint64(1), across=prints.across ^ np.uint64(5), brightness=prints.brightness + 2)


@untaught("no-leak")
def it_was_trained_on_the_exam(arena: Arena) -> str:
    return arena.version(0.2, fingerprints=seen(arena, exam_ids(arena)))


@untaught("no-leak")
def it_was_trained_on_one_frame_of_the_exam(arena: Arena) -> str:
    return arena.version(0.2, fingerprints=seen(arena, {min(exam_ids(arena))}))


@untaught("no-leak")
def it_was_trained_on_the_exam_recompressed(arena: Arena) -> str:
    return arena.version(0.2, fingerprints=seen(arena, exam_ids(arena), recompressed))


def turned(arena: Arena, *axes: int) -> Callable[[Fingerprints], Fingerprints]:
    """What the exam's pictures look like when these axes are flipped, as augmentation does; their depth is that of another sensor."""
    root = find(arena.ws, "rooms").root
    pictures = [cv2.imread(str(root / frame.rgb))[..., ::-1] for frame in arena.sets[0].frames]
    looks = [look(np.ascontiguousarray(np.flip(picture, axes))) for picture in pictures]
    across, down = (np.array([getattr(each, name) for each in looks], np.uint64) for name in ("across", "down"))
    return lambda prints: replace(
        prints, content=prints.content + np.uint64(1), across=across, down=down, depth=prints.depth * np.float32(1.1)
    )


@untaught("no-leak")
def it_was_trained_on_the_exam_with_another_depth(arena: Arena) -> str:
    return arena.version(0.2, fingerprints=seen(arena, exam_ids(arena), turned(arena)))


@untaught("no-leak")
def it_was_trained_on_the_exam_mirrored(arena: Arena) -> str:
    return arena.version(0.2, fingerprints=seen(arena, exam_ids(arena), turned(arena, 1)))


@untaught("no-leak")
def it_was_trained_on_the_exam_upside_down(arena: Arena) -> str:
    return arena.version(0.2, fingerprints=seen(arena, exam_ids(arena), turned(arena, 0, 1)))


@untaught("no-leak")
def its_parent_was_trained_on_the_exam(arena: Arena) -> str:
    parent = arena.register(fingerprints=seen(arena, exam_ids(arena)))
    return arena.version(0.2, parents=(WeightsEdge(parent),), derived=True)


@untaught("no-leak")
def what_it_continues_was_trained_on_the_exam(arena: Arena) -> str:
    cut = arena.register(fingerprints=seen(arena, exam_ids(arena)), truncated="at its wall")
    return arena.version(0.2, parents=(WeightsEdge(cut, "trained on after its wall"),))


@untaught("no-leak")
def its_set_is_gone_and_its_frames_were_not_kept(arena: Arena) -> str:
    return arena.version(0.2, data=use(arena, name="gone"))


@untaught("no-leak")
def its_set_has_changed_and_its_frames_were_not_kept(arena: Arena) -> str:
    return arena.version(0.2, data=use(arena, digest="1" * 64))


@untaught("no-leak")
def its_fingerprints_are_gone(arena: Arena) -> str:
    return arena.version(0.2, fingerprints=Artifact("gone.npz", "0" * 64, 1))


@untaught("no-leak")
def its_set_was_added_twice_with_another_split(arena: Arena) -> str:
    """What the first holds out, the second trains on; the second is not of the exam, and the version saw it alone."""
    rooms = find(arena.ws, "rooms")
    frames = load_manifest(rooms.manifest)
    turned = {"train": "val", "val": "train", "gap": "gap"}
    card = DatasetCard(name="again", domain="rooms", kind="room", format="test")
    with new_dataset(arena.ws, "again", card) as staging:
        shutil.copytree(rooms.root, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.jsonl", "dataset.json"))
        write_manifest(staging / "manifest.jsonl", [replace(frame, split=turned[frame.split]) for frame in frames])  # type: ignore[arg-type]
    arena.ask('exam = ["rooms"]')
    ref = resolve(arena.ws, name_or_manifest="again")
    return arena.version(0.2, data=use(arena, name="again", digest=ref.digest))


@untaught("not-quarantined")
def it_is_in_quarantine(arena: Arena) -> str:
    return held_back(arena, arena.version(0.2))


@untaught("not-quarantined")
def it_has_weights_of_what_is_in_quarantine(arena: Arena) -> str:
    parent = arena.version(0.2)
    child = arena.version(0.2, parents=(WeightsEdge(parent),), derived=True)
    held_back(arena, parent)
    return child


@untaught("not-quarantined")
def it_was_made_of_a_child_of_it_after_the_quarantine(arena: Arena) -> str:
    parent = arena.version(0.2)
    child = arena.version(0.2, parents=(WeightsEdge(parent),), derived=True)
    held_back(arena, parent)
    return arena.version(0.2, parents=(WeightsEdge(child),), derived=True)


@untaught("not-quarantined")
def its_data_is_in_quarantine(arena: Arena) -> str:
    name = arena.version(0.2)
    held_back(arena, "rooms")
    return name


@untaught("not-quarantined")
def its_data_was_called_otherwise(arena: Arena) -> str:
    held_back(arena, "rooms")
    return arena.version(0.2, data=use(arena, name="halls"))


@untaught("not-quarantined")
def its_data_came_in_other_company(arena: Arena) -> str:
    """Under another hash of data/, and only that hash was named."""
    arena.version(0.2)
    held_back(arena, f"rooms@{str(arena.sets[0].ref.dvc)[:8]}")
    return arena.version(0.2, data=use(arena, dvc="9" * 32 + ".dir"))


@untaught("not-quarantined")
def the_quarantine_of_its_parent_was_lifted_and_that_of_its_data_was_not(arena: Arena) -> str:
    parent = arena.version(0.2)
    child = arena.version(0.2, parents=(WeightsEdge(parent),), derived=True)
    held_back(arena, parent)
    held_back(arena, "rooms")
    quarantine(arena.ws, parent, reason="looked at", lift=True)
    return child


def held_back(arena: Arena, name: str) -> str:
    quarantine(arena.ws, name, reason="brakes late")
    return name


Less = Callable[[Arena], object]
LESS: list[tuple[Less, str]] = []
"""(takes the set `more` out of the exam, after it judged the version in production; the check that refuses what is worse on that very set)"""


def less(check: str) -> Callable[[Less], Less]:
    return lambda way: (LESS.append((way, check)), way)[1]


@less("exam-passed")
def the_set_is_removed(arena: Arena) -> None:
    shutil.rmtree(arena.ws.data / "more")


@less("exam-passed")
def its_card_is_removed(arena: Arena) -> None:
    (arena.ws.data / "more" / CARD).unlink()


@less("exam-passed")
def its_card_names_another_domain(arena: Arena) -> None:
    card = arena.ws.data / "more" / CARD
    write_atomic(card, card.read_text().replace('"domain": "rooms"', '"domain": "attic"'))


@less("exam-passed")
def its_frames_judge_no_more(arena: Arena) -> None:
    manifest = find(arena.ws, "more").manifest
    write_manifest(manifest, [replace(frame, split="gap") if frame.split == "val" else frame for frame in load_manifest(manifest)])


@less("exam-passed")
def data_is_that_of_an_older_commit(arena: Arena) -> None:
    """data.dvc is back, as `git checkout` brings it, and data/ is not."""
    pointer(arena.ws).write_bytes(arena.older)


@less("exam-kept")
def vortex_toml_names_the_other_set(arena: Arena) -> None:
    arena.ask('exam = ["rooms"]')


@less("exam-kept")
def it_is_removed_and_that_is_a_version_of_data(arena: Arena) -> None:
    shutil.rmtree(arena.ws.data / "more")
    with repository(arena.ws) as repo:
        repo.add(str(arena.ws.data))


@less("exam-kept")
def data_is_another_folder(arena: Arena) -> None:
    """As another workspace with the same registry has it."""
    shutil.copytree(arena.ws.data / "rooms", arena.ws.root / "frames" / "rooms")
    write_atomic(arena.ws.root / FILE, f'data = "frames"\n{(arena.ws.root / FILE).read_text()}')
    arena.ws = load(arena.ws.root)


@pytest.fixture(scope="session")
def wide_template(exam_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """The workspace with a second set, and `data.dvc` of before it came."""

    def make(folder: Path) -> None:
        ws = load(shutil.copytree(exam_template, folder / "workspace", symlinks=True))
        shutil.copy(pointer(ws), folder / "older.dvc")
        film_another(ws)

    folder = made_once(tmp_path_factory, "wide", make)
    return folder / "workspace", (folder / "older.dvc").read_bytes()


@pytest.mark.parametrize(("way", "check"), [pytest.param(way, check, id=way.__name__) for way, check in LESS])
def test_an_exam_that_became_less_lets_nobody_in(
    wide_template: tuple[Path, bytes], random_checkpoint: Path, tmp_path: Path, way: Less, check: str
) -> None:
    root, older = wide_template
    ws = load(shutil.copytree(root, tmp_path / "workspace", symlinks=True))
    arena = Arena(ws, Path(shutil.copy(random_checkpoint, tmp_path / "student.safetensors")), older=older)
    names = {exam_set.ref.name: exam_set for exam_set in arena.sets}
    holder, name = arena.register(), arena.register()
    for version, on_more in ((holder, 0.4), (name, 0.8)):
        arena.record(version, names["rooms"], arena.errors(names["rooms"], 0.2 if version == name else 0.4))
        arena.record(version, names["more"], arena.errors(names["more"], on_more))
    assert arena.promote(holder).passed
    way(arena)
    report = arena.promote(name)
    assert failed(report) == [check]
    assert channel_state(hub(arena.ws).ledger, Channel("host", "rooms")).production == holder
    if check == "exam-kept":
        assert arena.promote(name, override=True, reason="more was filmed in a house that is gone").passed
        assert newest_exam(hub(arena.ws).ledger, Channel("host", "rooms")) == (name, {names["rooms"].name: 10})


def film_another(ws: Workspace) -> None:
    """A second validated set of the domain."""
    from pipelines.synthetic.dataset import synthesise
    from pipelines.validate.gate_run import validate

    synthesise(ws, "more", world="rooms", domain="rooms", frames=60, seed=7, size=SIZE)
    assert validate(ws, resolve(ws, name_or_manifest="more")).passed


def named(ways: list[tuple[Way, str]]) -> list[object]:
    return [pytest.param(way, check, id=way.__name__) for way, check in ways]


@pytest.mark.parametrize(("way", "check"), named(WORSE))
def test_a_worse_version_does_not_enter(held_arena: Arena, way: Way, check: str) -> None:
    report = held_arena.promote(way(held_arena))
    assert check in failed(report)
    assert channel_state(hub(held_arena.ws).ledger, Channel("host", "rooms")).production == "v10"


@pytest.mark.parametrize(("way", "check"), named(UNTAUGHT))
def test_what_knows_nothing_or_knows_the_exam_does_not_enter(arena: Arena, way: Way, check: str) -> None:
    report = arena.promote(way(arena))
    assert check in failed(report), failed(report)
    assert channel_state(hub(arena.ws).ledger, Channel("host", "rooms")).production is None


def test_no_override_lets_in_what_is_in_quarantine_and_lifting_it_does(arena: Arena) -> None:
    name = held_back(arena, arena.version(0.2))
    report = arena.promote(name, override=True, reason="I know better")
    assert failed(report) == ["not-quarantined"] and not report.undecided
    quarantine(arena.ws, name, reason="it was the floor", lift=True)
    assert arena.promote(name).passed
    during = quarantine(arena.ws, name, reason="it was not")
    (channel,) = during.running
    assert (channel.channel, channel.version) == ("host/rooms", name)
    assert channel.remedy == "vortex promote VERSION --stage production --device host --domain rooms"
    assert channel_state(hub(arena.ws).ledger, Channel("host", "rooms")).production == name


def test_there_are_thirty_ways_and_more() -> None:
    assert len(WORSE) + len(UNTAUGHT) + len(LESS) >= 30


@pytest.mark.parametrize(
    ("exam", "message"),
    [
        ('exam = ["corridor"]', "the exam of rooms names 'corridor', which is a set of corridor"),
        ('exam = ["attic"]', "the exam of rooms names 'attic', which is no dataset; this workspace has: blind, corridor, rooms"),
        ('exam = ["blind"]', "the exam of rooms names blind, without a frame of split val"),
        ("exam = []", "vortex.toml: domains.rooms.exam"),
    ],
)
def test_an_exam_of_another_domain_or_an_empty_one_is_refused_by_name(arena: Arena, exam: str, message: str) -> None:
    publish(arena.ws, "corridor", domain="corridor", train=2, val=2)
    publish(arena.ws, "blind", train=2, val=0)
    with pytest.raises(VortexError, match=message.replace("(", r"\(")):
        arena.ask(exam)
        exam_sets(arena.ws, "rooms")


def test_a_measurement_by_the_command_counts_and_one_of_another_set_does_not(arena: Arena) -> None:
    name = arena.register()
    (own,) = evaluate(arena.ws, name)
    assert (own.protocol, own.series.exam, own.frames) == ("val-pooled-10m/1", True, 10)
    (training,) = evaluate(arena.ws, name, protocol=Protocol(split="train"))
    assert (training.protocol, training.series.exam) == ("train-pooled-10m/1", False)
    outside = arena.ws.root / "easy"
    shutil.copytree(find(arena.ws, "rooms").root, outside)
    (away,) = evaluate(arena.ws, name, data=str(outside / "manifest.jsonl"))
    assert (away.dataset, away.protocol, away.series.exam) == ("outside:easy", "val-pooled-10m/1+outside", False)
    version = hub(arena.ws).get(name)
    assert version.headline is not None and version.headline.rmse == own.values["rmse"]
    (summary,) = hub(arena.ws).summaries()
    assert summary.headline == version.headline


def test_sums_of_the_arena_give_the_rmse_that_was_asked_for(arena: Arena) -> None:
    errors: FrameErrors = arena.errors(arena.sets[0], 0.4, noise=0.0)
    assert np.sqrt(errors.sums[SQUARED].sum() / errors.sums[COUNT].sum()) == pytest.approx(0.4)
