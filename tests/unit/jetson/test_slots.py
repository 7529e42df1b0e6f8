"""The two slots as a state machine: every way through them, by values alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from vortex_jetson.errors import BadDocument
from vortex_jetson.update.slots import EMPTY, MOST_BARRED, Slot, Slots, dump, parse

A, B, C = "a" * 64, "b" * 64, "c" * 64
FIRST = Slots().stage("v8", A).try_out().commit()
SECOND = FIRST.clear().stage("v9", B).try_out()


def test_the_first_bundle_runs_once_it_has_done_its_task() -> None:
    assert Slots().spare == "a" and Slots().current == EMPTY
    assert Slots(a=Slot("committed", "v8", A), running="a") == FIRST


def test_what_runs_goes_on_until_the_next_has_done_its_task() -> None:
    assert SECOND.current.version == "v8" and SECOND.trial == Slot("unproven", "v9", B)
    after = SECOND.commit()
    assert after == Slots(Slot("committed", "v8", A), Slot("committed", "v9", B), "b")
    assert after.spare == "a" and after.trial is None


def test_a_bundle_that_failed_is_barred_with_its_reason_and_never_staged_again() -> None:
    after = SECOND.reject("its depth is constant")
    assert after == replace(FIRST, barred={B: "v9: its depth is constant"})
    with pytest.raises(ValueError, match="stage what is barred"):
        after.stage("v9", B)


def test_going_back_by_hand_bars_what_ran() -> None:
    after = SECOND.commit().roll_back("stops before doors")
    assert after == Slots(Slot("committed", "v8", A), EMPTY, "a", (), {B: "v9: stops before doors"})
    with pytest.raises(ValueError, match="roll back"):
        after.roll_back("again")


def test_what_ran_before_can_be_tried_again_without_fetching_it() -> None:
    both = SECOND.commit()
    again = both.try_out()
    assert again.trial == Slot("unproven", "v8", A) and again.current.version == "v9"
    assert again.commit().current.version == "v8"


def test_only_crashes_of_one_boot_count_together() -> None:
    first = SECOND.crash("boot-1").crash("boot-1")
    assert first.crashes_of("boot-1") == 2 and first.crashes_of("boot-2") == 0
    after_reboot = first.crash("boot-2")
    assert after_reboot.crashes_of("boot-2") == 1 and after_reboot.crashes_of("boot-1") == 0
    assert after_reboot.commit().crashes == ()


@pytest.mark.parametrize(
    ("slots", "move"),
    [(Slots(), "try_out"), (Slots(), "commit"), (FIRST, "commit"), (SECOND, "try_out")],
)
def test_moves_have_their_places(slots: Slots, move: str) -> None:
    with pytest.raises(ValueError, match="is no move from"):
        getattr(slots, move)()
    with pytest.raises(ValueError, match="stage is no move"):
        SECOND.stage("v10", C)


def test_every_state_is_read_as_it_was_written() -> None:
    for slots in (Slots(), FIRST, SECOND, SECOND.crash("boot"), SECOND.commit(), SECOND.reject("a reason"), FIRST.clear().stage("v9", B)):
        assert parse(dump(slots)) == slots


def test_a_long_life_does_not_grow_the_state_without_end() -> None:
    slots = FIRST
    for number in range(MOST_BARRED + 5):
        slots = slots.stage("v9", f"{number:064x}").try_out().reject("\x1b" * 1000)
    assert len(slots.barred) == MOST_BARRED and f"{MOST_BARRED + 4:064x}" in slots.barred
    assert parse(dump(slots)) == slots


@pytest.mark.parametrize("reason", ["x" * 5000, "\x1b[2J", "two\nlines", "", "\ud800"])
def test_whatever_a_reason_is_the_state_can_be_read_again(reason: str) -> None:
    for slots in (SECOND.reject(reason), SECOND.commit().roll_back(reason)):
        assert parse(dump(slots)) == slots
        assert slots.barred[B].isprintable() and slots.barred[B].startswith("v9: ") and len(slots.barred[B]) <= 200


@pytest.mark.parametrize(
    "changes",
    [
        {"running": "b"},
        {"running": "c"},
        {"format": 2},
        {"a": {"phase": "committed", "version": None, "bundle": None}},
        {"a": {"phase": "empty", "version": "v8", "bundle": A}},
        {"barred": {A: "two\nlines"}},
    ],
)
def test_a_state_that_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadDocument):
        parse(json.dumps({**json.loads(dump(FIRST)), **changes}).encode())
