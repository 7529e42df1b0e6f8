"""The lineage's table "which checkpoint when", derived: V5 in general, V9 in the corridor, V6 to fine-tune from."""

from __future__ import annotations

import pytest

from core.errors import VortexError
from pipelines.compare.recommend import recommend
from pipelines.hub.open import hub
from pipelines.workspace import FILE, Workspace, load
from registry.channels import Channel
from registry.edges import WeightsEdge
from registry.events.version import VersionMeasured
from registry.quarantine import record
from registry.stages import StageJudgement, record_promotion, rollback
from tests.unit.pipelines.compare.lineage_registry import FEMTO, LILOC, NYU, Published, measurement, register

NYU_DATA = [("nyu", "rooms", 1159)]


@pytest.fixture
def domains(workspace: Workspace) -> Workspace:
    """A workspace with the domains of the lineage; the corridor's exam is LILocBench."""
    for domain, kind in (("rooms", "room"), ("corridor", "corridor")):
        workspace.add_domain(domain, kind)
    path = workspace.root / FILE
    path.write_text(path.read_text().replace("[domains.corridor]", '[domains.corridor]\nexam = ["lilocbench"]'))
    return load(workspace.root)


def test_the_table_which_checkpoint_when_is_derived(domains: Workspace) -> None:
    register(domains)
    general, corridor = recommend(domains, "rooms"), recommend(domains, "corridor")
    base = recommend(domains, "corridor", "finetune")
    assert [(answer.version, answer.certain) for answer in (general, corridor, base)] == [("v5", True), ("v9", True), ("v6", True)]
    # V6 has the better depth and gave up a quarter of the classes; V5 gives up a tenth of the depth.
    given_up = {candidate.version: candidate.gives_up for candidate in general.candidates}
    assert list(given_up)[:3] == ["v5", "v8", "v6"]
    assert given_up["v5"] == pytest.approx(0.572 / 0.519 - 1) and given_up["v6"] == pytest.approx(1 - 0.485 / 0.637)
    words = {rivalry.version: rivalry.word for rivalry in general.rivals}
    assert words["v6"] == "trade" and words["v8"] == "better"
    assert corridor.excluded["v4"] == "no exam figures on lilocbench"
    assert "v9 forgot rooms by rmse +199.2 % against v6" in corridor.reasons
    assert set(base.excluded) == {"v7", "v8", "v9"} and base.excluded["v7"].startswith("forgot rooms by rmse +129.9 % against v5")
    assert "v6 was trained on 19,159 frames of 3 dataset(s) of 2 domain(s)" in base.reasons
    assert any("lilocbench: from v6 v9 has 0.3820 m; from v5 v7 has 0.4450 m" in reason for reason in base.reasons)


def test_all_sets_of_a_domain_judge_where_none_are_named(domains: Workspace) -> None:
    path = domains.root / FILE
    path.write_text(path.read_text().replace('exam = ["lilocbench"]', ""))
    ws = load(domains.root)
    register(ws)
    answer = recommend(ws, "corridor")
    assert answer.version == "v9" and [criterion.series.dataset for criterion in answer.criteria] == ["corridor_eval", "lilocbench"]
    assert answer.excluded["v4"] == "no exam figures on lilocbench"


def test_too_little_to_say_is_an_answer(domains: Workspace) -> None:
    register(domains, [Published("v5", None, NYU_DATA, {NYU: (0.520, None)}), Published("v6", None, NYU_DATA, {NYU: (0.5195, None)})])
    channel = Channel("host", "rooms")
    passed = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
    record_promotion(hub(domains).ledger, channel, "v5", passed, 0, actor="test")
    answer = recommend(domains, "rooms", margin=0.001)
    assert (answer.version, answer.certain, answer.tied) == ("v6", False, ("v5",))
    assert answer.sentence == "too little to say between v6 and v5 for rooms; v6 has the better figures"
    assert "v5 is in production on host/rooms, and nothing says that it is worse" in answer.reasons
    equivalent = recommend(domains, "rooms", margin=0.05)
    assert equivalent.certain and equivalent.rivals[0].word == "equivalent"


