"""Channels: one winner, refusals without effect, and a way back."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from multiprocessing.queues import Queue
from typing import Self

import pytest

from core.errors import VortexError
from pipelines.hub.history import history, moment
from registry.channels import Channel
from registry.events.channel import ChannelRolledBack
from registry.ledger import Contradiction, Ledger
from registry.records import NewVersion
from registry.stages import ChannelMoved, StageJudgement, channel_state, newest_exam, production_judgement, record_promotion, rollback
from registry.versions import append_registration

CHANNEL = Channel("host", "corridor")
LADDER = ("candidate", "staging", "production")


@pytest.fixture
def filled(ledger: Ledger, make_new: Callable[..., NewVersion]) -> Ledger:
    """A ledger with v10…v13."""
    with ledger.transaction() as tx:
        for number in range(4):
            append_registration(tx, make_new(f"{number:032x}", recipe=None), number, actor="Ada")
    return ledger


def promote(ledger: Ledger, version: str, upto: str = "production", seq: int | None = None, refuse: str | None = None) -> None:
    stages = [StageJudgement(stage, stage != refuse, ({"name": "rmse"},)) for stage in LADDER[: LADDER.index(upto) + 1]]
    expected = channel_state(ledger, CHANNEL).seq if seq is None else seq
    record_promotion(ledger, CHANNEL, version, stages, expected, actor="Grace", reason="night run", commit="abc")


def test_nothing_is_in_a_channel_at_first(filled: Ledger) -> None:
    state = channel_state(filled, CHANNEL)
    assert (state.seq, state.production, dict(state.current)) == (0, None, {})
    assert list(history(filled, device=CHANNEL.device)) == []


def test_a_promotion_records_each_stage_and_moves_the_channel(filled: Ledger) -> None:
    promote(filled, "v10")
    state = channel_state(filled, CHANNEL)
    assert state.seq == 3
    assert dict(state.current) == dict.fromkeys(LADDER, "v10")
    events = list(history(filled, device=CHANNEL.device, domain=CHANNEL.domain))
    assert [event.head["stage"] for event in events] == list(LADDER)
    assert {(event.actor, event.reason, event.commit) for event in events} == {("Grace", "night run", "abc")}
    assert events[0].body == {"checks": [{"name": "rmse"}]}


def test_what_held_a_channel_at_a_moment_is_told_to_the_millisecond(filled: Ledger) -> None:
    promote(filled, "v10")
    time.sleep(0.005)
    promote(filled, "v11", refuse="production")
    time.sleep(0.005)
    promote(filled, "v12")
    time.sleep(0.005)
    rollback(filled, CHANNEL, actor="Ada", to="v10")
    moves = [(datetime.fromisoformat(entry.at), entry.head) for entry in history(filled, device="host") if entry.kind != "channel.refused"]

    def held(at: datetime, **which: str) -> dict[str, str]:
        return {holder.stage: holder.version for holder in moment(filled, at, **which).channels}

    current: dict[str, str] = {}
    for number, (at, head) in enumerate(moves):
        earlier = dict(current)
        current[head["stage"]] = head["version"]
        if number + 1 == len(moves) or moves[number + 1][0] > at:
            assert held(at) == current
        if number == 0 or moves[number - 1][0] < at:
            assert held(at - timedelta(milliseconds=1)) == earlier
    now = moves[-1][0] + timedelta(days=1)
    assert held(now) == {"candidate": "v12", "staging": "v12", "production": "v10"}
    assert held(now, version="v12") == {"candidate": "v12", "staging": "v12"} and held(now, domain="attic") == held(now, device="x") == {}
    production = next(holder for holder in moment(filled, now).channels if holder.stage == "production")
    assert (production.channel, datetime.fromisoformat(production.since), production.actor) == (str(CHANNEL), moves[-1][0], "Ada")


def test_a_clock_that_was_put_back_between_two_moves_is_named(filled: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(filled, "v10")

    class Back(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2020, 1, 1, tzinfo=tz)

    asked = datetime(2021, 1, 1, tzinfo=UTC)
    assert moment(filled, asked).channels == [] and moment(filled, asked).dated_later == []
    monkeypatch.setattr("registry.ledger.datetime", Back)
    promote(filled, "v11", "candidate")
    then = moment(filled, asked)
    assert {holder.stage: holder.version for holder in then.channels} == {"candidate": "v11", "staging": "v10", "production": "v10"}
    assert then.dated_later == [5, 6, 7]


def test_by_which_policies_production_was_judged_is_kept(filled: Ledger) -> None:
    promote(filled, "v10", "staging")
    judged = StageJudgement("production", True, ({"name": "no-leak"},), {"hall@abc": 12}, "f00d" * 16)
    record_promotion(filled, CHANNEL, "v10", [judged], 2, actor="Grace")
    event = production_judgement(filled, CHANNEL, "v10")
    assert event is not None and (event.policies, event.exam, event.checks) == ("f00d" * 16, {"hall@abc": 12}, ({"name": "no-leak"},))
    assert production_judgement(filled, CHANNEL, "v11") is None


def test_a_refusal_is_recorded_and_moves_nothing(filled: Ledger) -> None:
    promote(filled, "v10")
    promote(filled, "v11", refuse="staging")
    state = channel_state(filled, CHANNEL)
    assert dict(state.current) == {"candidate": "v11", "staging": "v10", "production": "v10"}
    assert (state.stage_of("v11"), state.stage_of("v10"), state.stage_of("v12")) == ("candidate", "production", None)
    kinds = [event.kind for event in history(filled, device=CHANNEL.device, domain=CHANNEL.domain)][3:]
    assert kinds == ["channel.promoted", "channel.refused"], "nothing is recorded after the stage that was refused"
    promote(filled, "v12", upto="candidate", refuse="candidate")
    assert channel_state(filled, CHANNEL) == state


def test_a_judgement_of_an_older_state_is_not_recorded(filled: Ledger) -> None:
    promote(filled, "v10", "candidate")
    with pytest.raises(ChannelMoved, match="host/corridor moved while v11 was judged"):
        promote(filled, "v11", seq=0)
    assert [event.head["version"] for event in history(filled, device=CHANNEL.device)] == ["v10"]


def test_rollback_goes_back_through_production(filled: Ledger) -> None:
    for version in ("v10", "v11", "v11", "v12"):
        promote(filled, version)
    assert channel_state(filled, CHANNEL).earlier == ("v10", "v11"), "the incumbent promoted again is not a step of its own"
    event = rollback(filled, CHANNEL, actor="Grace", reason="glass door")
    assert (event.version, event.replaced) == ("v11", "v12")
    assert rollback(filled, CHANNEL, actor="Grace").version == "v10"
    with pytest.raises(VortexError, match="nothing to roll back to: v10 is its first"):
        rollback(filled, CHANNEL, actor="Grace")
    promote(filled, "v13")
    assert rollback(filled, CHANNEL, actor="Grace").version == "v10"


def test_rollback_goes_back_to_what_is_named(filled: Ledger) -> None:
    for version in ("v10", "v11", "v10", "v12", "v13"):
        promote(filled, version)
    assert rollback(filled, CHANNEL, to="v10", actor="Grace").replaced == "v13"
    state = channel_state(filled, CHANNEL)
    assert (state.production, state.earlier, state.seq) == ("v10", ("v10", "v11"), 16), "the last time that it was in production counts"
    with pytest.raises(VortexError, match=r"v12 was not in production on host/corridor before v10; what it can go back to: v11, v10$"):
        rollback(filled, CHANNEL, to="v12", actor="Grace")
    assert rollback(filled, CHANNEL, actor="Grace").version == "v11"


def test_a_move_back_to_what_was_not_there_is_no_history(filled: Ledger) -> None:
    promote(filled, "v10")
    filled.append(ChannelRolledBack(CHANNEL, "v11", "production", 4, "v10"), actor="eve")
    with pytest.raises(
        Contradiction, match=r"chain breaks at event 8: it takes channel host/corridor back to v11, which was not in production"
    ):
        channel_state(filled, CHANNEL)


def test_rollback_refuses_an_empty_or_moved_channel(filled: Ledger) -> None:
    with pytest.raises(VortexError, match="nothing is in production"):
        rollback(filled, CHANNEL, actor="Grace")
    promote(filled, "v10")
    promote(filled, "v11")
    with pytest.raises(ChannelMoved):
        rollback(filled, CHANNEL, actor="Grace", expected_seq=3)
    assert channel_state(filled, CHANNEL).production == "v11"


def test_channels_do_not_touch_each_other(filled: Ledger) -> None:
    promote(filled, "v10")
    other = Channel("host", "rooms")
    assert channel_state(filled, other).seq == 0
    record_promotion(filled, other, "v11", [StageJudgement("candidate", True)], 0, actor="Grace")
    assert channel_state(filled, CHANNEL).stage_of("v11") is None


@pytest.mark.parametrize("stages", [[], ["staging", "candidate"], ["candidate", "candidate"], ["live"]])
def test_stages_must_be_on_the_ladder(filled: Ledger, stages: list[str]) -> None:
    with pytest.raises(VortexError, match="cannot be recorded"):
        record_promotion(filled, CHANNEL, "v10", [StageJudgement(stage, True) for stage in stages], 0, actor="Grace")


@pytest.mark.parametrize("version", ["v99", "v", "latest", "v1.5"])
def test_an_unknown_version_is_not_promoted(filled: Ledger, version: str) -> None:
    with pytest.raises(VortexError, match="is not registered"):
        promote(filled, version)
    assert list(history(filled, device=CHANNEL.device)) == []


def test_aliases_are_valid_and_never_shared() -> None:
    from mlflow.utils.validation import _validate_model_alias_name, _validate_model_alias_name_reserved

    channels = [Channel("a", "b-for-c"), Channel("a-for-b", "c"), Channel("a_b", "c"), Channel("a", "b_c"), Channel("v9", "latest")]
    aliases = [channel.alias(stage) for channel in channels for stage in LADDER]
    assert len(set(aliases)) == len(aliases)
    for alias in aliases:
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
    assert Channel.parse("host/corridor") == CHANNEL
    with pytest.raises(VortexError, match="DEVICE/DOMAIN"):
        Channel.parse("corridor")


def race(url: str, version: str, seq: int, gate: object, answers: Queue[str]) -> None:
    gate.wait()  # type: ignore[attr-defined]
    try:
        promote(Ledger(url), version, "candidate", seq)
        answers.put("won")
    except ChannelMoved:
        answers.put("moved")


def test_of_racing_promoters_exactly_one_wins(filled: Ledger) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(5):
        gate, answers = context.Barrier(4), context.Queue()
        crowd = [context.Process(target=race, args=(filled.url, f"v{10 + racer}", round_, gate, answers)) for racer in range(4)]
        for process in crowd:
            process.start()
        assert sorted(answers.get(timeout=60) for _ in crowd) == ["moved", "moved", "moved", "won"]
        for process in crowd:
            process.join()
        assert channel_state(filled, CHANNEL).seq == round_ + 1
    filled.verify()


def test_the_newest_exam_is_that_of_the_last_promotion_to_production_that_recorded_one(filled: Ledger) -> None:
    def judged(version: str, exam: dict[str, int], *, passed: bool = True, stage: str = "production") -> None:
        record_promotion(
            filled, CHANNEL, version, [StageJudgement(stage, passed, exam=exam)], channel_state(filled, CHANNEL).seq, actor="Grace"
        )

    assert newest_exam(filled, CHANNEL) == ("", {})
    judged("v10", {"hall@abc": 12, "lobby@123": 9})
    assert newest_exam(filled, CHANNEL) == ("v10", {"hall@abc": 12, "lobby@123": 9})
    judged("v11", {"hall@abc": 3}, passed=False)
    judged("v12", {"hall@abc": 3}, stage="staging")
    judged("v10", {})  # to more devices: nothing is measured
    assert newest_exam(filled, CHANNEL) == ("v10", {"hall@abc": 12, "lobby@123": 9})
    judged("v12", {"hall@abc": 14})
    rollback(filled, CHANNEL, actor="Ada", to="v10")
    assert newest_exam(filled, CHANNEL) == ("v12", {"hall@abc": 14})
    (last,) = [event.body for event in history(filled, device="host") if event.seq == 9]
    assert last == {"checks": [], "exam": [{"set": "hall@abc", "frames": 14}]}
