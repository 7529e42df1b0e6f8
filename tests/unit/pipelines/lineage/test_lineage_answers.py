"""`vortex lineage` and `vortex quarantine` as they are asked: from versions, datasets, teachers, frames and devices, in every form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from core.errors import UsageError, VortexError
from pipelines.compare.recommend import recommend
from pipelines.data.datasets import resolve
from pipelines.doctor import _quarantine
from pipelines.hub.open import hub
from pipelines.lineage.folding import SHOWN, fold
from pipelines.lineage.picture import lineage_svg, mermaid
from pipelines.train.plan.gather import _quarantine_remarks
from pipelines.workspace import Workspace, load
from registry.channels import Channel
from registry.edges import DataEdge, Edge, RecipeEdge, TeacherEdge, WeightsEdge
from registry.events.channel import ChannelPromoted
from registry.events.version import VersionMeasured
from registry.graph import Graph, Link, Node
from registry.records import Artifact, DataUse, Metrics, NewVersion
from registry.versions import append_registration
from tests.unit.pipelines.training_set import publish
from vortex_cli.app import app

pytestmark = pytest.mark.usefixtures("others_garbage")

OLD, HALL = "ab" * 32, "ef" * 32
CHANNEL = Channel("host", "rooms")


def use(name: str, digest: str, hash_: str) -> DataUse:
    return DataUse(name, "rooms", "room", digest, hash_, True, {"train": 8})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """v6 on rooms as it is and on a hall that is gone, v9 with its weights, v10 with v9's, v11 on rooms as it was; v9 replaced v6."""
    from pipelines.init import init

    root = init(tmp_path_factory.mktemp("lineage") / "workspace").root
    publish(load(root), "rooms", train=2, val=1)
    ws = load(root)
    now = resolve(ws, name_or_manifest="rooms")
    rooms, hall, old = use("rooms", now.digest, str(now.dvc)), use("hall", HALL, "23" * 16 + ".dir"), use("rooms", OLD, "01" * 16 + ".dir")
    specs: list[tuple[str | None, tuple[Edge, ...], tuple[DataUse, ...]]] = [
        ("v6", (RecipeEdge("v5"),), (rooms, hall)),
        ("v9", (WeightsEdge("v6"),), (hall,)),
        (None, (WeightsEdge("v9"),), (hall,)),
        (None, (RecipeEdge("v6"),), (old,)),
    ]
    with hub(ws).ledger.transaction() as tx:
        registered = []
        for number, (recipe, parents, data) in enumerate(specs):
            edges = (*parents, *(DataEdge(each.name, str(each.dvc)) for each in data), TeacherEdge("da3", "rooms: depth"))
            run, checkpoint = f"{number:032x}", Artifact("x.safetensors", "cd" * 32, 10)
            new = NewVersion(recipe, False, {}, edges, "rooms", data, (48, 64), run, run, checkpoint, codename="<b>&")
            registered.append(append_registration(tx, new, 1, actor="Ada", commit="0123456789" * 4))
        for move, (version, replaced) in enumerate((("v6", None), ("v9", "v6")), 1):
            tx.append(ChannelPromoted(CHANNEL, version, "production", move, replaced), actor="Ada")
        for version, rmse, protocol in (
            ("v6", 0.5, "val-pooled-10m/1"),
            ("v9", 0.4, "val-pooled-10m/1"),
            ("v9", 0.1, "train-pooled-10m/1"),
        ):
            tx.append(VersionMeasured(version, Metrics("rooms", "kinect", protocol, "rooms", OLD, {"rmse": rmse}, 12)), actor="Ada")
    assert registered == ["v6", "v9", "v10", "v11"]
    return ws


