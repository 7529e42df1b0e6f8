"""The replay around its judges: scales, sets, its workspace, its page; and one small replay that is stopped and goes on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import GateRefused, Interrupted, VortexError
from core.shipped import SHIPPED
from pipelines.compare.intervals import Interval
from pipelines.compare.verdict import Verdict
from pipelines.data.datasets import find, listing
from pipelines.experiments.replay import results
from pipelines.experiments.replay.charts import draw
from pipelines.experiments.replay.claims import FAILS, HOLDS, OPEN, Finding, Part
from pipelines.experiments.replay.findings import LAST, NYU
from pipelines.experiments.replay.page import MARK, generated, number, page
from pipelines.experiments.replay.place import workspace_for
from pipelines.experiments.replay.results import Replay, RunRecord, Score
from pipelines.experiments.replay.run import replay
from pipelines.experiments.replay.scales import SCALES, Scale
from pipelines.experiments.replay.sets import PLACES, RELATIVE, judged_frames, prepare
from pipelines.experiments.replay.version_runs import Watch
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import Recipe
from pipelines.runs.folder import runs_folder
from pipelines.synthetic.dataset import synthesise
from pipelines.synthetic.worlds import WORLDS
from pipelines.train.plan.resume import resume
from validation.manifest import load_manifest
from vortex_cli import console
from vortex_cli.commands import replay as command

ROOT = Path(__file__).parents[5]
LITTLE = Scale(
    "little", (64, 96), {"nyu": 12, "lilocbench": 12}, train=1, fine_tune=1, versions=("v5", "v7"), measured=("nyu", "lilocbench")
)
SILENT = Watch(lambda what, done, total: None, lambda run: None)


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_a_scale_knows_every_set_that_the_recipes_name(scale: Scale) -> None:
    named = {data.dataset for name in scale.versions for stage in recipes.load(name).stages for data in stage.data}
    assert scale.versions == SHIPPED
    assert named | set(scale.measured) | {RELATIVE} == set(PLACES)
    assert set(scale.frames) == set(PLACES) - {RELATIVE}
    assert {place.world for place in PLACES.values()} <= set(WORLDS)


@pytest.mark.parametrize("scale", [SCALES["tiny"], SCALES["small"]], ids=["tiny", "small"])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_scaled_recipe_is_a_recipe_and_stays_cut_where_it_was(scale: Scale, name: str) -> None:
    recipe = recipes.load(name)
    scaled = recipes.with_settings(recipe, scale.settings(recipe))
    assert [stage.name for stage in scaled.stages] == [stage.name for stage in recipe.stages]
    for before, after in zip(recipe.stages, scaled.stages, strict=True):
        assert after.epochs < before.epochs and after.data == before.data
        if before.stopped_at:
            assert after.stopped_at == pytest.approx(before.stopped_at / before.epochs * after.epochs, abs=0.51)
    assert (scaled.truncated is None) == (recipe.truncated is None)


def test_the_full_scale_changes_nothing_of_a_recipe() -> None:
    assert all(SCALES["full"].settings(recipes.load(name)) == () for name in SHIPPED)


def test_a_replay_has_a_workspace_of_its_own(tmp_path: Path) -> None:
    ws = workspace_for(tmp_path / "new", LITTLE)
    assert workspace_for(ws.root, LITTLE).root == ws.root
    with pytest.raises(VortexError, match="holds a replay of the scale little, not tiny"):
        workspace_for(ws.root, SCALES["tiny"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(VortexError, match="not empty and no workspace"):
        workspace_for(tmp_path / "mine", LITTLE)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_workspace_with_versions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = init(tmp_path / "used").root
    taken = [type("Summary", (), {"name": "v6"})()]
    monkeypatch.setattr("pipelines.experiments.replay.place.hub", lambda ws: type("Hub", (), {"summaries": lambda self: taken})())
    with pytest.raises(VortexError, match=r"has versions of its own \(v6\)"):
        workspace_for(folder, LITTLE)
    assert not (folder / ".vortex-replay").exists()


def _files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_sets_are_rendered_judged_and_used_again(tmp_path: Path) -> None:
    ws = workspace_for(tmp_path / "sets", LITTLE)
    told: list[str] = []
    ws = prepare(ws, LITTLE, ("nyu", RELATIVE), lambda what, done, total: told.append(what))
    nyu, relative = find(ws, "nyu"), find(ws, RELATIVE)
    assert _files(nyu.root / "rgb") == _files(relative.root / "rgb"), "the same frames"
    units = [{frame.teacher_unit for frame in load_manifest(one.manifest)} for one in (nyu, relative)]
    assert units == [{"m"}, {"relative"}] and nyu.card.domain == relative.card.domain
    assert {"rendering nyu", "rendering nyu_relative", "validating nyu"} == set(told)
    told.clear()
    prepare(ws, LITTLE, ("nyu", RELATIVE), lambda what, done, total: told.append(what))
    assert told == [], "nothing is done twice"
    with pytest.raises(VortexError, match="nyu was rendered at 64x96, the scale small is 120x160"):
        prepare(ws, SCALES["small"], ("nyu",), lambda what, done, total: None)


def test_auxiliary_sets_have_no_training_labels_and_the_second_corridor_no_training(tmp_path: Path) -> None:
    ws = workspace_for(tmp_path / "sets", LITTLE)
    for name in ("sunrgbd", "diode", "corridor_eval"):
        place = PLACES[name]
        made = synthesise(
            ws, name, world=place.world, frames=12, size=(32, 48), seed=place.seed, labelled=place.labelled, held_out=place.held_out
        )
        frames = load_manifest(made.manifest)
        training = [frame for frame in frames if frame.split == "train"]
        assert all(frame.supervision == "none" for frame in training)
        assert bool(training) != place.held_out
        judged = judged_frames(name, made.manifest)
        assert judged and all(frame.split != "train" and frame.segmentation for frame in judged)
    assert {card.card.cameras[0] for card in listing(ws)} == {"synthetic-kinect2", "synthetic-faro", "synthetic-femto-bolt"}


def test_real_frames_are_used_and_their_relative_twin_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws = workspace_for(tmp_path / "sets", LITTLE)
    ws = prepare(ws, LITTLE, ("nyu",), lambda what, done, total: None)
    real = find(ws, "nyu").card.model_copy(update={"format": "nyu", "settings": {}})
    (ws.data / "nyu" / "dataset.json").write_text(real.model_dump_json())
    told: list[str] = []
    prepare(ws, SCALES["full"], ("nyu",), lambda what, done, total: told.append(what))
    assert "rendering nyu" not in told
    with pytest.raises(VortexError, match="nyu is real, but there is no dataset nyu_relative") as caught:
        prepare(ws, LITTLE, ("nyu", RELATIVE), lambda what, done, total: None)
    assert "--teachers da2" in str(caught.value.hint)


def test_a_set_that_fails_the_gate_stops_the_replay_before_it_begins(tmp_path: Path) -> None:
    ws = workspace_for(tmp_path / "sets", LITTLE)
    place = PLACES["nyu"]
    synthesise(ws, "nyu", world=place.world, frames=12, size=LITTLE.size, domain="nyu", teacher="relative")
    with pytest.raises(GateRefused, match="nyu failed validation"):
        prepare(ws, LITTLE, ("nyu",), lambda what, done, total: None)


@pytest.mark.endurance
def test_a_replay_that_is_stopped_goes_on_and_every_seed_has_its_own_parents(tmp_path: Path) -> None:
    ws = workspace_for(tmp_path / "replay", LITTLE)
    ran: list[tuple[str, int]] = []

    def ran_once(run: RunRecord) -> None:
        ran.append((run.version, run.seed))
        if len(ran) == 1:
            raise Interrupted("interrupted", "again")

    watch = Watch(lambda what, done, total: None, ran_once)
    with pytest.raises(Interrupted, match="every run that is measured is kept"):
        replay(ws, LITTLE, 2, watch, device="cpu")
    made = replay(ws, LITTLE, 2, watch, device="cpu")
    assert ran == [("v5", 0), ("v7", 0), ("v5", 1), ("v7", 1)], "the first run is not trained again"
    assert [version.name for version in hub(ws).versions()] == ["v5", "v7"], "the first seed alone is registered"
    parents = {edge.triple()[:2] for edge in hub(ws).get("v7").parents}
    assert ("weights", "v5") in parents
    measured = {(one.domain, one.dataset) for one in hub(ws).get("v7").metrics}
    assert {("nyu", "nyu"), ("corridor", "lilocbench")} <= measured
    runs = {(run.version, run.seed): run for run in made.runs}
    start = resume(ws, runs["v7", 1].run).start
    assert start.path == runs_folder(ws) / runs["v5", 1].run / "student.safetensors"
    rmse = {key: run.scores[NYU].values["rmse"] for key, run in runs.items()}
    assert len(set(rmse.values())) == 4, "seeds differ"
    assert all(LAST in run.scores[NYU].values for run in made.runs)
    assert Replay.read(results.folder(ws) / results.RESULT) == made
    assert {finding.verdict for finding in made.findings} == {"too little to say"}, "two seeds decide nothing"
    before = results.record_path(ws, "v7", 1).stat().st_mtime_ns
    again = replay(ws, LITTLE, 2, SILENT, device="cpu")
    assert again.runs == made.runs and results.record_path(ws, "v7", 1).stat().st_mtime_ns == before


@pytest.mark.endurance
def test_a_record_that_is_lost_is_measured_again_without_training(tmp_path: Path) -> None:
    ws = workspace_for(tmp_path / "replay", LITTLE)
    scale = replace(LITTLE, versions=("v5",), train=2)
    (before,) = replay(ws, scale, 1, SILENT, device="cpu").runs
    folder = runs_folder(ws) / before.run
    kept = {path.name: path for path in folder.rglob("*.safetensors")}
    assert set(kept) == {"student.safetensors", "best.safetensors"}, "no optimiser state is kept"
    assert os.path.samefile(folder / "student.safetensors", kept["best.safetensors"])
    results.record_path(ws, "v5", 0).unlink()
    events = (folder / "events.jsonl").read_bytes()
    ran: list[RunRecord] = []
    (after,) = replay(ws, scale, 1, Watch(lambda what, done, total: None, ran.append), device="cpu").runs
    assert after == before and ran == [before]
    assert (folder / "events.jsonl").read_bytes() == events, "nothing was trained"
    assert [version.name for version in hub(ws).versions()] == ["v5"]


class Diverging(Scale):
    """A scale at which every step of V5 is one too far."""

    def settings(self, recipe: Recipe) -> tuple[str, ...]:
        return (*super().settings(recipe), "loss.weights.depth=1e39", "optimizer.batch_size=2")


@pytest.mark.endurance
def test_a_version_that_diverges_leaves_findings_open_and_does_not_end_the_replay(tmp_path: Path) -> None:
    ws = workspace_for(tmp_path / "replay", LITTLE)
    scale = Diverging("little", (64, 96), LITTLE.frames, train=3, fine_tune=1, versions=("v5", "v7"), measured=("nyu", "lilocbench"))
    made = replay(ws, scale, 1, SILENT, device="cpu")
    assert [(run.version, run.scores, run.registered) for run in made.runs] == [("v5", {}, None), ("v7", {}, None)]
    assert "batches in a row were not finite" in str(made.runs[0].diverged)
    assert made.runs[1].diverged == "not trained, as v5 has no weights to start from"
    assert {finding.verdict for finding in made.findings} == {OPEN} and hub(ws).versions() == []
    for line in made.lost:
        assert line in generated(made)
    begun = set(runs_folder(ws).iterdir())
    assert replay(ws, scale, 1, SILENT, device="cpu").runs == made.runs and set(runs_folder(ws).iterdir()) == begun


OVER_FRAMES = Verdict(
    metric="rmse", direction="lower", word="better", a=0.8, b=1.0, difference=-0.2, margin=0.01, margin_share=0.01, frames=60,
    interval=Interval(estimate=-0.2, low=-0.3, high=-0.1, n=5), effective_frames=31.4, sequences=2, method="batches",
)  # fmt: skip


def _replay(verdict: str = HOLDS) -> Replay:
    score = Score(camera="c", protocol="p", frames=4, values={"rmse": 0.5, "miou": 0.4})
    runs = tuple(
        RunRecord(
            version="v3",
            seed=seed,
            run=f"r{seed}",
            registered=None,
            truncated=None,
            best_epoch=1,
            epochs=2,
            seconds=1.0,
            scores={NYU: score},
        )
        for seed in range(3)
    )
    part = Part(
        claim="a is better", quantity="RMSE a / b", unit="ratio", above=None, below=1.0, values={0: 0.8, 1: 0.81, 2: 0.79},
        seeds=Interval(estimate=0.8, low=0.77, high=0.83, n=3), by_frames=True, frames=OVER_FRAMES,
        published="−33 %", verdict=verdict,
    )  # fmt: skip
    points = part.model_copy(update={"unit": "points", "values": {0: -3.0}, "seeds": None, "frames": None, "verdict": OPEN})
    findings = (
        Finding(key="F4", title="larger helps", parts=(part,), verdict=verdict),
        Finding(key="F6", title="costs mIoU", parts=(part, points), verdict=OPEN),
    )
    return Replay(
        scale="tiny", size=(64, 96), seeds=3, device="cpu", seconds=600.0, sets=(), constants={NYU: 1.03}, runs=runs, findings=findings
    )


def test_the_page_says_every_finding_and_keeps_what_stands_above_its_mark() -> None:
    text = page(f"# Replay\n\nBy hand.\n\n{MARK}\n\nold figures\n", _replay(FAILS))
    assert text.startswith("# Replay\n\nBy hand.\n\n" + MARK) and "old figures" not in text
    for words in (
        "| F4 | larger helps | **does not hold** |",
        "0.8 (0.77 to 0.83)",
        "better: -0.2000 m (-0.3000 m to -0.1000 m; worth 31 frames)",
        "below 1",
        "10.0 minutes",
        "−33 %",
    ):
        assert words in text, words
    assert page(text, _replay(FAILS)) == text
    assert "F6 say which" in text and "errors of single frames were not kept" in text.split("### F6")[1]


def test_numbers_are_written_for_people() -> None:
    assert [number(value) for value in (0.12345, 61.26, 3456.7, float("inf"))] == ["0.123", "61.3", "3,457", "not finite"]


def test_pictures_show_what_there_is(tmp_path: Path) -> None:
    made = draw(_replay(), tmp_path)
    assert [path.read_bytes()[:4] for path in made] == [b"\x89PNG"] * len(made)
    assert [path.name for path in made] == ["replay-recipes.png"], "a group without findings has no picture"


def test_the_command_shows_every_quantity_with_its_interval_and_every_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.session, "json", False)
    monkeypatch.setenv("COLUMNS", "160")
    lost = RunRecord(version="v1", seed=2, run="r", diverged="far away")
    made = _replay(FAILS).model_copy(update={"runs": (*_replay().runs[:2], lost)})
    console.emit(made, *command._result(made))
    told = " ".join(capsys.readouterr().out.split())
    for words in (
        "RMSE a / b",
        "0.8 (0.77 to",
        "below 1",
        "does not hold",
        "too little to say",
        "3 runs in 10.0 min",
        "larger helps",
        "v1 seed 2 decides nothing: far away",
    ):
        assert words in told, words


@pytest.mark.parametrize(("arguments", "code", "told"), [
    (["--scale", "huge"], 2, "huge"),
    (["--seeds", "0"], 2, "--seeds"),
    (["--workspace", "mine"], 1, "mine is not empty and no workspace"),
])  # fmt: skip
def test_what_the_command_refuses(tmp_path: Path, arguments: list[str], code: int, told: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    line = [sys.executable, "-m", "vortex_cli.main", "replay", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    answer = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert answer.returncode == code and told in answer.stderr and answer.stdout == ""


def test_the_documented_result_is_the_recorded_one() -> None:
    recorded = ROOT / "docs" / results.RESULT
    if not recorded.exists():
        pytest.skip("no replay is recorded in docs/ yet: python -m benchmarks.replay --write")
    assert (ROOT / "docs" / "replay.md").read_text(encoding="utf-8").endswith(generated(Replay.read(recorded)))