def test_of_bases_that_are_alike_the_one_with_more_data_is_taken(domains: Workspace) -> None:
    wide = [*NYU_DATA, ("sunrgbd", "rooms", 10000)]
    register(domains, [Published("v5", None, wide, {NYU: (0.520, None)}), Published("v6", None, NYU_DATA, {NYU: (0.5195, None)})])
    answer = recommend(domains, "corridor", "finetune", margin=0.05)
    assert (answer.version, answer.certain) == ("v5", True)
    assert "v5 was trained on 11,159 frames of 2 dataset(s) of 1 domain(s)" in answer.reasons


def test_who_is_no_candidate_is_named_with_the_reason(domains: Workspace) -> None:
    register(domains)
    register(domains, [Published("v10", WeightsEdge("v9"), [("doubtful", "corridor", 90)], {LILOC: (0.1, None)})], validated=False)
    register(domains, [Published("v11", WeightsEdge("v10"), [], {LILOC: (0.1, None)})])
    register(domains, [Published("v12", None, [], {FEMTO: (0.1, None)})])
    other = measurement(domains, 12, LILOC, 0.1, digest="another-state")
    hub(domains).ledger.append(VersionMeasured("v12", other), actor="test")
    answer = recommend(domains, "corridor")
    assert answer.version == "v9"
    assert (
        answer.excluded["v10"]
        == answer.excluded["v11"]
        == "data that is not proven to have passed: v10 was trained on doubtful (allowed unvalidated)"
    )
    assert answer.excluded["v12"].startswith("measured otherwise on lilocbench: data differs")


def test_what_is_in_quarantine_is_no_candidate_and_no_base_and_neither_are_its_children(domains: Workspace) -> None:
    register(domains)
    record(hub(domains).ledger, "version", "v6", actor="Ada", reason="labels of the wrong building")
    corridor, base = recommend(domains, "corridor"), recommend(domains, "corridor", "finetune")
    assert (corridor.version, base.version) == ("v7", "v5")
    for answer, names in ((corridor, ("v6", "v9")), (base, ("v6", "v9"))):
        assert all("v6 is in quarantine" in answer.excluded[name] and "wrong building" in answer.excluded[name] for name in names)


def test_what_a_rollback_took_out_is_no_candidate_until_it_is_back(domains: Workspace) -> None:
    register(domains)
    ledger, channel = hub(domains).ledger, Channel("orin", "corridor")
    passed = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
    record_promotion(ledger, channel, "v8", passed, 0, actor="test")
    record_promotion(ledger, channel, "v9", passed, 3, actor="test")
    rollback(ledger, channel, actor="test", reason="its depth is constant")
    answer = recommend(domains, "corridor")
    assert answer.version != "v9" and answer.excluded["v9"] == "a rollback took it out of orin/corridor; vortex history v9 says why"
    assert "v9" not in recommend(domains, "rooms").excluded, "it is about that domain alone"
    record_promotion(ledger, channel, "v9", passed[2:], 7, actor="test")
    assert recommend(domains, "corridor").version == "v9"


def test_without_an_exam_there_is_no_answer(domains: Workspace) -> None:
    register(domains, [Published("v5", None, NYU_DATA, {NYU: (0.5, None)})])
    with pytest.raises(VortexError, match="no version was measured in an exam of corridor"):
        recommend(domains, "corridor")
    with pytest.raises(VortexError, match="unknown domain 'garden'"):
        recommend(domains, "garden")
    register(domains, [Published("v6", None, [("refused", "rooms", 9)], {LILOC: (0.5, None)})], validated=False)
    with pytest.raises(VortexError, match="no version can be recommended for corridor") as caught:
        recommend(domains, "corridor")
    assert "v6: data that is not proven to have passed: v6 was trained on refused (allowed unvalidated)" in caught.value.details
    assert caught.value.hint.endswith("; train one on data that passed: vortex validate, vortex train")


def test_where_quarantine_leaves_no_candidate_the_way_out_is_named(domains: Workspace) -> None:
    register(domains, [Published("v6", None, [("lilocbench", "corridor", 9)], {LILOC: (0.5, None)})])
    record(hub(domains).ledger, "version", "v6", actor="Ada", reason="labels of the wrong building")
    with pytest.raises(VortexError, match="no version can be recommended for corridor") as caught:
        recommend(domains, "corridor")
    assert caught.value.hint == (
        "measure with: vortex evaluate VERSION --domain corridor; what stands in quarantine, and how it is lifted: vortex quarantine"
    )
