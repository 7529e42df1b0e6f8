"""No password, token or query is shown, stored or logged, whichever setting it came by and whoever quotes it."""

from __future__ import annotations

import json
import pickle
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core import secret
from core.errors import VortexError
from core.secret import SecretUrl, hide
from pipelines.workspace import Workspace
from registry.ledger import Ledger
from vortex_cli import console
from vortex_cli.app import app

PASSWORD = "hunter2-0f9c"


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_remembered", set())


@pytest.mark.parametrize("url, shown", [
    ("postgresql+psycopg://vortex:hunter2-0f9c@db.lab:5432/vortex", "postgresql+psycopg://…@db.lab:5432/vortex"),
    ("postgresql://vortex@db.lab/vortex?password=hunter2-0f9c", "postgresql://vortex@db.lab/vortex?…"),
    ("https://hunter2-0f9c@mlflow.lab/", "https://…@mlflow.lab/"),
    ("https://mlflow.lab/?token=hunter2-0f9c#x", "https://mlflow.lab/?…"),
    ("https://mlflow.lab/#access_token=hunter2-0f9c", "https://mlflow.lab/?…"),
    ("mysql://vortex:hunter2-0f9c@w@db.lab/x", "mysql://…"),
    ("mysql://vortex:x/hunter2-0f9c@db.lab/x", "mysql://…"),
    ("mysql://vortex:x?hunter2-0f9c@db.lab/x", "mysql://…"),
    ("s3://bucket/folder?X-Amz-Signature=hunter2-0f9c", "s3://bucket/folder?…"),
    ("http://mlflow.lab:5000/path", "http://mlflow.lab:5000/path"),
    ("sqlite:////data/who?/me@home/#1/ledger.db", "sqlite:////data/who?/me@home/#1/ledger.db"),
    ("hunter2-0f9c-is-not-a-url-at-all", "hunter2-0f9c-is-not-…"),
])  # fmt: skip
def test_a_url_is_shown_as_where_it_leads(url: str, shown: str) -> None:
    assert str(SecretUrl(url)) == f"{SecretUrl(url)}" == shown
    assert repr(SecretUrl(url)) == f"SecretUrl({shown!r})"
    assert SecretUrl(url).reveal() == url and pickle.loads(pickle.dumps(SecretUrl(url))) == SecretUrl(url)


@pytest.mark.parametrize("text", [
    'connection failed: "host=db.lab user=vortex password=hunter2-0f9c dbname=x"',
    "connection failed: host=db.lab password='hunter2-0f9c and more' dbname=x",
    "(psycopg.OperationalError) could not parse postgresql://vortex:hunter2-0f9c@db.lab/x, see docs",
    "{'user': 'vortex', 'password': 'hunter2-0f9c'}",
    '{"aws_secret_access_key": "hunter2-0f9c"}',
    "HTTPSConnectionPool(host='mlflow.lab', port=443): Max retries exceeded with url: /api/2.0/get?token=hunter2-0f9c (Caused by X)",
    "401 Client Error: Unauthorized for url: https://mlflow.lab/api?access_token=hunter2-0f9c",
    "headers {'Authorization': 'Bearer hunter2-0f9c'}",
    "authorization: Basic hunter2-0f9c",
    "AWS_SECRET_ACCESS_KEY=hunter2-0f9c aws s3 ls",
    "MLFLOW_TRACKING_PASSWORD=hunter2-0f9c MLFLOW_TRACKING_TOKEN=hunter2-0f9c vortex train v6",
    "DefaultEndpointsProtocol=https;AccountName=robots;AccountKey=hunter2-0f9c;EndpointSuffix=x",
    "fatal: unable to access 'https://oauth2:hunter2-0f9c@git.lab/robots.git/': 403",
    "ERROR: failed to push to ssh://me:hunter2-0f9c@box:22/far",
    "see (https://ci.lab/job/7?token=hunter2-0f9c).",
    "sas=hunter2-0f9c",
])  # fmt: skip
def test_whoever_quotes_a_secret_in_a_message_does_not_show_it(text: str) -> None:
    error = VortexError(text, text, [text])
    assert "hunter2" not in f"{error} {error.message} {error.hint} {error.details} {error!r}"
    assert "hunter2" not in hide(text)


@pytest.mark.parametrize("text", [
    "FATAL: password authentication failed for user vortex", 'the key "token" appears twice', "a secret recipe", "keyid = 5f",
    '{"signatures": [{"keyid": "ab", "sig": "MEUCIQ=="}]}', "see https://mlflow.org/docs/latest/index.html#top", "basic structure",
    "MLFLOW_TRACKING_URI=sqlite+pysqlite:////data/mlflow.db mlflow gc",
])  # fmt: skip
def test_what_is_no_secret_stays(text: str) -> None:
    assert hide(text) == text


