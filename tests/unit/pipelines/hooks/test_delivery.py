"""Hooks are told of every event at least once and in order, and whatever they do, no command fails or waits for them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core import ending
from core.errors import VortexError
from pipelines.hooks import delivery, receivers
from pipelines.hooks.delivery import deliver, is_due, wait_after
from pipelines.hooks.log import drop, log, replay, states
from pipelines.hooks.receivers import Answer
from pipelines.hub.open import hub
from pipelines.workspace import FILE, Workspace, load
from registry.events.version import VersionQuarantined
from registry.outbox import Delivery, Outbox
from tests.golden.workspaces import lineage_file
from tests.unit.pipelines.hooks.receiver import Receiver, receiving
from vortex_cli.app import app
from vortex_cli.main import main

FORK = multiprocessing.get_context("fork")
SECRET = "s3cret-of-the-hook"


@pytest.fixture(autouse=True)
def nothing_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test records is told by that test, and not by the end of another one's command."""
    monkeypatch.setattr(ending, "_tasks", {})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as at_work:
        yield at_work


@pytest.fixture
def hooked(workspace: Workspace) -> Callable[..., Workspace]:
    """The workspace with these hooks in its vortex.toml, given as the lines of their tables."""
    plain = (workspace.root / FILE).read_text()

    def write(ledger: str = "", **hooks: str) -> Workspace:
        text = plain.replace("sqlite:///mlruns/ledger.db", ledger) if ledger else plain
        (workspace.root / FILE).write_text(text + "".join(f"\n[hooks.{name}]\n{lines}\n" for name, lines in hooks.items()))
        return load(workspace.root)

    return write


def record(ws: Workspace, *numbers: int) -> None:
    with hub(ws).ledger.transaction() as tx:
        for number in numbers:
            tx.append(VersionQuarantined(f"v{number}"), actor="Ada", reason="brakes late")


def deliveries(ws: Workspace) -> list[tuple[str, int, str]]:
    return [(each.hook, each.event, each.state) for each in Outbox(ws.ledger_url).deliveries()]


