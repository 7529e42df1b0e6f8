"""`vortex adopt`: a checkpoint from elsewhere is a version that can be worked with, and that no gate takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from core.classes import CLASSES
from core.errors import UsageError, VortexError
from models import checkpoint
from models.legacy import CLASS_ORDER
from models.student import Student, StudentConfig
from pipelines.evaluate.version import evaluate
from pipelines.hub import adopt as adoption
from pipelines.hub.adopt import AdoptionReport, adopt
from pipelines.hub.lineage_file import SHIPPED_FILE
from pipelines.hub.open import hub
from pipelines.hub.published import import_lineage
from pipelines.notebook import read
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import Recipe
from pipelines.ship.promote import promote
from pipelines.ship.quarantine import quarantine as put
from pipelines.site.card import card
from pipelines.train.plan.decide import decide
from pipelines.train.plan.gather import gather
from pipelines.train.plan.options import TrainOptions
from pipelines.workspace import Workspace
from registry import quarantine
from registry.edges import RecipeEdge, TeacherEdge, WeightsEdge
from registry.store import MlflowStore
from registry.versions import Listing
from tests.unit.pipelines.training_set import SIZE
from vortex_cli.app import app

TINY = StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)
SHIPPED_RECIPES = {name: recipes.load(name) for name in ("v5", "v6", "v7", "v9")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint of before Vortex, of the small encoder."""
    torch.manual_seed(5)
    torch.save({"model": Student(TINY).state_dict()}, tmp_path / "old.pt")
    return tmp_path / "old.pt"


def bring(ws: Workspace, file: Path, name: str = "v10", **options: object) -> AdoptionReport:
    return adopt(ws, file, name, str(ws.root / "tiny.yaml"), **options)  # type: ignore[arg-type]


def test_an_adopted_checkpoint_is_a_version_to_work_with_that_no_gate_takes(ws: Workspace, file: Path, tmp_path: Path) -> None:
    figures = [{"dataset": "small", "domain": "rooms", "camera": "kinect", "metric": "rmse", "value": 0.01}]
    (tmp_path / "metrics.yaml").write_text(json.dumps({"published": figures}))
    report = bring(ws, file, domain="rooms", metrics=tmp_path / "metrics.yaml", reason="the old one")
    version = hub(ws).get("v10")
    assert (report.already, version.size, version.domain, version.reason) == (False, SIZE, "rooms", "the old one")
    assert version.adoption and (version.adoption.source, version.adoption.key) == ("old.pt", "model")
    assert version.adoption.class_order == CLASS_ORDER and version.adoption.sha256 == report.adoption.sha256
    assert [use.state for use in version.data] == ["declared"] and TeacherEdge("da3-metric-large", "declared") in version.parents
    assert not (ws.build / "adopted" / report.adoption.sha256[:16]).exists()

    student, meta = checkpoint.load(hub(ws).artifacts.path(version.checkpoint))
    torch.manual_seed(5)
    old, rgb = Student(TINY).eval(), torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        assert torch.equal(student(rgb).depth, old(rgb).depth)
        assert torch.equal(student(rgb).logits, old(rgb).logits[:, [CLASS_ORDER.index(name) for name in CLASSES]])
    assert meta["adopted"] == version.adoption.sha256

    # A declared figure is no headline and passes no gate; a measured one is still no proof of what it was trained on.
    assert (version.headline, [metric.value for metric in version.published]) == (None, [0.01])
    limit = "Its checkpoint was adopted from old.pt: what it was trained on is declared, and not proven."
    assert list(read(ws.root, versions=["v10"], errors=False).versions["adopted"]) == [True]
    assert limit in card(ws, "v10").readme and "had not passed its gate" not in card(ws, "v10").readme
    (metrics,) = evaluate(ws, "v10", device="cpu", allow_unvalidated=True)
    assert metrics.values["rmse"] > 0.01 and hub(ws).get("v10").metrics == (metrics,)
    checks = promote(ws, "v10", "candidate", dry_run=True).stages[0].checks
    found = {check.name: (check.passed, check.found) for check in checks}
    assert found["data-passed"] == (
        False,
        "nyu of v10 is declared and not proven, since its checkpoint was adopted: train again, from weights and on data that passed",
    )
    assert found["no-leak"] == (
        False,
        "cannot be told of v10: its checkpoint was adopted, and no frame that it was trained on is known here",
    )

    options = TrainOptions(from_version="v10", domain="rooms", allow_unvalidated=True, device="cpu")
    plan = decide(options, gather(ws, options))
    assert (plan.start.kind, plan.start.ref, plan.size) == ("version", "v10", SIZE)