@pytest.mark.parametrize("name", [
    "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "PGPASSWORD",
    "HF_TOKEN", "GITHUB_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "WANDB_API_KEY",
])  # fmt: skip
def test_what_the_environment_keeps_secret_is_hidden_wherever_it_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, PASSWORD)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/run/token")
    secret.remember_environment()
    assert hide(f"it said {PASSWORD}, false, /run/token") == "it said ***, false, /run/token"


def test_a_url_s_password_is_hidden_decoded_too() -> None:
    SecretUrl("postgresql://vortex:s3%40cret%21@db.lab/x")
    assert hide("password s3@cret! (s3%40cret%21) is wrong") == "password *** (***) is wrong"


SETTINGS = {
    "tracking_uri": "http://vortex:hunter2-0f9c@127.0.0.1:9/",
    "tracking_uri ": "https://127.0.0.1:9/?token=hunter2-0f9c",
    "tracking_uri  ": "postgresql://vortex:hunter2-0f9c@127.0.0.1:9/x",
    "tracking_uri   ": "file://vortex:hunter2-0f9c@x",
    "ledger": "postgresql+psycopg://vortex:hunter2-0f9c@127.0.0.1:9/x",
    "ledger ": "postgresql+psycopg://127.0.0.1:9/x?user=vortex&password=hunter2-0f9c",
    "ledger  ": "postgresql+nodriver://vortex:hunter2-0f9c@127.0.0.1:9/x",
    "ledger   ": "postgresql+psycopg://vortex:hunter2-0f9c@127.0.0.1:notaport/x",
    "ledger    ": "mysql://vortex:hunter2-0f9c@127.0.0.1:9/x",
    "artifact_root": "s3://key:hunter2-0f9c@bucket/x",
    "artifact_root ": "https://store.lab/x?sig=hunter2-0f9c",
}


@pytest.mark.parametrize("key", SETTINGS)
def test_no_setting_of_the_workspace_is_shown_by_a_command_that_fails_or_not(
    key: str, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace.root / "vortex.toml").write_text(f'{key.strip()} = "{SETTINGS[key]}"\n')
    for words in (["versions"], ["doctor", "--json"], ["history", "--traceback"]):
        result = CliRunner().invoke(app, [*words, "--workspace", str(workspace.root)])
        if isinstance(result.exception, VortexError):
            console.fail(result.exception)
            console.traceback(result.exception)
        shown = f"{result.output} {result.stderr} {capsys.readouterr()} {result.exception}"
        assert "hunter2" not in shown
        assert not isinstance(result.exception, (TypeError, AttributeError, ValueError)), result.exception


def test_the_ledger_keeps_neither_a_secret_nor_a_command_to_a_terminal(tmp_path: Path) -> None:
    from registry.channels import Channel
    from registry.events.channel import ChannelRefused

    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    check = {"name": "job", "asked": "x", "found": "https://ci.lab/?token=hunter2-0f9c \x1b[2J", "passed": False}
    event = ChannelRefused(Channel("host", "rooms"), "v6", "candidate", 0, None, (check,))
    ledger.append(event, actor="Eve\x1b[1A", reason="see https://ci.lab/?token=hunter2-0f9c \u202e")
    ledger.verify()
    with sqlite3.connect(tmp_path / "ledger.db") as store:
        (row,) = store.execute("SELECT actor, reason, head, body FROM events").fetchall()
    assert row[:2] == ("Eve␛[1A", "see https://ci.lab/?… \N{REPLACEMENT CHARACTER}")
    assert json.loads(row[3])["checks"][0]["found"] == "https://ci.lab/?… ␛[2J"
    assert "hunter2" not in "".join(row)


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


def test_a_tracking_server_that_does_not_answer_is_said_in_time(
    silent_server: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry import store

    monkeypatch.setattr(store, "PATIENCE", {**store.PATIENCE, "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"})
    for name in store.PATIENCE:
        monkeypatch.setenv(name, store.PATIENCE[name])
    timeout, retries, backoff = (int(value) for value in store.PATIENCE.values())
    import mlflow  # noqa: F401  it alone takes seconds

    started = time.monotonic()
    with pytest.raises(VortexError, match=rf"MLflow store http://…@127.0.0.1:{silent_server}: could not open") as caught:
        store.MlflowStore(f"http://vortex:hunter2-0f9c@127.0.0.1:{silent_server}", tmp_path)
    assert time.monotonic() - started < (timeout + backoff * 2 + 1) * (retries + 1)
    assert "hunter2" not in str(caught.value)


def test_the_patience_with_a_server_is_at_most_a_quarter_of_a_minute_unless_the_user_says_otherwise() -> None:
    from registry.store import PATIENCE

    timeout, retries, backoff = (int(value) for value in PATIENCE.values())
    jitter = 1
    assert timeout * (retries + 1) + backoff * 2**retries * retries + jitter <= 15


def test_a_tracking_server_that_refuses_is_said_at_once(tmp_path: Path) -> None:
    from registry.store import MlflowStore

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(VortexError, match=r"could not open: .*[Rr]efused"):
        MlflowStore(f"http://127.0.0.1:{port}", tmp_path)
    assert time.monotonic() - started < 15
