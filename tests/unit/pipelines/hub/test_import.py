"""`vortex import`: published versions are recorded without weights, once, and take part in nothing that needs weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import VortexError
from core.shipped import SHIPPED
from pipelines.hub.lineage_file import SHIPPED_FILE, read, read_metrics
from pipelines.hub.open import hub
from pipelines.hub.published import import_lineage, place_of
from pipelines.recipes import recipe as recipes
from pipelines.train.plan.sources import version_start
from pipelines.workspace import Workspace
from registry.channels import Channel
from registry.declarations import WithoutWeights
from registry.edges import DataEdge, RecipeEdge, TeacherEdge, WeightsEdge
from registry.records import NewVersion
from registry.stages import StageJudgement, record_promotion
from registry.versions import append_registration
from vortex_cli.app import app

LINE = {
    "name": "v20",
    "codename": "Buoy",
    "parents": [],
    "encoder": "efficientvit_b1",
    "stages": [{"name": "one", "datasets": ["nyu"]}],
    "changed": "all of it",
    "published": [{"dataset": "nyu", "domain": "rooms", "camera": "kinect", "metric": "rmse", "value": 0.5}],
}


def vortex(ws: Workspace, line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command line prints."""
    app([*line.split(), "--workspace", str(ws.root)], standalone_mode=False)
    return capsys.readouterr().out


def written(path: Path, *versions: dict[str, Any]) -> Path:
    """A lineage file of these versions; JSON is YAML."""
    path.write_text(json.dumps({"versions": list(versions)}))
    return path


def recorded(ws: Workspace) -> int:
    return len(hub(ws).ledger.entries(bodies=False))


def test_the_shipped_file_says_what_the_shipped_recipes_say() -> None:
    declarations = read(SHIPPED_FILE, {})
    assert tuple(declarations) == SHIPPED
    for name, declaration in declarations.items():
        recipe = recipes.load(name)
        parents = [(edge.kind, edge.version) for edge in declaration.parents if isinstance(edge, (WeightsEdge, RecipeEdge))]
        assert parents == [(parent.kind, parent.version) for parent in recipe.parents]
        assert [edge.teacher for edge in declaration.parents if isinstance(edge, TeacherEdge)] == [recipe.teacher.name]
        assert {edge.name for edge in declaration.parents if isinstance(edge, DataEdge)} == {
            data.dataset for stage in recipe.stages for data in stage.data
        }
        assert (declaration.codename, declaration.encoder) == (recipe.codename, recipe.student.encoder)
        assert declaration.truncated == recipe.truncated
        assert [(metric.dataset, metric.camera, metric.metric, metric.value) for metric in declaration.metrics] == [
            (metric.dataset, metric.camera, metric.metric, metric.value) for metric in recipe.published
        ]
        assert [(job.job, job.stage) for job in declaration.jobs] == [(job.job, job.stage) for job in recipe.history]
    assert [declarations[name].checkpoint for name in ("v4", "v5", "v6", "v9")] == [
        None,
        "best_depth_v5_vivek.pt",
        "best_depth_v6.pt",
        "best_depth_v9.pt",
    ]
    assert declarations["v6"].hub_id == "NishantPushparaju/vortex-depth-v6-pretrained"


