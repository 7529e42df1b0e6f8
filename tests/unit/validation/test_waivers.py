"""A waiver has a reason, an owner and an end; anything else is refused, and the gravest failures nobody can waive."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from core.errors import VortexError
from validation.checks import Check
from validation.questions import names
from validation.waivers import NEVER, apply, load_waivers

TODAY = datetime.date(2026, 3, 1)
GOOD = """
- dataset: rooms
  check: depth-valid
  reason: the stereo camera faces blank walls
  owner: ada
  expires: 2026-06-30
"""
FAILED = Check("depth-valid", "more", "less", False, ("a",), ("10 %",))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "waivers.yaml"
    path.write_text(text)
    return path


def test_a_waiver_marks_its_failure_and_nothing_else(tmp_path: Path) -> None:
    waivers = load_waivers(written(tmp_path, GOOD), names(), TODAY)
    others = (Check("depth-median", "", "", False), Check("exposure", "", "", True))
    checks, told = apply((FAILED, *others), waivers, "rooms", TODAY)
    assert checks[0].ok and not checks[0].passed
    assert checks[0].waiver == "the stereo camera faces blank walls (ada, until 2026-06-30)"
    assert checks[1:] == others and not checks[1].ok
    assert [one.state for one in told] == ["used"]
    assert apply((FAILED,), waivers, "kitchen", TODAY) == ((FAILED,), ())


def test_the_last_day_counts_and_the_day_after_does_not(tmp_path: Path) -> None:
    waivers = load_waivers(written(tmp_path, GOOD), names(), TODAY)
    last = datetime.date(2026, 6, 30)
    assert apply((FAILED,), waivers, "rooms", last)[0][0].ok
    checks, told = apply((FAILED,), waivers, "rooms", last + datetime.timedelta(1))
    assert not checks[0].ok and told[0].state == "expired"


def test_a_waiver_that_nothing_needs_is_shown_as_such(tmp_path: Path) -> None:
    _, told = apply((Check("depth-valid", "", "", True),), load_waivers(written(tmp_path, GOOD), names(), TODAY), "rooms", TODAY)
    assert told[0].state == "unused"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]"])
def test_no_waivers_are_none(tmp_path: Path, text: str) -> None:
    assert load_waivers(written(tmp_path, text), names(), TODAY) == ()
    assert load_waivers(tmp_path / "absent.yaml", names(), TODAY) == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("depth-valid", "depth-nice", "there is no check 'depth-nice'"),
        ("depth-valid", "units-metric", "cannot be waived: relative depth"),
        ("depth-valid", "teacher-to-sensor", "cannot be waived"),
        ("2026-06-30", "2036-06-30", "within 366 days"),
        ("2026-06-30", "20260630", "a day as YYYY-MM-DD"),
        ("2026-06-30", "soon", "Invalid isoformat"),
        ("the stereo camera faces blank walls", "why not", "at least 10 characters"),
        ("  owner: ada\n", "", "owner: Field required"),
        ("owner: ada", "owner: ada\n  approved: yes", "approved: Extra inputs"),
        ("owner: ada", "owner: ada\n  owner: bob", "owner appears twice"),
        ("- dataset", "waivers:\n- dataset", "found a dict"),
        ("dataset: rooms", "dataset: [rooms", "not readable as YAML"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    with pytest.raises(VortexError) as caught:
        load_waivers(written(tmp_path, GOOD.replace(old, new, 1)), names(), TODAY)
    assert says in " ".join((caught.value.message, *caught.value.details)) and caught.value.hint


def test_every_fault_is_listed_and_one_failure_is_waived_once(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="2 faults") as caught:
        load_waivers(written(tmp_path, GOOD + GOOD + GOOD.replace("depth-valid", "nothing")), names(), TODAY)
    assert "waiver 2" in caught.value.details[0] and "waiver 3" in caught.value.details[1]


def test_what_can_never_be_waived_exists() -> None:
    assert set(NEVER) <= set(names())