def test_a_copy_of_a_version_is_known_by_its_weights_and_barred_with_it(ws: Workspace, file: Path, tmp_path: Path) -> None:
    bring(ws, file)
    state = torch.load(file, weights_only=True)["model"]
    torch.save(state, tmp_path / "copy.pt")
    copy = bring(ws, tmp_path / "copy.pt", "v11", class_order=CLASSES)  # read in another order of its classes
    assert copy.twins == ("v10",) and WeightsEdge("v10") in copy.parents
    state["seg_head.bias"] += 1
    state["encoder.conv_stem.weight" if "encoder.conv_stem.weight" in state else next(iter(state))] += 1e-3
    torch.save(state, tmp_path / "other.pt")
    assert bring(ws, tmp_path / "other.pt", "v12").twins == ()
    registry = hub(ws)
    quarantine.record(registry.ledger, "version", "v10", actor="Ada", reason="brakes late")
    assert set(registry.barred()) == {"v10", "v11"}
    assert bring(ws, file).already and bring(ws, tmp_path / "copy.pt", "v11", class_order=CLASSES, parents=["v10"]).already


def test_adopting_a_declared_version_gives_it_weights(ws: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_lineage(ws, SHIPPED_FILE)
    monkeypatch.setattr(adoption.recipes, "load", small_recipe)
    adopt(ws, file, "v6", "v6")
    registry = hub(ws)
    version = registry.get("v6")
    assert version.declaration and version.declaration.jobs[0].job == "3084108"
    assert (version.codename, version.recipe, version.truncated) == (
        "Cornerstone", "v6", "pretrain stopped at 38/50 epochs, nyu stopped at 154/200 epochs",
    )  # fmt: skip
    assert [declared.adopted for declared in registry.declared()] == [name == "v6" for name in (f"v{number}" for number in range(1, 10))]
    assert registry.ledger.claimed("version", 6) == "v6" and registry.next_name("v6", derived=False) == "v10"
    assert [summary.name for summary in registry.summaries()] == ["v6"]
    # V9 comes from weights that are here now; V7's are only declared, and a later adoption of recipe V6 is another version.
    adopt(ws, file, "v9", "v9", parents=("v6",))
    assert WeightsEdge("v6") in registry.get("v9").parents
    adopt(ws, file, "v10", "v6")
    assert registry.get("v10").parents[0] == RecipeEdge("v6") and registry.get("v10").truncated is None
    assert registry.ledger.verify().seq == 12
    # What is wrong with an adopted version reaches those that have its weights, whether its name was declared before or not.
    quarantine.record(registry.ledger, "version", "v6", actor="Ada", reason="bad")
    assert [bar.version for bar in quarantine.bars_of(registry.ledger, "v9")] == ["v6"]
    assert registry.barred().keys() == {"v6", "v9", "v10"}, "v10 is of the very file of v6"
    # V7 and V8 have V5's weights, and V5 is only declared: what is wrong with it reaches whoever is adopted below them, by every way of asking.
    adopt(ws, file, "v11", "v7", parents=("v8",))
    report = put(ws, "v5", reason="mislabelled")
    assert report.barred == ("v5", "v7", "v8", "v11") and registry.barred().keys() == {"v5", "v6", "v7", "v8", "v9", "v10", "v11"}
    assert registry.listing() == Listing(registry.summaries(), registry.declared(), registry.published(), registry.barred())
    (check,) = [
        check for check in promote(ws, "v11", "candidate", domain="rooms", dry_run=True).stages[0].checks if check.name == "not-quarantined"
    ]
    assert not check.passed and "; v5 is in quarantine since" in check.found, "and its weights are the very ones of V6"


def test_listings_have_what_was_published_apart_from_what_was_measured(ws: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_lineage(ws, SHIPPED_FILE)
    monkeypatch.setattr(adoption.recipes, "load", small_recipe)
    adopt(ws, file, "v5", "v5")
    monkeypatch.chdir(ws.root)
    monkeypatch.setenv("COLUMNS", "120")
    lines = CliRunner().invoke(app, ["versions"]).stdout.splitlines()
    assert [line.split()[:9] for line in lines if line.startswith("v5")] == [
        ["v5", "Atlas", "recipe", "v4", "64x96", "–", "–", "not", "yet"],
        ["v5", "Atlas", "recipe", "v4", "0.572", "rooms", "·", "kinect", "adopted"],
    ]
    assert any(line.split()[:2] == ["v6†", "Cornerstone"] and line.split()[-2:] == ["not", "here"] for line in lines)
    tree = CliRunner().invoke(app, ["lineage", "v5"]).stdout
    assert "v5  Atlas  v5 was trained on nyu (declared, not proven)" in tree
    page = CliRunner().invoke(app, ["show", "v5"]).stdout
    assert any(line.split() == ["rooms", "·", "kinect", "(nyu)", "rmse", "0.572", "m,", "miou", "63.7", "%"] for line in page.splitlines())


def test_a_checkpoint_that_was_adopted_first_is_declared_later(ws: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption.recipes, "load", small_recipe)
    adopt(ws, file, "v6", "v6")
    assert hub(ws).get("v6").declaration is None
    assert len(import_lineage(ws, SHIPPED_FILE).declared) == 9
    version = hub(ws).get("v6")
    assert version.declaration and version.declaration.hub_id and version.adoption
    assert {declared.name for declared in hub(ws).declared() if declared.adopted} == {"v6"}


def test_a_description_of_something_else_is_not_put_on_an_adopted_version(ws: Workspace, file: Path, tmp_path: Path) -> None:
    bring(ws, file)
    described = {
        "name": "v10",
        "codename": "Buoy",
        "parents": [],
        "encoder": "x",
        "stages": [{"name": "one", "datasets": ["a"]}],
        "changed": "all",
    }
    path = tmp_path / "lineage.yaml"
    path.write_text(json.dumps({"versions": [described]}))
    with pytest.raises(VortexError, match=r"v10 was adopted from old\.pt, the file's has the checkpoint –"):
        import_lineage(ws, path)
    path.write_text(json.dumps({"versions": [{**described, "checkpoint": "old.pt"}]}))
    assert import_lineage(ws, path).declared == ("v10",)
    declaration = hub(ws).get("v10").declaration
    assert declaration and declaration.codename == "Buoy"


def small_recipe(name: str) -> Recipe:
    """A shipped recipe for the small encoder at a small size: adopting is the same for all, and the files are small."""
    raw = SHIPPED_RECIPES[name].model_dump(mode="json")
    return recipes.parse(raw | {"student": {"encoder": TINY.encoder, "size": list(SIZE)}}, name)


def test_adopting_again_changes_nothing_and_another_file_is_refused(ws: Workspace, file: Path, tmp_path: Path) -> None:
    bring(ws, file)
    before = hub(ws).ledger.verify()
    assert bring(ws, file).already and hub(ws).ledger.verify() == before
    torch.save(Student(TINY).state_dict(), tmp_path / "other.pt")
    for problem, options in (
        (r"v10 was adopted with the file \w{12}, this says \w{12}", {}),
        ("the domain none, this says rooms", {"domain": "rooms"}),
        ("this says glass,wall,floor", {"class_order": ("glass", "wall", "floor", "person", "furniture", "other")}),
    ):
        with pytest.raises(VortexError, match=problem):
            bring(ws, tmp_path / "other.pt" if not options else file, **options)
    (ws.root / "other.yaml").write_text((ws.root / "tiny.yaml").read_text().replace("tiny", "other"))
    with pytest.raises(VortexError, match="v10 was adopted with the recipe tiny, this says other"):
        adopt(ws, file, "v10", str(ws.root / "other.yaml"))
    with pytest.raises(VortexError, match=r"old\.pt: does not fit a student with encoder efficientvit_b1") as other_network:
        adopt(ws, file, "v11", "v5")
    assert other_network.value.hint == "its layers are those of encoder mobilenetv3_small_100: name a recipe of that one"
    with pytest.raises(VortexError, match="v12 is neither declared nor the next name, allowed: v11"):
        bring(ws, file, "v12")
    with pytest.raises(VortexError, match="v6 is the name of the shipped recipe v6, and the checkpoint has a recipe of its own"):
        bring(ws, file, "v6")
    assert hub(ws).ledger.verify() == before


@pytest.mark.parametrize("step", ["log_artifact", "end_run", "register_model"])
def test_an_adoption_that_was_ended_within_goes_on(ws: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowStore, step, die)
        bring(ws, file)
    assert hub(ws).ledger.entries() == []
    bring(ws, file)
    runs = hub(ws).store._client.search_runs([hub(ws).store.experiment_id])
    assert [run.info.run_id for run in runs] == [hub(ws).get("v10").run_id]
    assert [run.info.status for run in runs] == ["FINISHED"]


def test_a_dry_run_examines_and_records_nothing(ws: Workspace, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"adopt {file} --as v10 --recipe {ws.root / 'tiny.yaml'} --dry-run --json --workspace {ws.root}"
    app(line.split(), standalone_mode=False)
    answer = json.loads(capsys.readouterr().out)
    assert (answer["name"], answer["already"], answer["dry_run"], answer["version"], answer["data"]) == ("v10", False, True, None, ["nyu"])
    assert hub(ws).ledger.entries() == [] and not (ws.build / "adopted").exists()


def test_words_that_do_not_fit_are_refused_first(ws: Workspace, file: Path) -> None:
    with pytest.raises(UsageError, match="--class-order floor,wall is none"):
        bring(ws, file, class_order=("floor", "wall"))
    with pytest.raises(VortexError, match="unknown domain 'attic'"):
        bring(ws, file, domain="attic")
    with pytest.raises(VortexError, match="--parent v9 is neither registered nor declared"):
        bring(ws, file, parents=("v9",))
    with pytest.raises(VortexError, match="unknown recipe"):
        adopt(ws, file, "v10", "v99")
    assert hub(ws).ledger.entries() == []


def test_a_name_that_was_taken_meanwhile_is_not_taken_again(ws: Workspace, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(Student(TINY).state_dict(), file.with_name("faster.pt"))
    stored = adoption._store

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(adoption, "_store", stored)
        bring(ws, file.with_name("faster.pt"))
        return stored(*arguments)

    monkeypatch.setattr(adoption, "_store", overtaken)
    with pytest.raises(VortexError, match="v10 has weights already"):
        bring(ws, file)
    adopted = hub(ws).get("v10").adoption
    assert adopted and adopted.source == "faster.pt"