def test_what_verifies_webhooks_of_mlflow_verifies_ours(
    hooked: Callable[..., Workspace], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.webhooks.constants import WEBHOOK_DELIVERY_ID_HEADER, WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER
    from mlflow.webhooks.delivery import _generate_hmac_signature

    monkeypatch.setenv("CI_SECRET", SECRET)
    ws = hooked(ci=f'url = "{receiver.url}/hooks/x?a=b"\nsecret_env = "CI_SECRET"')
    record(ws, 1)
    assert [report.state for report in deliver(ws, patient=False)] == ["done"]
    ((path, headers, text),) = receiver.posts
    id, moment = headers[WEBHOOK_DELIVERY_ID_HEADER], headers[WEBHOOK_TIMESTAMP_HEADER]
    assert headers[WEBHOOK_SIGNATURE_HEADER] == _generate_hmac_signature(SECRET, id, moment, text)
    assert headers[WEBHOOK_SIGNATURE_HEADER] != _generate_hmac_signature("another", id, moment, text)
    assert abs(int(moment) - time.time()) < 60 and (path, headers["Content-Type"]) == ("/hooks/x?a=b", "application/json")
    message = json.loads(text)
    (entry,) = hub(ws).ledger.entries()
    assert (message["entity"], message["action"], message["timestamp"]) == ("version", "quarantined", entry.at)
    assert message["data"] == {
        **{name: getattr(entry, name) for name in ("seq", "hash", "kind", "subject", "actor", "reason", "commit", "head", "body")},
        "sentence": "v1 quarantined",
    }


def test_a_failure_holds_its_own_hook_alone_and_is_tried_later_with_the_same_id(
    hooked: Callable[..., Workspace], receiver: Receiver, tmp_path: Path
) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"', file=f'command = ["sh", "-c", "cat >> {tmp_path}/got; echo >> {tmp_path}/got"]')
    receiver.answer = lambda seq: 503 if seq == 2 else 204
    record(ws, 1, 2, 3)
    ci, file = deliver(ws, patient=False)
    assert (ci.state, ci.delivered, ci.problem) == ("failed", 1, "503 Service Unavailable")
    assert (file.state, file.delivered) == ("done", 3)
    assert [json.loads(line)["data"]["seq"] for line in (tmp_path / "got").read_text().splitlines()] == [1, 2, 3]
    assert [report.state for report in deliver(ws, patient=False)] == ["waiting"] and receiver.events == [1, 2]
    receiver.answer = lambda seq: 204
    assert [(report.state, report.delivered) for report in replay(ws)] == [("done", 2)]
    assert receiver.events == [1, 2, 2, 3]
    ids = [headers[receivers.DELIVERY_ID] for _, headers, _ in receiver.posts]
    assert ids[1] == ids[2] and len(set(ids)) == 3
    assert Outbox(ws.ledger_url).deliveries(hook="ci")[1].attempts == 2


@pytest.mark.parametrize(
    ("status", "goes_on"), [(400, True), (409, True), (422, True), (401, False), (404, False), (429, False), (500, False)]
)
def test_a_refused_event_is_passed_by_and_a_refused_hook_waits(
    hooked: Callable[..., Workspace], receiver: Receiver, status: int, goes_on: bool
) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"')
    receiver.answer = lambda seq: status if seq == 1 else 204
    receiver.body = b"no\x1b[31m way\n" + b"x" * 5000
    record(ws, 1, 2)
    (report,) = deliver(ws, patient=False)
    first, second = Outbox(ws.ledger_url).deliveries()
    assert (first.state, second.state) == (("refused", "delivered") if goes_on else ("waiting", "waiting"))
    assert (report.state, report.refused) == (("done", 1) if goes_on else ("failed", 0))
    assert first.answer.startswith(f"{status} ") and "no␛[31m way xxx" in first.answer and len(first.answer) < 400


def test_no_redirect_is_followed_and_no_proxy_asked(
    hooked: Callable[..., Workspace], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as other:
        monkeypatch.setenv("http_proxy", other.url)
        receiver.headers, receiver.answer = {"Location": f"{other.url}/stolen"}, lambda seq: 307
        ws = hooked(ci=f'url = "{receiver.url}"')
        record(ws, 1)
        (report,) = deliver(ws, patient=False)
        assert (len(receiver.posts), other.posts) == (1, [])
    assert (report.state, report.problem) == ("failed", "307 Temporary Redirect (redirects are not followed)")


def test_a_receiver_that_is_slow_letter_by_letter_is_given_up_in_time(hooked: Callable[..., Workspace], receiver: Receiver) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"\ntimeout = 0.4')
    receiver.dribble_s = 0.05
    record(ws, 1)
    began = time.monotonic()
    (report,) = deliver(ws, patient=False)
    assert 0.3 < time.monotonic() - began < 2
    assert (report.state, report.problem) == ("failed", "no answer within 0.4 s")


def test_a_receiver_that_is_not_there_is_named_by_its_server_alone(
    hooked: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ws = hooked(ci=f'url = "http://127.0.0.1:{port}/services/T0KEN/{SECRET}"')
    record(ws, 1)
    (report,) = deliver(ws, patient=False)
    assert (report.state, report.problem) == ("failed", "Connection refused")
    app(["hooks", "log", "--workspace", str(ws.root)], standalone_mode=False)
    app(["hooks", "log", "--json", "--workspace", str(ws.root)], standalone_mode=False)
    app(["config", "--workspace", str(ws.root)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert f"hooks.ci.url = http://127.0.0.1:{port} " in printed
    assert f"http://127.0.0.1:{port}" in printed and "Connection refused; is tried again in" in " ".join(printed.split())
    assert SECRET not in printed and "T0KEN" not in printed


def test_nothing_is_sent_unsigned_where_the_secret_is_missing(
    hooked: Callable[..., Workspace], receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CI_SECRET", raising=False)
    ws = hooked(ci=f'url = "{receiver.url}"\nsecret_env = "CI_SECRET"', chat='url = "$CHAT_URL"')
    record(ws, 1)
    assert delivery.after_command(ws) == [
        "hook chat: vortex.toml: hooks.chat.url = '$CHAT_URL' names $CHAT_URL, which is not set;"
        " see `vortex hooks log`, send again with `vortex hooks replay`",
        "hook ci: its secret $CI_SECRET is not set here; see `vortex hooks log`, send again with `vortex hooks replay`",
    ]
    assert receiver.posts == [] and {each.attempts for each in Outbox(ws.ledger_url).deliveries()} == {0}
    monkeypatch.setenv("CI_SECRET", SECRET)
    monkeypatch.setenv("CHAT_URL", f"http://me:{SECRET}@127.0.0.1")
    receiver.answer, receiver.body = lambda seq: 500, f"your secret is {SECRET}".encode()
    remarks = delivery.after_command(ws)
    assert (
        len(remarks) == 2 and "holds a user or a password" in remarks[0] and "500 Internal Server Error: your secret is ***" in remarks[1]
    )
    app(["hooks", "log", "--json", "--workspace", str(ws.root)], standalone_mode=False)
    assert SECRET not in capsys.readouterr().out + "".join(remarks)


def test_a_variable_that_is_not_set_is_named_without_the_path_that_it_stands_in(hooked: Callable[..., Workspace]) -> None:
    ws = hooked(chat='url = "https://127.0.0.1/services/T0KEN/$CHAT_TOKEN"')
    record(ws, 1)
    message = "vortex.toml: hooks.chat.url = 'https://127.0.0.1' names $CHAT_TOKEN, which is not set"
    assert [(state.place, state.why) for state in states(ws)] == [("https://127.0.0.1", message)]


def test_a_workspace_without_hooks_neither_sends_nor_loses_those_of_others(hooked: Callable[..., Workspace], receiver: Receiver) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"')
    record(ws, 1)
    laptop = hooked()
    record(laptop, 2)
    assert (deliver(laptop, patient=True), receiver.posts) == ([], [])
    assert [(state.hook, state.place, state.waiting) for state in states(laptop)] == [("ci", "not in this vortex.toml", 1)]
    renamed = hooked(build=f'url = "{receiver.url}"')
    assert deliver(renamed, patient=True) == [] and drop(renamed, "ci") == 1 and states(renamed)[-1].hook == "build"
    back = hooked(ci=f'url = "{receiver.url}/changed"')
    assert [report.delivered for report in replay(back, first=1)] == [2]
    assert (receiver.events, receiver.posts[0][0]) == ([1, 2], "/changed")


def test_a_command_has_a_time_limit_and_its_last_words_are_kept(hooked: Callable[..., Workspace], tmp_path: Path) -> None:
    ws = hooked(
        slow='command = ["sh", "-c", "yes | head -c 3000000; echo the end; sleep 30 & wait"]\ntimeout = 0.5',
        data='command = ["sh", "-c", "exit 65"]',
        left='command = ["sh", "-c", "echo $VORTEX_HOOK; sleep 30 &"]',
        none='command = ["./missing"]',
    )
    record(ws, 1)
    began = time.monotonic()
    reports = {report.hook: report for report in deliver(ws, patient=False)}
    assert time.monotonic() - began < 3
    answers = {each.hook: (each.state, each.answer) for each in Outbox(ws.ledger_url).deliveries()}
    assert reports["slow"].problem.startswith("not done within 0.5 s: y y")
    assert answers["data"] == ("refused", "exit 65") and answers["left"] == ("delivered", "exit 0: left")
    assert answers["none"] == ("waiting", "./missing: No such file or directory")


def test_a_killed_delivery_is_sent_again_and_nothing_overtakes_it(
    hooked: Callable[..., Workspace], receiver: Receiver, ledger_url: str
) -> None:
    ws = hooked(ledger_url, ci=f'url = "{receiver.url}"')
    record(ws, *range(1, 8))

    def killed(at: int, seq: int) -> int:
        if seq == at:
            os.kill(process.pid or 0, signal.SIGKILL)
            time.sleep(0.05)  # the answer is to find nobody
        return 204

    for at in (1, 4, 7):
        process = FORK.Process(target=deliver, args=(ws,), kwargs={"patient": True})
        receiver.answer = lambda seq, at=at: killed(at, seq)
        process.start()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
    receiver.answer = lambda seq: 204
    for _ in range(100):  # a server notices a moment later that the killed one is gone
        if [report.state for report in deliver(ws, patient=True)] == ["done"]:
            break
        time.sleep(0.05)
    assert receiver.events == [1, 1, 2, 3, 4, 4, 5, 6, 7, 7]
    assert {state for _, _, state in deliveries(ws)} == {"delivered"}


def test_processes_that_record_and_deliver_at_once_keep_the_order(
    hooked: Callable[..., Workspace], receiver: Receiver, ledger_url: str
) -> None:
    ws = hooked(ledger_url, ci=f'url = "{receiver.url}"')
    record(ws, 1)

    def work() -> None:
        for number in range(4):
            record(ws, number)
            deliver(ws, patient=False)

    crowd = [FORK.Process(target=work) for _ in range(3)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    deliver(ws, patient=True)
    assert receiver.events == list(range(1, 14))


def test_who_finds_another_process_at_a_hook_sees_to_its_own_event(hooked: Callable[..., Workspace], receiver: Receiver) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"')
    record(ws, 1)
    held = FORK.Event()

    def look_once() -> None:
        with Outbox(ws.ledger_url).exclusive("ci"):
            held.set()
            time.sleep(0.5)

    process = FORK.Process(target=look_once)
    process.start()
    assert held.wait(30)
    assert [(report.state, report.delivered) for report in deliver(ws, patient=False)] == [("done", 1)]
    process.join()


def test_a_hook_that_records_what_it_is_sent_does_not_keep_a_replay_for_ever(hooked: Callable[..., Workspace], receiver: Receiver) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"')
    record(ws, 1, 2)

    def echo(seq: int) -> int:
        record(ws, seq)
        return 204

    receiver.answer = echo
    assert [(report.state, report.delivered) for report in replay(ws)] == [("done", 2)]
    assert (receiver.events, states(ws)[0].waiting) == ([1, 2], 2)


def test_who_lost_its_connection_to_the_server_sends_nothing_more(
    hooked: Callable[..., Workspace], receiver: Receiver, ledger_url: str
) -> None:
    if ledger_url.startswith("sqlite"):
        pytest.skip("sqlite has no connection to lose")
    from sqlalchemy import create_engine, text

    ws = hooked(ledger_url, ci=f'url = "{receiver.url}"')
    record(ws, 1, 2)

    def cut(seq: int) -> int:
        engine = create_engine(ledger_url)
        with engine.connect() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()")
            )
        engine.dispose()
        return 204

    receiver.answer = cut
    (report,) = deliver(ws, patient=True)
    assert report.state == "failed" and "the connection broke off" in report.problem
    assert (receiver.events, [state for _, _, state in deliveries(ws)]) == ([1], ["waiting", "waiting"])


def test_waits_grow_and_a_clock_that_was_wrong_stops_nothing() -> None:
    failed = Answer("failed", "")
    assert [wait_after(attempts, failed) for attempts in (1, 2, 3, 9, 10, 10_000)] == [10, 20, 40, 2560, 3600, 3600]
    assert (wait_after(1, Answer("failed", "", 120)), wait_after(1, Answer("failed", "", 99_999))) == (120, 3600)
    due = Delivery("ci", 1, "x", "waiting", 1, None, 5000.0, "", "k", "s", "at")
    assert [is_due(due, now) for now in (4999.0, 5000.0, 1000.0)] == [False, True, True]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('url = "http://a"\ncommand = ["true"]', "has a url and a command, or neither"),
        ('kinds = ["*"]', "has a url and a command, or neither"),
        ('url = "ftp://host/x"', "allowed: http://HOST… or https://HOST…"),
        ('url = "file:///etc/passwd"', "allowed: http://HOST…"),
        ('url = "http://host:99999/"', "allowed: http://HOST…"),
        ('url = "http://host/a b"', "allowed: http://HOST…"),
        (f'url = "http://me:{SECRET}@host"', "holds a user or a password"),
        ('command = ["true"]\nsecret_env = "X"', "a command reads the environment itself"),
        ('command = ["true"]\ntimeout = 0', "greater than 0"),
        (
            'command = ["true"]\nkinds = ["version.promoted"]',
            "'version.promoted', which no kind of event fits; allowed: channel.bundled, channel.held",
        ),
        ('command = ["true"]\nchannels = ["corridor"]', "'corridor', which is no channel"),
        ('command = ["true"]\nkinds = ["version.*"]\nchannels = ["*/*"]', "has channels, and kinds that no channel has: version.*"),
        ('command = ["true"]\nsecret = "x"', "Extra inputs"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_by_its_name(hooked: Callable[..., Workspace], lines: str, words: str) -> None:
    with pytest.raises(VortexError) as caught:
        hub(hooked(ci=lines))
    assert words in caught.value.message and "hooks.ci" in caught.value.message and SECRET not in str(caught.value)


def vortex(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The `vortex` command as a user has it, with what follows its answer."""
    monkeypatch.setattr(sys, "argv", ["vortex", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_command_answers_first_and_then_tells_the_hooks(
    hooked: Callable[..., Workspace],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"\nkinds = ["version.declared"]')
    file, at = str(lineage_file(tmp_path)), ("--workspace", str(ws.root))
    assert vortex(monkeypatch, "import", file, "--dry-run", *at) == 0
    assert (receiver.posts, Outbox(ws.ledger_url).deliveries()) == ([], [])
    printed: list[str] = []

    def fail(seq: int) -> int:
        printed.append(capsys.readouterr().out)
        return 500

    receiver.answer = fail
    assert vortex(monkeypatch, "import", file, *at) == 0
    assert receiver.events == [1] and "v20" in printed[0]
    assert "hook ci: 500 Internal Server Error; see `vortex hooks log`" in capsys.readouterr().err
    assert vortex(monkeypatch, "versions", *at) == 0 and receiver.events == [1]
    assert vortex(monkeypatch, "hooks", "replay", *at) == 1 and receiver.events == [1, 1]
    receiver.answer = lambda seq: 204
    assert vortex(monkeypatch, "hooks", "replay", *at) == 0 and receiver.events == [1, 1, 1]


def test_after_an_interruption_and_in_an_odd_place_nothing_is_begun_and_nothing_fails(
    hooked: Callable[..., Workspace], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"')
    record(ws, 1)
    with pytest.raises(KeyboardInterrupt):
        try:
            raise KeyboardInterrupt
        finally:
            assert ending.run() == []
    record(ws, 2)
    (ws.root / "mlruns" / "ledger.db").write_bytes(b"no database any more")
    (remark,) = ending.run()
    assert remark.startswith(f"hooks of {ws.root}: ledger") and receiver.posts == [] and ending.run() == []


def test_the_log_says_what_was_sent_and_a_replay_sends_it_once_more(
    hooked: Callable[..., Workspace], receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    ws = hooked(ci=f'url = "{receiver.url}"')
    at = ["--workspace", str(ws.root)]
    record(ws, 1, 2)
    deliver(ws, patient=True)

    def printed(*words: str) -> Any:
        app(["hooks", *words, "--json", *at], standalone_mode=False)
        return json.loads(capsys.readouterr().out)

    first, second = printed("log")["deliveries"]
    assert (first["state"], first["answer"], first["subject"], second["event"]) == ("delivered", "204 No Content", "v1", 2)
    assert printed("replay", second["id"][:10]) == [{"hook": "ci", "state": "done", "delivered": 1, "refused": 0, "problem": ""}]
    assert printed("replay", "--from", "1", "--dry-run") == {"ci": 2} and receiver.events == [1, 2, 2]
    assert printed("replay", "--from", "2", "--hook", "ci")[0]["delivered"] == 1 and printed("replay") == []
    assert receiver.events == [1, 2, 2, 2]
    assert (printed("test", "ci")["outcome"], receiver.events[-1], len(log(ws, last=1).deliveries)) == ("delivered", 0, 1)
    for words, fault in (
        (["replay", "zzz"], "no delivery has an id that begins with 'zzz'"),
        (["replay", "--hook", "cd"], "unknown hook 'cd'; vortex.toml has: ci"),
        (["replay", "abc", "--from", "1"], "an ID names one delivery"),
        (["drop", "cd"], "unknown hook 'cd'"),
        (["test", "cd"], "unknown hook 'cd'"),
    ):
        with pytest.raises(VortexError, match=fault):
            app(["hooks", *words, *at], standalone_mode=False)
