"""The report: what it tells, that it is written whole, and that it does not obey what it quotes."""

from __future__ import annotations

import html
import json
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.registry import fill
from core.errors import VortexError
from pipelines.hub.lineage_file import SHIPPED_FILE
from pipelines.hub.open import hub
from pipelines.ship.quarantine import quarantine
from pipelines.site.register import read
from pipelines.site.writing import MARKER, write_report
from pipelines.workspace import Workspace
from registry.ledger import Ledger
from vortex_cli.app import app


def text_of(page: Path) -> str:
    """What a reader reads, in one line."""
    shown = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<head>.*?</head>", " ", page.read_text(), flags=re.S)
    shown = re.sub(r"</?(?:a|b|code|span)\b[^>]*>", "", shown)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_newcomer_learns_all_of_a_channel_from_the_first_page(lineage: Workspace) -> None:
    text = text_of(lineage.build / "report" / "index.html")
    card = text[text.index("host/corridor") : text.index("host/rooms")]
    assert card.startswith("host/corridor runs v9 In quarantine") and re.search(r"since 20[-0-9]+ [:0-9]+ UTC, by Ada why", card)
    assert "passed 2 of 2 checks of production; not-worse-rmse: better: 1.5890 m against 1.3730 m" in card
    assert "instead of v4, compared made from weights v6" in card
    assert "corridor · femto_bolt (corridor_eval): RMSE 1.5890 m (240 frames, val-pooled-10m/1)" in card
    assert "rooms, rmse: worse: forgotten, +199.2 % (0.5190 m → 1.5530 m)" in card
    assert "what would replace it v7, by the figures of exams: v7 is the only candidate" in card
    assert "v7 is in candidate since" in card and "a rollback brings back v4" in card


def test_the_page_of_a_version_keeps_exams_apart_and_judges_it_against_its_parent(lineage: Workspace) -> None:
    text = text_of(lineage.build / "report" / "versions" / "v9.html")
    assert "production on host/corridor" in text and "Measured, and no exam" not in text
    assert "On rooms · kinect (nyu), against v6: worse by RMSE, 1.5530 m against 0.5190 m" in text
    assert "On corridor · femto_bolt (corridor_eval), against v6: better by RMSE, 1.5890 m against 2.1580 m" in text
    assert re.search(r"Worst frames on rooms · kinect \(nyu\) \d{4} 1\.7\d\d m", text)
    refused = text_of(lineage.build / "report" / "versions" / "v8.html")
    assert "v8 refused for candidate on host/corridor" in refused and "holds no stage" in refused


def test_a_quarantine_is_said_wherever_it_reaches(lineage: Workspace) -> None:
    site = lineage.build / "report"
    card = text_of(site / "index.html")
    assert "runs v9 In quarantine, so it enters no stage: v6 is in quarantine since" in card
    row = text_of(site / "quarantine.html")
    assert (
        "2 versions are barred" in row
        and "its data was mixed up" in row
        and "v6 , v9 v9 on host/corridor" in row.replace("v6, v9", "v6 , v9")
    )
    assert "quarantined" in text_of(site / "versions" / "index.html") and "v6 quarantined" in text_of(site / "history" / "index.html")


def test_a_quarantine_of_one_content_reaches_what_saw_it(workspace: Workspace, make_version: Callable[..., str]) -> None:
    name = make_version()
    use = hub(workspace).get(name).data[0]
    quarantine(workspace, f"{use.name}@{use.digest[:12]}", reason="mirrored frames")
    register = read(workspace)
    assert register.barred == hub(workspace).barred() and list(register.barred) == [name]
    assert register.quarantines[0].contents == (use.digest,)
    write_report(workspace, pictures=False)
    assert "1 version is barred" in text_of(workspace.build / "report" / "quarantine.html")


def test_text_of_users_is_quoted_and_never_obeyed(lineage: Workspace) -> None:
    for page in (lineage.build / "report").rglob("*.html"):
        source = page.read_text()
        assert "<script" not in source and "\x1b" not in source and "‮" not in source and 'href="javascript' not in source
    index = (lineage.build / "report" / "index.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; **door**" in index and "{{7*7}}" in index


def _killed(ws: Workspace, page: str) -> None:
    """A report whose process is killed when it opens `page`."""

    def die(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(page):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die)
    write_report(ws)


def test_a_killed_report_leaves_the_old_one_and_the_next_is_the_same(lineage: Workspace) -> None:
    before = tree(lineage.build / "report")
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(lineage, "/history/index.html"))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert tree(lineage.build / "report") == before and list(lineage.build.glob(".report.*.staging"))
    report = write_report(lineage)
    assert (report.versions, report.event, report.pages) == (7, hub(lineage).ledger.noted().seq, 21)
    assert tree(lineage.build / "report") == before and not list(lineage.build.glob(".report.*"))


def test_a_folder_that_is_no_report_is_left_alone(lineage: Workspace, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for name in ("thesis", "file"):
        with pytest.raises(VortexError, match="no report"):
            write_report(lineage, tmp_path / name)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"
    with pytest.raises(VortexError, match="v77"):
        write_report(lineage, versions=["v77"])


def test_what_was_published_has_a_page_and_says_that_it_was_not_measured(workspace: Workspace) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["import", str(SHIPPED_FILE), "--workspace", str(workspace.root)]).exit_code == 0
    answer = runner.invoke(app, ["report", "--json", "--workspace", str(workspace.root)])
    assert answer.exit_code == 0 and json.loads(answer.stdout)["versions"] == 0
    page = text_of(workspace.build / "report" / "versions" / "v9.html")
    assert "published, without weights here" in page and "Published, not measured here" in page and "rmse 1.553 m" in page
    assert "vortex adopt CHECKPOINT.pt --as v9" in page
    listing = text_of(workspace.build / "report" / "versions" / "index.html")
    assert "Published, without weights here" in listing and "v9 Lighthouse" in listing
    assert "Nothing was promoted on any channel yet" in text_of(workspace.build / "report" / "index.html")


def test_a_large_registry_is_paged_and_not_worked_out(workspace: Workspace) -> None:
    fill(Ledger(workspace.ledger_url, head_file=workspace.ledger_head), 260)
    report = write_report(workspace, versions=["v12"])
    site = workspace.build / "report"
    assert report.worked_out == ("v12",) and (site / MARKER).exists()
    assert sorted(path.name for path in (site / "versions").glob("[ip]*")) == ["index.html", "page-2.html"]
    assert sorted(path.name for path in (site / "history").iterdir()) == ["1.html", "2.html", "3.html", "index.html"]
    assert (site / "history" / "1.html").read_text().count('<tr id="e') == 250
    assert "the newest 50 of" in (site / "index.html").read_text()
    assert "vortex report --version v11" in text_of(site / "versions" / "v11.html")
    assert "Against what it was made from" in text_of(site / "versions" / "v12.html")


def test_who_can_only_read_the_workspace_writes_a_report_elsewhere(
    lineage: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.site.writing.writable", lambda _: False)
    monkeypatch.setattr("pipelines.site.writing.locked", None)
    assert write_report(lineage, tmp_path / "report", pictures=False).index.is_file()
