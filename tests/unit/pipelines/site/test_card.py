"""Cards for the Hugging Face hub: what is in them, that its own library reads them back, and that they reach a hub."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, parse_eval_result_entries
from ruamel.yaml import YAML
from typer.testing import CliRunner

from core.errors import UsageError, VortexError
from core.files import write_atomic
from pipelines.hub.lineage_file import SHIPPED_FILE
from pipelines.hub.open import hub
from pipelines.site.card import card, plain, push
from pipelines.workspace import FILE, Workspace, load
from registry.events.version import VersionMeasured
from registry.quarantine import record, standing
from registry.records import Metrics
from tests.unit.pipelines.compare.lineage_registry import register
from vortex_cli.app import app

NAMES = """
[huggingface]
license = "apache-2.0"
[huggingface.models]
v6 = "team/cornerstone"
[huggingface.datasets.nyu]
id = "lab/nyu_depth_v2"
tasks = {depth = "rmse", classes = "miou"}
"""
TOKEN = "hf_" + "q" * 30


@pytest.fixture
def published(workspace: Workspace) -> Workspace:
    """A workspace with V3 to V9, and names for the hub."""
    register(workspace)
    write_atomic(workspace.root / FILE, (workspace.root / FILE).read_text() + NAMES)
    return load(workspace.root)


def test_the_hubs_own_library_reads_the_card_back(published: Workspace) -> None:
    result = card(published, "v9")
    data = ModelCard(result.readme).data
    assert (data.license, data.base_model, data.pipeline_tag, data.model_name) == (
        "apache-2.0",
        "team/cornerstone",
        "depth-estimation",
        "v9",
    )
    assert str(ModelCard(result.readme)) == result.readme
    figures = {(each.dataset_type, each.metric_type): each for each in data.eval_results or []}
    assert figures["lab/nyu_depth_v2", "rmse"].metric_value == 1.553 and figures["lab/nyu_depth_v2", "miou"].metric_value == 0.316
    assert figures["lilocbench", "rmse"].metric_value == 0.382
    assert figures["lilocbench", "rmse"].dataset_args == {
        "camera": "realsense_d455", "protocol": "val-pooled-10m/1", "content": "lilocbench".ljust(64, "0"), "frames": 240,
    }  # fmt: skip
    assert all(each.verified is None and each.dataset_split == "validation" for each in figures.values())
    assert list(result.eval_results) == [".eval_results/nyu.yaml"]
    entries = parse_eval_result_entries(YAML(typ="safe").load(result.eval_results[".eval_results/nyu.yaml"]))
    assert [(entry.dataset_id, entry.task_id, entry.value) for entry in entries] == [
        ("lab/nyu_depth_v2", "depth", 1.553),
        ("lab/nyu_depth_v2", "classes", 0.316),
    ]
    assert entries[0].notes == "RMSE, kinect, 240 frames, val-pooled-10m/1, not aligned, content nyu000000000"


def test_the_text_says_what_it_is_for_and_what_it_is_not(published: Workspace) -> None:
    text = card(published, "v9").readme
    assert "It forgot what v6 knew: rmse on rooms went from 0.5190 m to 1.5530 m (+199.2 %)." in text
    assert "| lilocbench | corridor | 5000 train | passed | lilocbench-d |" in text
    assert "It started from the weights of v6, and has their limits too." in text
    assert "The labelled pixels of its training were not counted." in text
    for unnamed in ("v3", "v5"):
        assert ModelCard(card(published, unnamed).readme).data.base_model is None


def test_what_is_no_exam_and_what_was_only_declared_is_in_no_metadata(workspace: Workspace) -> None:
    register(workspace)
    aligned = Metrics("rooms", "kinect", "train-pooled-10m/1+part", "nyu", "a" * 64, {"rmse": 0.001}, 9)
    hub(workspace).ledger.append(VersionMeasured("v3", aligned), actor="test")
    figures = ModelCard(card(workspace, "v3").readme).data.eval_results or []
    assert [each.metric_value for each in figures] == [1.160, 0.393] and "0.001" not in card(workspace, "v3").readme
    assert ModelCard(card(workspace, "v3").readme).data.license is None
    answer = CliRunner().invoke(app, ["card", "v77", "--workspace", str(workspace.root)])
    assert isinstance(answer.exception, VortexError) and "v77" in answer.exception.message


def test_a_version_that_was_only_published_has_no_card(workspace: Workspace) -> None:
    assert CliRunner().invoke(app, ["import", str(SHIPPED_FILE), "--workspace", str(workspace.root)]).exit_code == 0
    with pytest.raises(VortexError, match="declared"):
        card(workspace, "v9")


def test_text_of_users_is_no_markdown() -> None:
    assert plain("a|b\n# [x](javascript:1) <img> *b* _c_ `d`\x1b") == "a\\|b \\# \\[x\\](javascript:1) &lt;img&gt; \\*b\\* \\_c\\_ \\`d\\`␛"
    assert plain("- item") == "\\- item"


def test_names_that_no_card_can_have_are_refused(published: Workspace) -> None:
    text = (published.root / FILE).read_text()
    write_atomic(published.root / FILE, text.replace('classes = "miou"', 'classes = "beauty"'))
    with pytest.raises(UsageError, match=r"tasks\.classes is 'beauty', allowed: rmse, mae"):
        card(load(published.root), "v9")
    write_atomic(published.root / FILE, text.replace("lab/nyu_depth_v2", "no slash"))
    with pytest.raises(VortexError, match=r"huggingface\.datasets\.nyu\.id"):
        load(published.root)


@contextmanager
def loopback(status: int = 200) -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    """A hub of one's own, as far as a card needs it: its address, and what it was asked as (path, authorization, body)."""
    asked: list[tuple[str, str, Any]] = []

    class Hub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            lines = [json.loads(line) for line in body.splitlines()]
            asked.append((self.path, self.headers["Authorization"], lines))
            address = f"http://127.0.0.1:{self.server.server_address[1]}/team/corridor"  # type: ignore[str-bytes-safe]
            answers: dict[str, Any] = {
                "/api/repos/create": {"url": address, "name": "team/corridor", "id": "1"},
                "/api/validate-yaml": {"errors": [], "warnings": []},
                "/api/models/team/corridor/preupload/main": {
                    "files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in lines[0].get("files", [])]
                },
                "/api/models/team/corridor/commit/main": {
                    "commitUrl": f"{address}/commit/{'c' * 40}",
                    "commitOid": "c" * 40,
                    "hookOutput": "",
                },
            }
            self.send_response(status if self.path in answers else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answers.get(self.path, {})).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_card_reaches_a_hub_as_one_commit(published: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with loopback() as (address, asked):
        monkeypatch.setenv("HF_ENDPOINT", address)
        words = ["card", "v9", "-o", str(tmp_path / "README.md"), "--push", "team/corridor", "--json", "--workspace", str(published.root)]
        answer = CliRunner().invoke(app, words)
        assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["commit"].endswith(f"/team/corridor/commit/{'c' * 40}") and TOKEN not in answer.output
    assert {authorization for _, authorization, _ in asked} == {f"Bearer {TOKEN}"}
    by_path = {path: lines for path, _, lines in asked}
    assert by_path["/api/repos/create"][0]["visibility"] == "private"
    header, *files = by_path["/api/models/team/corridor/commit/main"]
    assert header["value"]["summary"] == "Card of v9, written by vortex"
    content = {file["value"]["path"]: base64.b64decode(file["value"]["content"]).decode() for file in files}
    assert content == card(published, "v9").files()
    assert (tmp_path / "README.md").read_text() == content["README.md"]
    assert (tmp_path / ".eval_results" / "nyu.yaml").read_text() == content[".eval_results/nyu.yaml"]


def test_what_keeps_a_card_from_a_hub_is_told_without_the_token(
    published: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = card(published, "v9")
    with pytest.raises(UsageError, match="OWNER/NAME"):
        push(result, "corridor")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with loopback(403) as (address, _):
        monkeypatch.setenv("HF_ENDPOINT", address)
        with pytest.raises(VortexError, match="the hub refused") as refused:
            push(result, "team/corridor")
    assert TOKEN not in str(refused.value) and "rights" in refused.value.hint
    with pytest.raises(VortexError, match="cannot be reached"):  # the server is gone
        push(result, "team/corridor")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(VortexError, match="wants a token"):
        push(result, "team/corridor")


def test_a_quarantine_is_the_first_limit_of_the_version_and_of_what_has_its_weights(published: Workspace) -> None:
    record(hub(published).ledger, "version", "v6", actor="Ada", reason="labels <of> the wrong building")
    day = standing(hub(published).ledger)[0].at[:10]
    sentence = f"## Limits\n\n- Do not deploy it: v6 is in quarantine since {day}: labels &lt;of&gt; the wrong building."
    for name in ("v6", "v9"):
        assert sentence in card(published, name).readme
    assert "quarantine" not in card(published, "v7").readme
