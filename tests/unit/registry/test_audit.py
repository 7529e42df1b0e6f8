"""The audit: what follows from the events is compared with what stands beside them, both ways, and put right where it can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import VortexError
from registry import audit, stages
from registry.channels import Channel
from registry.database import Unguarded
from registry.events import reading
from registry.events.channel import ChannelPromoted, ChannelRolledBack
from registry.events.version import VersionRegistered
from registry.ledger import Contradiction, Ledger
from registry.records import NewVersion
from registry.stages import StageJudgement, record_promotion, rollback
from registry.versions import append_registration

ROOMS = Channel("host", "rooms")
Edit = Callable[..., None]


@pytest.fixture
def filled(ledger: Ledger, tmp_path: Path, make_new: Callable[..., NewVersion]) -> Ledger:
    """A ledger, its head noted, with v6, v10 and v11; v6, then v11, went into production. Nine events."""
    noting = Ledger(ledger.url, head_file=tmp_path / "ledger.head")
    with noting.transaction() as tx:
        for run_id in ("a" * 32, "b" * 32, "c" * 32):
            append_registration(tx, make_new(run_id), 1, actor="Ada")
    for number, version in enumerate(("v6", "v11")):
        passed = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
        record_promotion(noting, ROOMS, version, passed, 3 * number, actor="Grace")
    return noting


def found(ledger: Ledger) -> list[tuple[str, str]]:
    return [(fault.area, fault.found) for fault in audit.ledger_faults(ledger)[1]]


def test_a_ledger_that_nobody_touched_has_no_faults(filled: Ledger) -> None:
    head, faults = audit.ledger_faults(filled)
    assert (head, faults) == (filled.noted(), [])
    assert head.seq == 9


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM claims WHERE scope = 'version' AND number = 11", "the claim of event 3 is missing: the name v11 is free"),
        (
            "INSERT INTO claims VALUES ('version', 99999, 1)",
            "the name v99999 is taken, but the event that took it is missing: event 1 did not",
        ),
        (
            "UPDATE claims SET event = 1 WHERE scope = 'version' AND number = 11",
            "the claim of event 3 is missing: event 1 has the name v11",
        ),
        (f"DELETE FROM claims WHERE scope = 'run {'b' * 32}'", f"the claim of event 2 is missing: run {'b' * 32} is free"),
        (
            "DELETE FROM claims WHERE number = 6 AND scope = 'channel host/rooms'",
            "the claim of event 9 is missing: move 6 of channel host/rooms is free",
        ),
    ],
)
def test_claims_are_compared_with_the_events_both_ways_and_put_right(filled: Ledger, statement: str, words: str, edit: Edit) -> None:
    before = filled.claims()
    edit(filled, statement)
    assert found(filled) == [("claims", words)]
    audit.repair(filled)
    assert found(filled) == []
    assert filled.claims() == before


def test_missing_triggers_are_named_and_put_back(filled: Ledger, edit: Edit) -> None:
    edit(filled, triggers=False)
    ((area, words),) = found(filled)
    assert area == "triggers"
    for name in ("events_update", "events_delete", "claims_update", "claims_delete", "events_order", "claims_once"):
        assert name in words
    with pytest.raises(Unguarded):
        filled.entries()
    audit.repair(filled)
    assert found(filled) == []
    with pytest.raises(VortexError, match="append-only"):
        execute(filled, "DELETE FROM claims")


def execute(ledger: Ledger, statement: str) -> None:
    from registry import database

    with database.explained(ledger.url):
        engine = database.engine(ledger.url, 5)
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()


def test_a_broken_chain_is_all_that_is_said_and_is_not_repaired(filled: Ledger, edit: Edit) -> None:
    edit(filled, "UPDATE events SET actor = 'Eve' WHERE seq = 2", "DELETE FROM claims")
    ((area, words),) = found(filled)
    assert (area, "the chain breaks at event 2" in words) == ("chain", True)
    with pytest.raises(VortexError, match="chain breaks at event 2"):
        audit.repair(filled)
    assert filled.claims() == {}


@pytest.mark.parametrize("event_type", [ChannelPromoted, ChannelRolledBack])
def test_a_move_out_of_order_is_refused_when_folding_and_named(filled: Ledger, event_type: type[ChannelPromoted]) -> None:
    filled.append(event_type(ROOMS, "v10", "production", 99, "v11"), actor="Eve")
    with pytest.raises(Contradiction, match="the chain breaks at event 10: it is move 99 of channel host/rooms, which is at move 6"):
        stages.channel_state(filled, ROOMS)
    assert [area for area, _ in found(filled)] == ["events"]
    with pytest.raises(Contradiction):
        rollback(filled, ROOMS, actor="Grace")


def test_a_second_registration_of_a_name_is_refused_when_folding_and_named(
    filled: Ledger, make_new: Callable[..., NewVersion], edit: Edit
) -> None:
    edit(filled, "DELETE FROM claims WHERE scope = 'version' AND number = 11")
    filled.append(VersionRegistered("v11", make_new("d" * 32), 4), actor="Eve")
    words = "the chain breaks at event 10: it registers v11, which an earlier event has registered"
    with pytest.raises(Contradiction, match=words), filled.understood():
        reading.fold(filled.entries())
    assert ("events", words) in found(filled)
    assert any("event 10: it takes the name v11, which event 3 has taken" in text for _, text in found(filled))


def test_a_stage_held_by_a_version_that_nobody_registered_is_named(filled: Ledger) -> None:
    filled.append(ChannelPromoted(Channel("host", "attic"), "v77", "production", 1, None), actor="Eve")
    assert found(filled) == [("events", "channel host/attic has v77 in production, which no event registers")]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM claims WHERE scope = 'version' AND number = 11",
        "INSERT INTO claims VALUES ('version', 99999, 1)",
        "UPDATE claims SET event = 1 WHERE scope = 'version' AND number = 11",
    ],
)
def test_no_name_is_given_while_claims_and_events_disagree(
    filled: Ledger, statement: str, make_new: Callable[..., NewVersion], edit: Edit
) -> None:
    edit(filled, statement)
    new = make_new("d" * 32)
    with pytest.raises(Contradiction, match="the numbers that are taken are not those"), filled.transaction() as tx:
        append_registration(tx, new, 4, actor="Ada")
    audit.repair(filled)
    with filled.transaction() as tx:
        assert append_registration(tx, new, 4, actor="Ada") == "v12"


def test_the_audit_is_the_same_on_an_event_that_it_cannot_read(filled: Ledger) -> None:
    class Odd(ChannelPromoted):
        def head(self) -> dict[str, Any]:
            return {"version": "v10"}

    filled.append(Odd(ROOMS, "v10", "production", 7, "v11"), actor="Eve")
    ((area, words),) = found(filled)
    assert (area, words) == ("events", "ledger event 10 is a 'channel.promoted' that lacks what this vortex expects (KeyError: 'seq')")
