"""Quarantine: what it bars, that nothing goes round it inside the registry, and that both ways of asking agree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import VortexError
from registry import quarantine
from registry.channels import Channel
from registry.declarations import Declaration
from registry.edges import DataEdge, RecipeEdge, WeightsEdge
from registry.events import reading
from registry.events.version import VersionDeclared, VersionRegistered
from registry.ledger import Ledger
from registry.lineage import weights_line
from registry.quarantine import bars_in, bars_of, bars_of_all, standing
from registry.records import DataUse, Material, NewVersion, Quarantine, Version
from registry.stages import ChannelMoved, Quarantined, StageJudgement, channel_state, record_promotion, rollback
from registry.state import VersionState

New = Callable[..., NewVersion]
CHANNEL = Channel("host", "corridor")
CONTENT = "ab" * 32
STAGES = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]


def use(name: str, digest: str) -> DataUse:
    return DataUse(name, "corridor", "corridor", digest, None, True, {"train": 8})


@pytest.fixture
def family(ledger: Ledger, make_new: New) -> Ledger:
    """v6, v7 with its weights, v8 with v7's, v9 with v6's recipe; v5 on data of its own."""
    parents = {"v5": (), "v6": (RecipeEdge("v5"),), "v7": (WeightsEdge("v6"),), "v8": (WeightsEdge("v7"),), "v9": (RecipeEdge("v6"),)}
    for name, edges in parents.items():
        data = (use("hall", CONTENT),) if name == "v6" else (use("rooms", "cd" * 32),)
        ledger.append(VersionRegistered(name, make_new(name, parents=edges, data=data), 1), actor="Ada")
    return ledger


def put(ledger: Ledger, subject: str, *contents: str, lift: bool = False) -> None:
    scope = "version" if subject.startswith("v") else "data"
    quarantine.record(ledger, scope, subject, contents=contents, lift=lift, actor="Ada <a@b>", reason="brakes late")  # type: ignore[arg-type]


def barred(ledger: Ledger) -> dict[str, list[str]]:
    return {name: [str(bar.quarantine) for bar in bars] for name, bars in bars_of_all(reading.fold(ledger.entries())).items()}


def test_a_version_bars_itself_and_what_has_its_weights_and_nothing_by_recipe(family: Ledger) -> None:
    put(family, "v6")
    assert barred(family) == {"v6": ["v6"], "v7": ["v6"], "v8": ["v6"]}
    (bar,) = bars_of(family, "v8")
    (at,) = [each.at for each in standing(family)]
    assert str(bar) == f"v6 is in quarantine since {at[:16].replace('T', ' ')} UTC (Ada: brakes late)"
    assert bars_of(family, "v9") == bars_of(family, "v5") == ()


@pytest.mark.parametrize(("subject", "contents"), [("hall", ()), ("called-otherwise", (CONTENT,)), (f"old@{CONTENT}", (CONTENT,))])
def test_data_bars_what_was_trained_on_it_under_every_name(family: Ledger, subject: str, contents: tuple[str, ...]) -> None:
    put(family, subject, *contents)
    assert list(barred(family)) == ["v6", "v7", "v8"]
    (bar,) = bars_of(family, "v7")
    assert "which v6 was trained on, is in quarantine" in str(bar)


def test_one_content_of_a_name_leaves_the_others_alone(family: Ledger) -> None:
    put(family, f"hall@{'ee' * 32}", "ee" * 32)
    assert barred(family) == {}


def test_weights_pass_through_a_declared_version_and_a_recipe_does_not(ledger: Ledger, make_new: New) -> None:
    """v3 has v2's recipe, v4 v2's weights by a declaration alone; v6 and v7 descend from them by weights, v8 by recipe."""
    parents = {"v2": (DataEdge("hall"),), "v3": (RecipeEdge("v2"),), "v4": (WeightsEdge("v2"),)}
    for name, edges in parents.items():
        ledger.append(VersionDeclared(name, Declaration(name, edges, "b1", (), "all")), actor="Ada")
    for name, edge in {"v6": WeightsEdge("v4"), "v7": WeightsEdge("v3"), "v8": RecipeEdge("v4")}.items():
        ledger.append(VersionRegistered(name, make_new(name, parents=(edge,)), 1), actor="Ada")
    for subject in ("v2", "hall"):
        put(ledger, subject)
        assert barred(ledger) == {name: [subject] for name in ("v2", "v4", "v6")}
        assert {f"v{number}" for number in range(2, 9) if bars_of(ledger, f"v{number}")} == {"v2", "v4", "v6"}
        put(ledger, subject, lift=True)


def test_what_is_lifted_bars_nothing_and_is_put_in_again(family: Ledger) -> None:
    put(family, "v6")
    with pytest.raises(VortexError, match=r"v6 is in quarantine already, since .*: brakes late"):
        put(family, "v6")
    put(family, "v6", lift=True)
    assert (standing(family), barred(family)) == ((), {})
    with pytest.raises(VortexError, match="v6 is not in quarantine; in quarantine: nothing"):
        put(family, "v6", lift=True)
    put(family, "v6")
    assert [each.subject for each in standing(family)] == ["v6"]


def test_a_promotion_that_was_judged_before_the_quarantine_is_not_recorded(family: Ledger) -> None:
    seq = channel_state(family, CHANNEL).seq
    put(family, "v6")
    before = len(family.entries())
    with pytest.raises(Quarantined, match="v7 enters no stage: v6 is in quarantine since"):
        record_promotion(family, CHANNEL, "v7", STAGES, seq, actor="Grace")
    assert (channel_state(family, CHANNEL).seq, len(family.entries())) == (0, before)
    # A refusal is recorded: it moves nothing, and the history is to have it.
    record_promotion(family, CHANNEL, "v7", [StageJudgement("candidate", False)], seq, actor="Grace")
    record_promotion(family, CHANNEL, "v9", STAGES, seq, actor="Grace")
    assert channel_state(family, CHANNEL).production == "v9"
    with pytest.raises(ChannelMoved):
        record_promotion(family, CHANNEL, "v5", STAGES, seq, actor="Grace")


def test_a_rollback_does_not_go_back_to_what_is_barred_and_names_what_it_can(family: Ledger) -> None:
    for name, seq in (("v5", 0), ("v7", 3), ("v9", 6)):
        record_promotion(family, CHANNEL, name, STAGES, seq, actor="Grace")
    put(family, "v6")
    for to in (None, "v7"):
        with pytest.raises(Quarantined, match="host/corridor does not go back to v7: v6 is in quarantine") as refused:
            rollback(family, CHANNEL, to=to, actor="Grace")
        assert refused.value.hint.startswith("go back to another one with --to: v5; or lift it with: vortex quarantine version:v6 --lift")
    assert channel_state(family, CHANNEL).production == "v9"
    assert rollback(family, CHANNEL, to="v5", actor="Grace").version == "v5"


FAMILIES = st.lists(
    st.tuples(st.sets(st.integers(0, 9), max_size=3), st.sets(st.sampled_from("pqr"), max_size=2)), min_size=10, max_size=10
)


@given(FAMILIES, st.sets(st.sampled_from(["v0", "v3", "v7", "p", "q", "r"]), max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_asking_one_and_asking_all_agree(make_new: New, drawn: list[tuple[set[int], set[str]]], subjects: set[str]) -> None:
    state = reading.fold([])
    versions: dict[str, Version] = {}
    for number, (weights, names) in enumerate(drawn):
        edges = (*(WeightsEdge(f"v{parent}") for parent in sorted(weights)), *(DataEdge(name) for name in sorted(names)))
        new = make_new(str(number), parents=edges, data=tuple(use(name, name * 64) for name in sorted(names)))
        versions[f"v{number}"] = Version(**vars(new), name=f"v{number}", number=number)
        state.versions[f"v{number}"] = _folded(versions[f"v{number}"], new)
    for subject in sorted(subjects):
        scope = "version" if subject[0] == "v" else "data"
        state.quarantines[scope, subject] = Quarantine(scope, subject, "why", "Ada", "2026-01-01")  # type: ignore[arg-type]
    every = bars_of_all(state)
    for name, version in versions.items():
        one = bars_in(weights_line(version, versions.get), state.quarantines.values())
        assert {bar.quarantine for bar in one} == {bar.quarantine for bar in every.get(name, ())}


def _folded(version: Version, new: NewVersion) -> VersionState:
    material = Material(new.data)
    return VersionState(
        version.name,
        version.number,
        "",
        None,
        version.parents,
        "corridor",
        (48, 64),
        None,
        "2026-01-01",
        "Ada",
        "",
        None,
        material=material,
    )