@pytest.fixture
def ask(made: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("COLUMNS", "100")

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--workspace", str(made.root)])

    return run


def runs(result: Result) -> list[tuple[str, str, bool]]:
    return [(each["version"], each["stage"], each["until"] is None) for each in json.loads(result.stdout)["runs"]]


def nodes(result: Result) -> set[str]:
    return {node["name"] for node in json.loads(result.stdout)["nodes"]}


@pytest.mark.parametrize("name", ["rooms-000", "frame:rooms/rooms-000"])
def test_one_frame_leads_to_every_version_and_channel_that_came_of_it(ask: Callable[..., Result], name: str) -> None:
    answer = ask("lineage", name, "--down", "--json")
    assert runs(answer) == [("v9", "production", True), ("v6", "production", False)]
    assert nodes(answer) == {"rooms-000", "rooms", "v6", "v9", "v10", "host/rooms", "host"}
    assert [run["way"] for run in json.loads(answer.stdout)["runs"]] == [["v6", "v9"], ["v6"]]


def test_a_dataset_is_all_its_contents_and_one_by_either_hash(ask: Callable[..., Result], made: Workspace) -> None:
    digest = resolve(made, name_or_manifest="rooms").digest
    assert {"v6", "v9", "v10", "v11"} <= nodes(ask("lineage", "rooms", "--json"))
    assert nodes(ask("lineage", f"rooms@{OLD[:6]}", "--json")) == nodes(ask("lineage", "rooms@0101", "--json")) == {"rooms", "v11"}
    assert "v11" not in nodes(ask("lineage", f"rooms@{digest[:12]}", "--json"))
    text = ask("lineage", "rooms").stdout
    assert text.index("dataset rooms@abababababab") < text.index("data → v11")
    assert "runs  host/rooms  production  v9" in text and "ran   host/rooms  production  v6" in text


def test_up_ends_in_recipes_teachers_data_and_commits(ask: Callable[..., Result]) -> None:
    assert nodes(ask("lineage", "v9", "--up", "--json")) == {"v9", "v6", "v5", "da3", "hall", "rooms", "0123456789" * 4}
    text = ask("lineage", "host").stdout
    assert "device ← v9" in text and "data ← hall@efefefefefef" in text


@pytest.mark.parametrize(
    ("words", "exit_code", "message"),
    [
        (["lineage", "nothing"], 1, "'nothing' is no version, dataset, teacher, channel, device, robot, commit or frame"),
        (["lineage", "rooms@999999"], 1, "rooms has no content '999999'"),
        (["lineage", "rooms@0"], 1, "rooms has no content '0'"),
        (["lineage", "--down"], 2, "start from something"),
        (["lineage", "v9", "--metric", "rmse@attic"], 1, "none of v6, v9 was measured on 'attic'; they were on: rooms"),
        (["lineage", "v9", "--metric", "speed@rooms"], 1, "no metric 'speed' was measured on rooms, allowed: rmse"),
        (["lineage", "v9", "--metric", "rmse", "--up"], 2, "--metric follows the ancestors"),
        (["quarantine", "v9"], 2, "without a reason"),
        (["quarantine", "attic", "--reason", "x"], 1, "'attic' is neither a version nor a dataset"),
        (["quarantine", "v5", "--reason", "x"], 1, "'v5' is neither a version nor a dataset"),
        (["quarantine", "--lift"], 2, "a quarantine of nothing"),
    ],
)
def test_what_cannot_be_answered_says_what_can(ask: Callable[..., Result], words: list[str], exit_code: int, message: str) -> None:
    answer = ask(*words)
    assert isinstance(answer.exception, VortexError) and answer.exception.exit_code == exit_code
    assert message in answer.exception.message


def test_a_metric_is_followed_where_an_exam_measured_it_alike(ask: Callable[..., Result]) -> None:
    history = json.loads(ask("lineage", "v9", "--metric", "rmse@rooms", "--json").stdout)
    (line,) = history["lines"]
    assert [(point["version"], point["made_by"], point["against"]) for point in line["points"]] == [
        ("v6", "recipe", None),
        ("v9", "weights", "v6"),
    ]
    assert line["points"][1]["change"] == pytest.approx(-0.1)
    assert [(point["version"], point["value"]) for point in history["apart"]] == [("v9", 0.1)]
    assert history["unmeasured"] == ["v5"]
    assert "-0.1000 on v6" in ask("lineage", "v9", "--metric", "rmse").stdout
    assert ElementTree.fromstring(ask("lineage", "v9", "--metric", "rmse@rooms", "--format", "svg").stdout).tag.endswith("svg")


def test_pictures_are_the_same_twice_and_take_no_orders_from_names(ask: Callable[..., Result]) -> None:
    for form in ("svg", "mermaid"):
        assert ask("lineage", "v9", "--format", form).stdout == ask("lineage", "v9", "--format", form).stdout
    root = ElementTree.fromstring(ask("lineage", "v9", "--format", "svg").stdout)
    texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"v9", "v6", "host/rooms", "<b>& · 0.400 m on rooms"} <= texts
    assert "#60;b#62;#38;" in ask("lineage", "v9", "--format", "mermaid").stdout


def test_a_picture_has_links_and_takes_no_orders_from_them() -> None:
    hostile = Node("version", '"><script>')
    graph = Graph.of([Link("weights", hostile, Node("version", "v2")), Link("weights", Node("version", "v2"), hostile)])
    drawn = ElementTree.fromstring(lineage_svg(graph, [hostile], href=lambda node: f'{node.name}"&.html'))
    assert [link.get("href") for link in drawn.iter("{http://www.w3.org/2000/svg}a")] == ['"><script>"&.html', 'v2"&.html']
    assert "<script>" not in mermaid(graph)


