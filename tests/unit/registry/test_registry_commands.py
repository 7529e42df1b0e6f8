"""`vortex versions|show|lineage|history`: what they say, as tables and as JSON, and on an empty workspace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError, VortexError
from pipelines import init
from pipelines.hub import open as pipeline
from pipelines.workspace import Workspace
from registry.channels import Channel
from registry.edges import DataEdge, WeightsEdge
from registry.events.version import VersionExported, VersionMeasured
from registry.ledger import Ledger
from registry.records import Artifact, Export, Metrics, NewVersion
from registry.stages import StageJudgement, record_promotion, rollback
from registry.versions import append_registration
from vortex_cli import console
from vortex_cli.commands.history import history
from vortex_cli.commands.lineage import lineage
from vortex_cli.commands.show import show
from vortex_cli.commands.versions import versions
from vortex_cli.completion import complete_datasets, complete_domains, complete_versions, complete_versions_and_datasets

COMMANDS: list[Callable[..., None]] = [versions, lineage, history]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace's configuration: these commands need no more of it."""
    (tmp_path / "vortex.toml").write_text(init.CONFIG)
    monkeypatch.setattr(console, "session", console.Session(workspace_dir=tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TZ", "UTC")
    yield console.workspace()


@pytest.fixture
def filled(place: Workspace, make_new: Callable[..., NewVersion]) -> Workspace:
    """v6 in production, v10 fine-tuned from it, refused there."""
    ledger = Ledger(place.ledger_url)
    values = {"rmse": 0.519, "miou": 0.485, "delta1": 0.8, "iou_glass": 0.25}
    one = Metrics("corridor", "femto-bolt", "val-pooled-10m/1", "corridor_eval", "ab" * 32, values, 20)
    with ledger.transaction() as tx:
        first = append_registration(tx, make_new("1", truncated="154 of 200 epochs"), 1, actor="Ada <a@b>", reason="base", commit="f" * 40)
        parents = (WeightsEdge("v6"), DataEdge("corridor", "ab" * 32))
        second = append_registration(tx, make_new("2", derived=True, parents=parents, codename=""), 2, actor="Ada <a@b>")
        for name, rmse in ((first, 0.519), (second, 0.601)):
            tx.append(VersionMeasured(name, replace(one, values=values | {"rmse": rmse})), actor="Ada <a@b>")
        export = Export(Artifact("x.onnx", "ef" * 32, 7_000_000), size=(120, 160), opset=20, parity_m=1.5e-5, parity_on="noise", frames=4)
        tx.append(VersionExported(first, export), actor="Ada <a@b>")
    check = {"name": "rmse not worse", "asked": "≤ 0.519 m", "found": "0.601 m", "passed": False}
    passed = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
    record_promotion(ledger, Channel("host", "corridor"), "v6", passed, 0, actor="Grace", reason="good night run")
    refused = [passed[0], StageJudgement("staging", False, (check,))]
    record_promotion(ledger, Channel("host", "corridor"), "v10", refused, 3, actor="Grace")
    return place


def said(capsys: pytest.CaptureFixture[str], command: Callable[..., None], *words: Any, **options: Any) -> str:
    command(*words, **options)
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], command: Callable[..., None], *words: Any, **options: Any) -> Any:
    console.session.json = True
    try:
        return json.loads(said(capsys, command, *words, **options))
    finally:
        console.session.json = False


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_workspace_is_empty_with_a_hint_and_stays_so(
    command: Callable[..., None], place: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {} if command is versions else {"name": None} if command is lineage else {"version": None}
    command(
        **arguments,
        **({"data": True} if command is lineage else {"domain": None}),
        **({"device": None, "last": None} if command is history else {}),
    )
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "vortex train v6" in printed.err
    with pytest.raises(VortexError, match="there is no version yet"):
        show("v6")
    assert sorted(path.name for path in place.root.iterdir()) == ["vortex.toml"]


def test_versions_names_domain_and_camera_of_every_number(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, versions, domain=None)
    row = next(line for line in text.splitlines() if line.startswith("v6"))
    for word in ("v6†", "Cornerstone", "recipe v5", "120x160", "0.519", "48.5", "corridor · femto-bolt", "production host"):
        assert word in row
    row = next(line for line in text.splitlines() if line.startswith("v10"))
    assert "weights v6" in row
    assert "candidate host" in row
    assert said(capsys, versions, domain="rooms") == ""
    with pytest.raises(VortexError, match="unknown domain 'attic'"):
        versions(domain="attic")


def test_versions_fits_80_columns(filled: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = said(capsys, versions, domain=None).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("v") for line in lines) == 3, "a row wrapped"


def test_versions_as_json(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = as_json(capsys, versions, domain=None)
    assert (first["name"], first["number"], first["size"]) == ("v6", 6, [120, 160])
    assert first["headline"] == {"domain": "corridor", "camera": "femto-bolt", "rmse": 0.519, "miou": 0.485}
    assert first["stages"] == [{"channel": "host/corridor", "stage": "production"}]
    assert second["parents"][0] == {"kind": "weights", "ref": "v6", "detail": ""}


def test_many_versions_are_listed_in_one_line_each(
    place: Workspace, make_new: Callable[..., NewVersion], capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger(place.ledger_url).transaction() as tx:
        for number in range(250):
            append_registration(tx, make_new(str(number), codename=f"C{number}"), number, actor="Ada")
    lines = said(capsys, versions, domain=None).splitlines()
    assert len(lines) == 251
    assert lines[1].startswith("v6")
    assert lines[-1].startswith("v258")
    assert lines[0].index("measured on") == lines[-1].index("corridor, not yet")


def test_show_tells_everything(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, show, "v6")
    expected = (
        "Cornerstone",
        "154 of 200 epochs",
        "f" * 40,
        "da3-metric-large",
        "val-pooled-10m/1",
        "0.519",
        "25.0",
        "1.5e-05 m",
        "4 of noise",
    )
    for word in (*expected, "encoder_lr=3e-05", "train 72, val 20", "production host/corridor", "good night run", "7.0 MB"):
        assert word in text, word
    found = as_json(capsys, show, "v6")
    assert found["recipe_config"] == {"name": "v6", "optimizer": {"encoder_lr": 3e-5}}
    assert found["metrics"][0]["values"]["iou_glass"] == 0.25
    assert [event["kind"] for event in found["history"]][:2] == ["version.registered", "version.measured"]


def test_lineage_draws_typed_edges_and_declared_parents(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, lineage, None, data=True)
    assert "(v5)  declared, not registered here" in text
    assert "recipe → v6" in text
    assert "weights → v10" in text
    assert "teacher da3-metric-large  data corridor@abababab" in text
    assert "teacher" not in said(capsys, lineage, "v10", data=False)
    nodes = {node["name"]: node for node in as_json(capsys, lineage, None, data=True)}
    assert nodes["v5"] == {"name": "v5", "declared": True, "parents": [], "children": ["v6"], "unproven": None, "quarantined": []}
    assert nodes["v6"]["children"] == ["v10"]
    with pytest.raises(VortexError, match="there are: v6, v10"):
        lineage("v11", data=True)


def test_history_says_who_what_why_and_which_check_failed(
    filled: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    everything = {"version": None, "domain": None, "device": None, "last": None}
    text = said(capsys, history, **everything)
    rows = {int(line.split()[0]): line for line in text.splitlines() if line.split()[:1] and line.split()[0].isdecimal()}
    assert "v6 registered, from recipe v5" in rows[1]
    assert "Ada" in rows[1]
    assert "a@b" not in rows[1]
    assert rows[1].rstrip().endswith("ffffffff")
    assert "v6 to production on host/corridor" in rows[8]
    assert "good night run" in rows[8]
    assert "v10 refused for staging on host/corridor: rmse not worse (asked ≤ 0.519 m, found 0.601 m)" in rows[10]
    assert len(as_json(capsys, history, **everything)) == 10
    assert len(as_json(capsys, history, **{**everything, "domain": "corridor"})) == 5
    assert as_json(capsys, history, **{**everything, "domain": "rooms"}) == []
    assert [event["seq"] for event in as_json(capsys, history, **{**everything, "last": 2})] == [9, 10]
    assert {event["subject"] for event in as_json(capsys, history, **{**everything, "version": "v10"})} == {"v10", "host/corridor"}


def test_history_tells_of_a_rollback(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(filled.ledger_url)
    channel = Channel("host", "corridor")
    record_promotion(ledger, channel, "v10", [StageJudgement("production", True)], 4, actor="Grace")
    rollback(ledger, channel, actor="Grace", reason="glass door")
    text = " ".join(said(capsys, history, None, domain="corridor", device="host", last=1).split())
    assert "host/corridor rolled back to v6, from v10" in text
    assert "glass door" in text


def test_completion_offers_what_is_there_and_never_fails(filled: Workspace, tmp_path: Path) -> None:
    assert complete_versions("v1") == ["v10"] and complete_domains("") == ["corridor", "rooms"]
    for name in ("kitchen", "office"):
        (filled.data / name).mkdir(parents=True)
    assert complete_datasets("") == ["kitchen", "office"] and complete_datasets("off") == ["office"] and complete_datasets("*") == []
    assert complete_versions_and_datasets("") == ["v6", "v10", "kitchen", "office"]
    console.session.workspace_dir = tmp_path / "nowhere"
    assert complete_versions_and_datasets("") == complete_domains("") == []


def test_actor_and_commit_come_from_git_where_there_is_one(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.root.parent))
    monkeypatch.chdir(place.root)
    monkeypatch.delenv("VORTEX_ACTOR", raising=False)
    assert pipeline.commit(place) is None
    assert pipeline.actor()
    for words in (
        ["init", "-q"],
        ["config", "user.name", "Ada"],
        ["config", "user.email", "a@b"],
        ["add", "vortex.toml"],
        ["commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert pipeline.commit(place) == head
    assert pipeline.actor() == "Ada <a@b>"
    (place.root / "new.txt").write_text("untracked files say nothing about the code")
    assert pipeline.commit(place) == head
    (place.root / "vortex.toml").write_text("")
    assert pipeline.commit(place) == f"{head}-dirty"
    monkeypatch.setenv("VORTEX_ACTOR", "ci")
    assert pipeline.actor() == "ci"


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reader whose clocks are put forward and back."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("at", "fault", "allowed"),
    [
        ("2026-10-25T02:30", "the clocks here showed that twice", ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00")),
        ("2026-03-29T02:30", "the clocks here skipped that", ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00")),
    ],
)
def test_an_hour_that_was_twice_or_not_at_all_is_asked_back(
    filled: Workspace, in_berlin: None, at: str, fault: str, allowed: tuple[str, str]
) -> None:
    with pytest.raises(UsageError, match=fault) as raised:
        history(at=at)
    assert raised.value.hint == f"say which is meant: --at {allowed[0]} or --at {allowed[1]}"
    for moment in (*allowed, "2026-10-25T04:00", "2026-03-29T03:00"):
        history(at=moment)


def test_a_moment_that_is_to_come_is_said_to_be(filled: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    history(at="2126-01-01T00:00Z")
    said = capsys.readouterr()
    assert "2126-01-01T00:00Z is still to come: this is how it stands now" in said.err
    assert "host/corridor" in said.out
    history(at="2026-01-01T00:00Z")
    assert "to come" not in capsys.readouterr().err
