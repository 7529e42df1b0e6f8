"""`vortex-jetson` as somebody types it: words, JSON and exit codes; and the units that type it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vortex_jetson import cli
from vortex_jetson.errors import HealthFailed, Interrupted, RobotError, UsageError

from tests.unit.jetson.publisher import CHANNEL, Publisher

UNITS = Path(__file__).parents[3] / "jetson" / "systemd"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    before = signal.getsignal(signal.SIGTERM)

    def typed(command: str, *words: str) -> tuple[int, str, str]:
        code = cli.main([command, "--state", str(tmp_path / "robot"), *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield typed
    signal.signal(signal.SIGTERM, before)


def test_from_setting_up_to_going_back(run: Run, publisher: Publisher, tmp_path: Path) -> None:
    assert run("status") == (
        2,
        "",
        f"error: {tmp_path / 'robot'}: holds no device\n  set it up with: vortex-jetson init, or name another folder with --state\n",
    )
    (tmp_path / "root.json").write_bytes(publisher.root)
    setting_up = ("--device", "robot-7", "--channel", CHANNEL, "--url", str(publisher.folder), "--root", str(tmp_path / "root.json"))
    code, said, _ = run("init", *setting_up)
    assert code == 0 and f"vortex devices enroll robot-7 --key {tmp_path / 'robot/device.pub'} --channel {CHANNEL}" in said
    assert run("init", *setting_up)[0] == 2
    assert run("health")[0] == 2

    publisher.publish(publisher.bundle("v8"))
    code, said, _ = run("pull", "--json")
    assert code == 0 and json.loads(said)["outcome"] == "committed"
    code, said, _ = run("health")
    assert (code, said.splitlines()[0], said.splitlines()[2]) == (
        0,
        "v8 does its task on 2 frames",
        "classes 100.0 % right (allowed 95.0 and more)",
    )

    publisher.publish(publisher.bundle("v9", "half"))
    code, said, error = run("pull")
    assert code == 3 and said == "" and error.startswith("error: v9 does not do its task: depth is off by 1.2") and "v8 runs on" in error
    code, said, _ = run("pull")
    assert code == 3 and said.startswith("v8 runs on: rolled back here was v9: depth is off")
    code, said, _ = run("status")
    assert code == 0 and said.splitlines()[:2] == ["robot-7 on orin/corridor: v8 runs (slot a)", "asked for    v9"]
    assert "rolled back  v9: depth is off" in said and "metadata     fresh until" in said
    status = json.loads(run("status", "--json")[1])
    assert (status["version"], status["asked"], status["metadata"], status["reports_waiting"]) == ("v8", "v9", "fresh", 0)

    assert run("rollback", "--reason", " ")[::2] == (
        2,
        "error: a rollback without a reason\n  say why with --reason: the report and the status of this device tell it\n",
    )
    code, _, error = run("rollback", "--reason", "stops before doors")
    assert code == 2 and "nothing to go back to" in error
    assert run("report") == (0, "0 reports sent\n", "")
    shutil.rmtree(publisher.folder)
    code, _, error = run("pull")
    assert code == 1 and "is no folder" in error


@pytest.mark.parametrize(
    ("raised", "code"),
    [(RobotError("a", "b"), 1), (UsageError("a"), 2), (HealthFailed("a"), 3), (Interrupted("a"), 130), (KeyboardInterrupt(), 130)],
)
def test_every_error_has_its_exit_code_and_commands_no_terminal(
    raised: BaseException, code: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise raised

    monkeypatch.setattr(cli.device, "load", fail)
    assert run("status")[0] == code
    assert RobotError("a\x1b[2J\nb").message == "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("words", [[], ["fly"], ["pull", "--fast"]])
def test_words_that_are_no_command_end_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        cli.main(words)
    assert error.value.code == 2


def test_the_agent_says_which_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A document of a newer format asks for a newer agent."""
    with pytest.raises(SystemExit) as error:
        cli.main(["--version"])
    assert error.value.code == 0 and re.fullmatch(r"vortex-jetson (0\.\d+\.\d+|of a checkout)\n", capsys.readouterr().out)


def test_every_command_shows_an_example_and_takes_json() -> None:
    commands = next(iter(cli.parser()._subparsers._group_actions)).choices  # type: ignore[union-attr]
    assert set(commands) >= {"init", "pull", "health", "status", "rollback", "report"}
    for name, command in commands.items():  # type: ignore[union-attr]
        assert f"Example: vortex-jetson {name}" in command.format_help() and "--json" in command.format_help()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is absent: apt-get install systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/vortex/bin/vortex-jetson", "/bin/true")
        (tmp_path / unit.name).write_text(text.replace("User=vortex", "User=root"))
    units = sorted(map(str, tmp_path.iterdir()))
    assert len(units) >= 2
    result = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    complaints = [line for line in result.stderr.splitlines() if "vortex-jetson" in line]
    assert (result.returncode, complaints) == (0, [])