def test_a_large_lineage_is_folded_and_says_so() -> None:
    """V1 to V9999, each from the one of half its number, all by one teacher; V7000 runs, V8000 is in quarantine."""
    versions = [Node("version", f"v{number}") for number in range(1, 10_000)]
    links = [Link("weights", versions[number // 2 - 1], versions[number - 1]) for number in range(2, 10_000)]
    links += [Link("teacher", Node("teacher", "da3"), version) for version in versions]
    links += [Link("channel", versions[6999], Node("channel", "host/rooms"), "production", "2026-01-01")]
    graph, named, alarming = Graph.of(links, (), [node.name for node in versions]), [versions[2999]], [versions[7999]]
    folded = fold(graph, named, alarming)
    assert {"v3000", "v1500", "v6000", "v7000", "host/rooms", "v8000"} <= {node.name for node in folded.graph.nodes}
    assert len(folded.graph.nodes) <= 2 * SHOWN
    # Nothing is lost: what does not stand for itself is counted in a box.
    singles = folded.graph.nodes - folded.boxes.keys()
    assert len(singles) + sum(box.count for box in folded.boxes.values()) == folded.nodes == len(graph.nodes) == 10_001
    assert all(folded.graph.above[node] or folded.graph.below[node] for node in folded.graph.nodes)
    remark = f"{sum(box.count for box in folded.boxes.values()):,} of 10,001 nodes are folded into {len(folded.boxes)} boxes with a count"
    started = process_time()
    drawn, chart = lineage_svg(graph, named, quarantined=alarming), mermaid(graph, named, quarantined=alarming)
    assert process_time() - started < 5 and len(drawn) < 2_000_000
    assert remark in drawn and f"{remark}: vortex lineage NAME shows a part, and --format json has all" in chart
    assert ElementTree.fromstring(drawn).tag.endswith("svg") and drawn == lineage_svg(graph, named, quarantined=alarming)
    few = Graph.of(links[:200])
    assert fold(few, (), ()).graph is few and "folded" not in lineage_svg(few)


def test_a_name_of_two_things_is_refused_with_both_spellings(made: Workspace, tmp_path: Path) -> None:
    import shutil

    from pipelines.lineage.ancestry import lineage_of
    from pipelines.lineage.focus import resolve as what
    from pipelines.ship.quarantine import quarantine

    ws = load(shutil.copytree(made.root, tmp_path / "workspace", symlinks=True))
    for name in ("v9", "da3", "more"):
        publish(ws, name, train=1, val=1, seed=7 if name == "more" else 0)
    registry = hub(ws)
    asked = lineage_of(registry)
    for name, spellings in (("v9", "version:v9 or data:v9"), ("da3", "data:da3 or teacher:da3")):
        with pytest.raises(UsageError, match="is the name of 2 things here") as refused:
            what(ws, registry, asked, name)
        assert refused.value.hint == f"say which: {spellings}"
    assert what(ws, registry, asked, "data:da3").kind == "data"
    assert what(ws, registry, asked, "version:v9").nodes == (Node("version", "v9"),)
    with pytest.raises(UsageError, match="datasets have a frame 'rooms-000'") as refused:
        what(ws, registry, asked, "rooms-000")
    assert "frame:more/rooms-000" in refused.value.hint and "frame:rooms/rooms-000" in refused.value.hint
    with pytest.raises(UsageError, match="'v9' is a version and a dataset"):
        quarantine(ws, "v9", reason="x")


def test_a_quarantine_is_told_everywhere_and_names_what_runs(made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setenv("COLUMNS", "100")
    root = shutil.copytree(made.root, tmp_path / "workspace", symlinks=True)

    def run(*words: str) -> Any:
        answer = CliRunner().invoke(app, [*words, "--workspace", str(root)])
        assert answer.exception is None, answer.exception
        return answer.stdout

    told = json.loads(run("quarantine", "hall", "--reason", "half scale", "--json"))
    assert (told["scope"], told["subject"], told["barred"]) == ("data", "hall", ["v6", "v9", "v10"])
    (channel,) = told["running"]
    assert (channel["channel"], channel["version"], channel["remedy"]) == (
        "host/rooms",
        "v9",
        "vortex promote VERSION --stage production --device host --domain rooms",
    )
    rows = {version["name"]: version["quarantined"] for version in json.loads(run("versions", "--json"))}
    assert [name for name, bars in rows.items() if bars] == ["v6", "v9", "v10"]
    assert "quarantined: data hall" in run("versions")
    assert "quarantined: data hall" in run("lineage")
    assert "dataset hall, which v6 was trained on," in json.loads(run("show", "v6", "--json"))["quarantined"][0]
    assert "quarantined: half scale" in run("lineage", "hall")
    assert "dataset hall quarantined" in run("history")
    ws = load(root)
    assert set(recommend(made, "rooms").excluded) == {"v10", "v11"}
    with pytest.raises(VortexError, match="no version can be recommended for rooms") as refused:
        recommend(ws, "rooms")
    assert any(detail.startswith("v9: dataset hall, which v9 was trained on,") for detail in refused.value.details)
    finding = _quarantine(ws)
    assert (finding.state, finding.remedy) == ("missing", channel["remedy"])
    assert finding.found.startswith("host/rooms runs v9: dataset hall, which v9 was trained on, is in quarantine")
    remarks = _quarantine_remarks(hub(ws), hub(ws).get("v9"), (resolve(ws, name_or_manifest="rooms"),))
    assert len(remarks) == 1 and remarks[0].endswith("half scale); a version of it enters no stage")
    assert [each["subject"] for each in json.loads(run("quarantine", "--json"))] == ["hall"]
    assert "out of quarantine" in run("quarantine", "hall", "--lift", "--reason", "it was the viewer")
    assert json.loads(run("quarantine", "--json")) == []
    assert "quarantined" not in run("versions")