def test_the_nine_are_declared_once(workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    names = list(SHIPPED)
    planned = json.loads(vortex(workspace, "import lineage.yaml --dry-run --json", capsys))
    assert (planned["declared"], planned["already"], recorded(workspace)) == (names, [], 0)
    assert json.loads(vortex(workspace, "import lineage.yaml --json", capsys))["declared"] == names
    again = json.loads(vortex(workspace, "import lineage.yaml --json", capsys))
    assert (again["declared"], again["already"], recorded(workspace)) == ([], names, 9)

    listed = {version["name"]: version for version in json.loads(vortex(workspace, "versions --json", capsys))}
    assert [listed["v9"][key] for key in ("declared", "headline", "headlines", "stages")] == [True, None, [], []]
    assert listed["v9"]["published"][-1] == {
        "dataset": "lilocbench", "domain": "corridor", "camera": "realsense_d455", "metric": "rmse", "value": 0.382,
    }  # fmt: skip
    monkeypatch.setenv("COLUMNS", "120")
    shown = vortex(workspace, "show v6", capsys)
    for text in ("no weights here", "vortex adopt CHECKPOINT.pt --as v6 --recipe v6", "3084108 (pretrain): ended by a loss of NaN",
                 "3098656 (nyu)", "best_depth_v6.pt", "nyu stopped at 154/200 epochs", "rmse 0.519 m, miou 48.5 %"):  # fmt: skip
        assert text in shown
    assert "weights → v9  Lighthouse  declared, published 1.553 m on rooms · kinect" in vortex(workspace, "lineage", capsys)
    assert "↓ weights ← v6  Cornerstone  declared, published 0.519 m" in vortex(workspace, "lineage v9 --up", capsys)
    assert "v6 declared, from recipe v5;" in vortex(workspace, "history v6", capsys)
    compared = json.loads(vortex(workspace, "compare v5 v6 --json", capsys))
    assert compared["measured"] == []
    assert compared["published"][0] == {"place": "rooms · kinect (nyu)", "metric": "rmse", "a": 0.572, "b": 0.519}
    of_corridor = json.loads(vortex(workspace, "versions --domain corridor --json", capsys))
    assert [version["name"] for version in of_corridor] == ["v4", "v5", "v6", "v7", "v8", "v9"]


def test_what_is_declared_has_no_weights_for_anyone(workspace: Workspace, make_version: Callable[..., str]) -> None:
    import_lineage(workspace, SHIPPED_FILE)
    registry = hub(workspace)
    assert (registry.summaries(), registry.versions(), registry.find("v6")) == ([], [], None)
    for refused in (registry.get, lambda name: version_start(registry, name)):
        with pytest.raises(WithoutWeights, match="v6 is declared"):
            refused("v6")
    with pytest.raises(VortexError, match="'v6' is not registered"):
        record_promotion(registry.ledger, Channel("host", "rooms"), "v6", [StageJudgement("candidate", True)], 0, actor="Ada")
    assert registry.next_name("v6", derived=False) == "v10" == make_version()
    assert registry.next_name("v6", derived=False) == "v11"


def test_a_file_that_says_something_else_is_refused_whole(workspace: Workspace, tmp_path: Path) -> None:
    import_lineage(workspace, written(tmp_path / "first.yaml", LINE))
    changed = {**LINE, "codename": "Bell", "published": [{**LINE["published"][0], "value": 0.4}]}  # type: ignore[index]
    with pytest.raises(VortexError, match="nothing was recorded, 2 things would contradict the ledger") as caught:
        import_lineage(workspace, written(tmp_path / "second.yaml", changed, {**LINE, "name": "v21"}))
    assert caught.value.details == (
        "v20: codename: recorded is Buoy, the file says Bell",
        "v20: metrics: recorded is nyu rooms kinect rmse 0.5, the file says nyu rooms kinect rmse 0.4",
    )
    assert recorded(workspace) == 1
    more = import_lineage(workspace, written(tmp_path / "more.yaml", LINE, {**LINE, "name": "v21"}))
    assert (more.declared, more.already, recorded(workspace)) == (("v21",), ("v20",), 2)


def test_a_name_that_was_trained_here_is_not_declared(workspace: Workspace, make_version: Callable[..., str], tmp_path: Path) -> None:
    name = make_version()
    for dry_run in (True, False):
        with pytest.raises(VortexError, match=f"{name} was trained here and registered on 20"):
            import_lineage(workspace, written(tmp_path / "file.yaml", {**LINE, "name": name}), dry_run=dry_run)
    assert recorded(workspace) == 1


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        ([{**LINE, "parents": [{"kind": "recipe", "version": "v21"}]}], "v20 comes from v21, which is neither in the file nor recorded here"),
        (
            [
                {**LINE, "parents": [{"kind": "recipe", "version": "v21"}]},
                {**LINE, "name": "v21", "parents": [{"kind": "weights", "version": "v22"}]},
                {**LINE, "name": "v22", "parents": [{"kind": "weights", "version": "v20"}]},
            ],
            "v20 comes from v21 comes from v22 comes from v20: a version cannot descend from itself",
        ),
        ([{**LINE, "parents": [{"kind": "weights", "version": "v20"}]}], "v20 comes from v20"),
        ([LINE, LINE], "v20 is described 2 times"),
        ([{**LINE, "gpu": "L40S"}], "gpu"),
        ([{**LINE, "name": "v99999"}], "name"),
        ([{**LINE, "codename": "\x1b[2JGone"}], "a character that commands a terminal"),
        ([{**LINE, "changed": "one\ntwo"}], "write one plain line"),
        ([{**LINE, "checkpoint": "../../etc/passwd"}], "checkpoint"),
        ([{**LINE, "published": [{**LINE["published"][0], "value": float("nan")}]}], "value"),  # type: ignore[index]
        ([{**LINE, "published": [{**LINE["published"][0], "value": True}]}], "value"),  # type: ignore[index]
        ([{**LINE, "published": [{**LINE["published"][0], "value": "0.5"}]}], "value"),  # type: ignore[index]
        ([{**LINE, "published": [{**LINE["published"][0], "metric": "miou", "value": 48.5}]}], "48.5 % is 0.485"),  # type: ignore[index]
        ([{**LINE, "published": [*LINE["published"], *LINE["published"]]}], "is given twice"),  # type: ignore[misc]
        ([], "versions"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_refused_by_its_fault(workspace: Workspace, tmp_path: Path, versions: list[dict[str, Any]], problem: str) -> None:
    text = json.dumps({"versions": versions}).replace("NaN", ".nan")
    (tmp_path / "faulty.yaml").write_text(text)
    with pytest.raises(VortexError, match=r"faulty\.yaml") as caught:
        import_lineage(workspace, tmp_path / "faulty.yaml")
    assert problem in " ".join([caught.value.message, *caught.value.details])
    assert recorded(workspace) == 0


@pytest.mark.parametrize(
    "text", ["a: &a [x]\nb: [*a, *a]\n", "versions: " + "[" * 5000, "versions: !!python/object:os.system {}", "\x00", "- 1"]
)
def test_a_hostile_file_is_refused_at_once(workspace: Workspace, tmp_path: Path, text: str) -> None:
    (tmp_path / "hostile.yaml").write_text(text)
    with pytest.raises(VortexError, match=r"hostile\.yaml"):
        import_lineage(workspace, tmp_path / "hostile.yaml")
    with pytest.raises(VortexError, match="cannot be read"):
        import_lineage(workspace, Path("/dev/zero"))


def test_markup_is_text(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    import_lineage(workspace, written(tmp_path / "file.yaml", {**LINE, "codename": "[bold]<script>alert(1)</script>"}))
    assert "[bold]<script>alert(1)</script>" in vortex(workspace, "versions", capsys)
    assert "[bold]<script>alert(1)</script>" in vortex(workspace, "show v20", capsys)


def test_the_shipped_file_stands_in_only_where_none_of_its_name_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (place_of("lineage.yaml"), place_of("other.yaml")) == ((SHIPPED_FILE, True), (Path("other.yaml"), False))
    written(tmp_path / "lineage.yaml", LINE)
    assert place_of("lineage.yaml") == (Path("lineage.yaml"), False)


def test_a_circle_through_what_is_recorded_is_one(workspace: Workspace, tmp_path: Path) -> None:
    registered = {"v10": (RecipeEdge("v20"),)}
    with pytest.raises(VortexError, match="v20 comes from v10 comes from v20"):
        read(written(tmp_path / "file.yaml", {**LINE, "parents": [{"kind": "weights", "version": "v10"}]}), registered)


def test_declared_metrics_alone_are_read_from_a_file_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"published": LINE["published"]}))
    assert [(metric.place, metric.value) for metric in read_metrics(path)] == [("rooms · kinect (nyu)", 0.5)]


def test_a_training_of_a_declared_recipe_takes_the_next_number(workspace: Workspace) -> None:
    import_lineage(workspace, SHIPPED_FILE)
    from registry.records import Artifact

    new = NewVersion("v6", False, {}, (), None, (), (240, 320), "0" * 32, "run", Artifact("x", "0" * 64, 1))
    with hub(workspace).ledger.transaction() as tx:
        assert append_registration(tx, new, 1, actor="Ada") == "v10"
