"""Faults of the corpus that `make bench-gate` judges, several in one set: each is caught by the check that is named for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.corpus.faults import DRIFT, FAULTS
from benchmarks.corpus.honest import HONEST
from benchmarks.corpus.manifests import MANIFEST, Fault
from benchmarks.corpus.sets import Delivery, judge, reference, rendered
from validation.profile import Profile
from validation.questions import names


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    return rendered(tmp_path_factory.mktemp("corpus") / "rooms", "rooms")


@pytest.fixture(scope="module")
def known(base: Delivery) -> Profile:
    return reference(base)


def named(*wanted: str) -> list[Fault]:
    found = [fault for fault in FAULTS if fault.name in wanted]
    assert len(found) == len(wanted)
    return found


def test_the_corpus_is_as_large_as_promised_and_names_checks_that_exist() -> None:
    assert len(FAULTS) >= 40 and len(HONEST) >= 10
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert {fault.check for fault in FAULTS} <= {"manifest", *names()}


@pytest.mark.parametrize("fault", MANIFEST, ids=lambda fault: fault.name)
def test_malformed_manifests_are_refused(base: Delivery, fault: Fault) -> None:
    copy = Delivery(base.root, list(base.rows), base.kind)
    fault.spoil(copy)
    found = judge(copy)
    assert list(found) == ["manifest"] and fault.says in found["manifest"]


@pytest.mark.parametrize(
    "faults",
    [
        named("intrinsics of twice the resolution", "bytes in the wrong order", "a map of 13 classes", "a stream that hangs"),
        named("a second lens under one camera's name", "a teacher of inverse depth", "floor and wall swapped", "a smeared lens"),
        named("depth mirrored", "negative depth", "walls labelled as people", "a training picture in val, re-encoded"),
        named("ToF and reference swapped", "one labelled frame in 24", "a sequence that gives nothing", "a black picture"),
    ],
    ids=lambda faults: ", ".join(fault.check for fault in faults),
)
def test_faults_are_caught_by_name(base: Delivery, tmp_path: Path, faults: list[Fault]) -> None:
    copy = base.copy(tmp_path / "set")
    for fault in faults:
        fault.spoil(copy)
    assert {fault.check for fault in faults} <= set(judge(copy))


def test_drift_is_caught_and_other_rooms_are_none(base: Delivery, known: Profile, tmp_path: Path) -> None:
    copy = base.copy(tmp_path / "set")
    for fault in DRIFT:
        fault.spoil(copy)
    found = judge(copy, known)
    assert {fault.check for fault in DRIFT} <= set(found)
    shutil.rmtree(copy.root)
    assert judge(rendered(tmp_path / "other", "rooms", 1), known) == {}


def test_a_parked_robot_is_no_leak(tmp_path: Path) -> None:
    [parked] = [honest for honest in HONEST if honest.name == "parked at both ends"]
    made = rendered(tmp_path / "corridor", "corridor")
    parked.shape(made)
    assert judge(made) == {}
