"""An archive opens without Vortex, is whole or refused, grows by what is new, and comes back with the same hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import safetensors.numpy
from typer.testing import CliRunner

from core.errors import VortexError
from pipelines.archive.layout import MANIFEST, run_content
from pipelines.archive.restoring import restore
from pipelines.archive.writing import archive
from pipelines.hub.history import moment
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.workspace import Workspace
from registry import audit
from registry.store import run_record
from tests.unit.pipelines.small_registry import measure
from vortex_cli.app import app


def faults(ws: Workspace) -> list[audit.Fault]:
    """All that an audit finds, MLflow included."""
    registry = hub(ws)
    versions = registry.versions()
    return [
        *audit.ledger_faults(registry.ledger)[1],
        *audit.artifact_faults(registry, versions)[1],
        *audit.mlflow_faults(registry, versions),
    ]


def test_it_opens_without_vortex(small_registry: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    archive(small_registry, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert paths == {*manifest["files"], MANIFEST}
    for path, file in manifest["files"].items():
        assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == file["sha256"]

    previous, errors = "0" * 64, {}
    for line in (folder / "ledger" / "000000001-000000019.jsonl").read_text().splitlines():
        event = json.loads(line)
        digest = event.pop("hash")
        text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert (event["previous"], digest) == (previous, hashlib.sha256(text.encode()).hexdigest())
        previous = digest
        if event["kind"] == "version.measured":
            errors[event["subject"]] = json.loads(event["body"])["metrics"]["errors"]["sha256"]
    assert previous == manifest["head"]["hash"]

    frames = pl.read_parquet(folder / "errors" / f"{errors['v9']}.parquet")
    assert frames["frame"].to_list() == ["f0", "f1", "f2", "f3"]
    assert (frames["squared"].sum() / frames["count"].sum()) ** 0.5 == pytest.approx(0.519, abs=1e-4)
    assert np.load(folder / "artifacts" / f"{errors['v9']}.npz")["sum_count"].tolist() == [10.0] * 4
    v10 = next(version for version in manifest["versions"] if version["name"] == "v10")
    assert v10["stages"] == {"host/corridor": "production"}
    assert v10["headline"]["rmse"] == 0.43
    assert list(safetensors.numpy.load_file(folder / v10["weights"])) == ["depth_head.bias"]
    assert onnx.load(folder / v10["exports"][0]).graph.name == "v10"


def test_the_check_in_its_readme_runs(small_registry: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(small_registry, tmp_path / "archive")
    monkeypatch.chdir(tmp_path / "archive")
    lines = Path("README.md").read_text().splitlines()
    code = "\n".join(line[4:] for line in lines if line.startswith("    "))
    exec(code)
    ledger = next(Path("ledger").glob("*.jsonl"))
    ledger.write_text(ledger.read_text().replace("late braking", "no reason"))
    with pytest.raises(AssertionError):
        exec(code)


def test_it_comes_back_with_the_same_hashes_and_the_same_history(
    small_registry: Workspace, blank_registry: Workspace, tmp_path: Path
) -> None:
    before = hub(small_registry)
    archive(small_registry, tmp_path / "archive")
    for epoch, loss in enumerate((2.0, float("nan"), 0.5)):
        before.store.log_metrics(before.get("v9").run_id, {"train/loss": loss}, epoch)
    before.store.log_params(before.get("v9").run_id, {"optimizer": {"lr": 3e-4}})
    failed = before.store.start_run("one that became no version", {"why": "tried"})
    archived = archive(small_registry, tmp_path / "archive")
    assert archive(small_registry, tmp_path / "archive").new_files == 0
    shutil.rmtree(small_registry.root / "mlruns" / "artifacts")
    restored = restore(blank_registry, tmp_path / "archive")
    after = hub(blank_registry)
    assert restored.head == archived.head == before.ledger.verify() == after.ledger.noted()
    assert list(after.ledger.rows(0)) == list(before.ledger.rows(0)) != []
    assert after.ledger.claims() == before.ledger.claims()
    assert faults(blank_registry) == []
    # MLflow's runs are those that were, curves, parameters and tags; one that went on is the same after the way back.
    assert sorted(after.store.runs()) == sorted(before.store.runs()) and len(after.store.runs()) == 4
    for run in before.store.runs():
        assert run_content(after.store.export_run(run)) == run_content(before.store.export_run(run))
    points = after.store.export_run(after.get("v9").run_id).metrics
    assert [(step, value) for name, value, _, step in sorted(points, key=lambda point: point[3]) if name == "train/loss"][::2] == [
        (0, 2.0), (2, 0.5),
    ]  # fmt: skip
    assert after.store.export_run(failed).tags["why"] == "tried"

    moves = [entry for entry in before.ledger.entries() if entry.subject == "host/corridor" and entry.head["stage"] == "production"]
    instants = [datetime.fromisoformat(entry.at) for entry in moves]
    assert [entry.head["version"] for entry in moves] == ["v5", "v9", "v5", "v10"]  # the third is the rollback
    for instant, version, earlier in zip(instants, ["v5", "v9", "v5", "v10"], [None, "v5", "v9", "v5"], strict=True):
        for at, expected in ((instant, version), (instant - timedelta(milliseconds=1), earlier)):
            held = moment(after.ledger, at)
            assert held == moment(before.ledger, at)
            assert [holder.version for holder in held.channels if holder.stage == "production"] == ([expected] if expected else [])

    # It is a registry like any other: what is recorded from here on follows the chain, and is archived as an addition.
    measure(blank_registry, tmp_path, "v10", 0.41)
    again = archive(blank_registry, tmp_path / "archive")
    assert (again.events, again.new_events) == (20, 1)


def test_only_what_is_new_is_written(small_registry: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    first = archive(small_registry, folder)
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST}
    assert archive(small_registry, folder).new_files == 0
    measure(small_registry, tmp_path, "v10", 0.41)
    second = archive(small_registry, folder)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert (second.events - first.events, second.new_files) == (1, 4)  # a part of the ledger, errors twice, and the run as it went on
    assert sorted(path.name for path in (folder / "ledger").iterdir()) == ["000000001-000000019.jsonl", "000000020-000000020.jsonl"]


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def link(path: Path) -> None:
    shutil.move(path, path.parent.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change, "its content was changed"),
        (Path.unlink, "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, not"),
        (lambda path: (path.parent / "one-more.onnx").write_text("x"), "one-more.onnx: is not in the manifest"),
        (lambda path: (path.parent / "folder").symlink_to("/etc"), "folder: is not in the manifest"),
        (link, "leads out of"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is no plain file"),
    ],
)
def test_what_is_not_what_was_written_is_refused_by_name(
    damage: Callable[[Path], object], words: str, small_registry: Workspace, blank_registry: Workspace, tmp_path: Path
) -> None:
    archive(small_registry, tmp_path / "archive")
    path = min((tmp_path / "archive" / "artifacts").glob("*.onnx"))
    damage(path)
    with pytest.raises(VortexError, match="not what was written") as refusal:
        restore(blank_registry, tmp_path / "archive")
    assert words in refusal.value.message
    assert path.name in refusal.value.message or "is not in the manifest" in words
    assert not hub(blank_registry).ledger.entries()
    assert not (blank_registry.root / "mlruns" / "artifacts").exists()


def test_an_event_that_was_edited_with_its_file_recorded_anew_breaks_the_chain(
    small_registry: Workspace, blank_registry: Workspace, tmp_path: Path
) -> None:
    archive(small_registry, tmp_path / "archive")
    ledger = next((tmp_path / "archive" / "ledger").iterdir())
    content = ledger.read_bytes().replace(b"late braking", b"a bad mood ")
    ledger.write_bytes(content)
    manifest = json.loads((tmp_path / "archive" / MANIFEST).read_text())
    manifest["files"][f"ledger/{ledger.name}"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (tmp_path / "archive" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(VortexError, match="the chain breaks at event 16: its content"):
        restore(blank_registry, tmp_path / "archive")


def record_anew(folder: Path, path: Path, content: bytes) -> None:
    """Have the manifest vouch for other content of a file."""
    path.write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    recorded = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    manifest["files"][path.relative_to(folder).as_posix()] = recorded
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_a_file_that_was_exchanged_with_its_hash_is_none_that_the_ledger_names(
    small_registry: Workspace, blank_registry: Workspace, tmp_path: Path
) -> None:
    archive(small_registry, tmp_path / "archive")
    path = min((tmp_path / "archive" / "artifacts").glob("*.onnx"))
    record_anew(tmp_path / "archive", path, path.read_bytes() + b"x")
    settings = (blank_registry.root / "vortex.toml").read_text()
    with pytest.raises(VortexError, match=f"lacks artifacts/{path.name}, which an event of its ledger names"):
        restore(blank_registry, tmp_path / "archive")
    # Nothing was written before that was seen, in MLflow and settings neither.
    assert not (blank_registry.root / "mlruns" / "artifacts").exists() and not hub(blank_registry).store.runs()
    assert (blank_registry.root / "vortex.toml").read_text() == settings


def test_a_run_whose_id_leads_out_of_the_artifacts_is_refused(small_registry: Workspace, blank_registry: Workspace, tmp_path: Path) -> None:
    archive(small_registry, tmp_path / "archive")
    path = min((tmp_path / "archive" / "runs").iterdir())
    run = json.loads(path.read_text())
    record_anew(tmp_path / "archive", path, json.dumps({**run, "run_id": "../../elsewhere"}).encode())
    with pytest.raises(VortexError, match=r"'\.\./\.\./elsewhere' is no id of a run, allowed: 32 hexadecimal digits"):
        restore(blank_registry, tmp_path / "archive")
    assert not hub(blank_registry).store.runs()


def test_only_an_empty_registry_takes_an_archive(small_registry: Workspace, blank_registry: Workspace, tmp_path: Path) -> None:
    archive(small_registry, tmp_path / "archive")
    measure(small_registry, tmp_path, "v10", 0.41)
    with pytest.raises(VortexError, match="has 20 events of its own"):
        restore(small_registry, tmp_path / "archive")
    (blank_registry.root / "mlruns" / "artifacts" / "somebody").mkdir(parents=True)
    with pytest.raises(VortexError, match="holds runs that the archive does not have: somebody"):
        restore(blank_registry, tmp_path / "archive")


def test_what_an_interrupted_archive_left_is_no_archive_until_the_command_is_given_again(
    small_registry: Workspace, blank_registry: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    archive(small_registry, folder)
    (folder / MANIFEST).unlink()  # a first one, ended before its last write
    table = min((folder / "errors").iterdir())
    rows = pl.read_parquet(table)
    table.write_bytes(b"no manifest vouches for it")
    (folder / "artifacts" / ".x.onnx.12345678.staging").write_text("half")
    with pytest.raises(VortexError, match="has no manifest"):
        restore(blank_registry, folder)
    archive(small_registry, folder)
    assert pl.read_parquet(table).equals(rows)
    (folder / "ledger" / "000000020-000000021.jsonl").write_text("{}\n")  # an addition, ended before its last write
    with pytest.raises(VortexError, match=r"000000020-000000021\.jsonl: is not in the manifest") as refusal:
        restore(blank_registry, folder)
    assert refusal.value.hint.startswith("move that away"), "the archive is whole, and the registry may be gone"
    archive(small_registry, folder)
    assert restore(blank_registry, folder).events == 19


def test_a_restoring_that_was_ended_within_goes_on(small_registry: Workspace, blank_registry: Workspace, tmp_path: Path) -> None:
    archive(small_registry, tmp_path / "archive")
    registry = hub(blank_registry)
    version = hub(small_registry).get("v9")
    registry.store.import_run(run_record(version))
    stored = tmp_path / "small" / "mlruns" / "artifacts" / version.checkpoint.uri
    target = blank_registry.root / "mlruns" / "artifacts" / version.checkpoint.uri
    target.parent.mkdir(parents=True)
    shutil.copy(stored, target)
    assert restore(blank_registry, tmp_path / "archive").events == 19
    assert faults(blank_registry) == []
    assert restore(blank_registry, tmp_path / "archive").events == 19  # and once more changes nothing


def test_a_folder_of_something_else_is_left_alone(small_registry: Workspace, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_text("sea")
    with pytest.raises(VortexError, match=r"holds what no archive has: holiday.jpg"):
        archive(small_registry, tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.jpg"]


def test_an_artifact_that_is_gone_ends_the_archive_before_it_is_one(small_registry: Workspace, tmp_path: Path) -> None:
    change(next((small_registry.root / "mlruns" / "artifacts").rglob("v9.onnx")))
    with pytest.raises(VortexError, match=r"v9.onnx: its content is not what was registered"):
        archive(small_registry, tmp_path / "archive")
    assert not (tmp_path / "archive" / MANIFEST).exists()


def test_archives_of_two_ledgers_are_kept_apart(small_registry: Workspace, blank_registry: Workspace, tmp_path: Path) -> None:
    archive(small_registry, tmp_path / "archive")
    from tests.unit.pipelines.small_registry import register

    register(blank_registry, tmp_path, "v5")
    with pytest.raises(VortexError, match="holds the archive of another ledger"):
        archive(blank_registry, tmp_path / "archive")


def test_domains_and_devices_come_back_through_the_command_line(
    small_registry: Workspace, blank_registry: Workspace, tmp_path: Path
) -> None:
    toml = small_registry.root / "vortex.toml"
    toml.write_text(toml.read_text() + '\n[domains.lobby]\nkind = "room"\nexam = ["lobby_a"]\n\n[devices.jetson]\nruntime = "tensorrt"\n')
    run = CliRunner().invoke
    written = run(app, ["archive", str(tmp_path / "archive"), "--workspace", str(small_registry.root), "--json"])
    assert json.loads(written.stdout)["events"] == 19, written
    back = run(app, ["restore", str(tmp_path / "archive"), "--workspace", str(blank_registry.root), "--json"])
    assert json.loads(back.stdout)["added"] == ["domains.lobby", "devices.jetson"], back
    from pipelines.workspace import load

    assert load(blank_registry.root).config.domains["lobby"].exam == ("lobby_a",)
    assert load(blank_registry.root).device("jetson") == "jetson"


def test_an_empty_ledger_is_nothing_to_archive(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="the ledger is empty"):
        archive(init(tmp_path / "new"), tmp_path / "archive")
