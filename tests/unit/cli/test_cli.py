"""What holds for every command: help with an example, a place in the docs, a light import, one error funnel."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from core.errors import GateRefused, Interrupted, VortexError
from registry.ledger import Entry
from registry.records import DeviceStatus
from vortex_cli import console, main
from vortex_cli.app import app
from vortex_cli.commands import history

ROOT = Path(__file__).parents[3]


def commands(group: typer.Typer = app, prefix: str = "vortex") -> Iterator[tuple[str, typer.models.CommandInfo]]:
    for command in group.registered_commands:
        yield f"{prefix} {command.name}", command
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from commands(below.typer_instance, f"{prefix} {below.typer_instance.info.name}")


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(name: str) -> None:
    command = COMMANDS[name]
    assert command.help and command.help[0].isupper() and command.help.split("\n")[0].endswith((".", "?"))
    assert command.epilog, f"{name}: the docstring lacks a last paragraph 'Example: …'"
    assert command.epilog.startswith(f"Example: {name}")


@pytest.mark.parametrize("columns", ["1", "20"])
def test_on_the_narrowest_terminal_a_table_still_has_its_letters(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "argv", ["vortex", "recipes"])
    with pytest.raises(SystemExit, match="0"):
        main.main()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("v9") for line in lines) and max(map(len, lines)) == main.NARROWEST


@pytest.mark.parametrize(
    ("width", "shown", "gone"),
    [(200, ("job", "age", "RMSE m"), ()), (76, ("epoch", "version"), ("age", "job")), (40, ("state",), ("RMSE m",))],
)
def test_a_table_that_is_too_wide_loses_columns_and_no_letter(
    width: int, shown: tuple[str, ...], gone: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    run = "v6-optimizer-encoder-lr-878a9f92-2-1e-4-s1"
    columns: list[console.Column] = ["run", "state", ("epoch", "right"), ("RMSE m", "right"), "job", "age", "version"]
    row = [run, "finished", "200/200", 0.3141, "1234567 COMPLETED", "12 min", "v12"]
    console.emit(None, console.fitting(columns, [row], ("age", "job", "RMSE m", "version")))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert all(name in lines[1] for name in shown) and not any(name in lines[1] for name in gone)
    end = lines[1].index("state")
    assert "".join(line[:end].strip() for line in lines[3:]) == run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_explained_in_a_page_by_hand(name: str) -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md") if page.name != "commands.md")
    assert re.search(rf"^#+ .*`{re.escape(name)}\b", pages, re.MULTILINE), f"no heading for `{name}` in docs/"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_renders(name: str) -> None:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output and "--json" in result.output and "--workspace" in result.output
    assert "[[" not in result.output, "an argument that may be left out stands in one pair of brackets"


def test_importing_the_command_line_stays_light() -> None:
    heavy = [
        "torch",
        "ray",
        "mlflow",
        "great_expectations",
        "pandas",
        "numpy",
        "cv2",
        "sqlalchemy",
        "pydantic",
        "dvc",
        "timm",
        "albumentations",
        "onnxruntime",
        "scipy",
        # Each of these costs a millisecond or more, of the 20 that Vortex adds to Python and typer.
        "hashlib",
        "tempfile",
        "tomllib",
        "json",
    ]
    code = f"import sys, vortex_cli.main, vortex_cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    assert found == "[]"


@pytest.mark.parametrize(
    ("raised", "code", "shown"),
    [
        (VortexError("v99 is unknown", "vortex versions lists them"), 1, "v99 is unknown"),
        (GateRefused("the gate said no"), 3, "the gate said no"),
        (Interrupted("stopped at epoch 3", "vortex train --resume R"), 130, "vortex train --resume R"),
        (KeyError("boom"), 1, "this is a bug in vortex"),
        (PermissionError(13, "Permission denied", "/data/x.png"), 1, "/data/x.png: Permission denied"),
    ],
)
def test_errors_end_in_one_funnel(
    raised: Exception, code: int, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise raised

    monkeypatch.setattr("vortex_cli.app.app", refuse)
    with pytest.raises(SystemExit) as caught:
        main.main()
    captured = capsys.readouterr()
    assert caught.value.code == code
    assert shown in captured.err and "Traceback" not in captured.err and captured.out == ""


def test_usage_errors_exit_2_and_a_missing_workspace_exits_1(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vortex_cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, check=False)

    assert run("no-such-verb").returncode == 2
    missing = run("versions")
    assert missing.returncode == 1
    assert "no vortex.toml" in missing.stderr and "vortex init" in missing.stderr and "Traceback" not in missing.stderr


def test_json_is_strict_and_knows_our_types() -> None:
    value = {"path": Path("a/b"), "nan": float("nan"), "pair": (1, 2.5), 3: None}
    assert console.plain(value) == {"path": "a/b", "nan": None, "pair": [1, 2.5], "3": None}


@pytest.mark.parametrize("heavy", [False, True])
def test_only_a_light_command_ends_without_a_last_search_for_garbage(heavy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries such as triton's complain on stderr, below the command's answer, of what is never taken down."""
    import numpy

    monkeypatch.setattr("vortex_cli.app.app", lambda: None)
    monkeypatch.setitem(sys.modules, "numpy", numpy)
    if not heavy:
        monkeypatch.delitem(sys.modules, "numpy")
    gc.unfreeze()
    try:
        main.main()
        assert (gc.get_freeze_count() == 0) == heavy
    finally:
        gc.unfreeze()
        gc.enable()


def test_ctrl_c_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vortex_cli.app.app", interrupted)
    with pytest.raises(SystemExit) as caught:
        main.main()
    assert caught.value.code == 130 and "interrupted" in capsys.readouterr().err


def test_odd_streams_and_folders_end_in_words(tmp_path: Path) -> None:
    start = f"cd '{tmp_path}' && PYTHONPATH='{ROOT}' PYTHONIOENCODING=ascii '{sys.executable}' -m vortex_cli.main"

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)

    assert shell(f"{start} init 'küche' >/dev/null").returncode == 0
    closed = shell(f"{start} data list --workspace 'küche' >&-")
    assert closed.returncode == 0 and closed.stderr == ""
    ascii_only = shell(f"{start} init 'küche' --json")
    assert json.loads(ascii_only.stdout)["workspace"] == str(tmp_path / "küche")
    gone = shell(start.replace("&&", "&& mkdir gone && cd gone && rmdir ../gone &&") + " doctor")
    assert gone.returncode == 1 and "current folder was removed" in gone.stderr and gone.stdout == ""


@pytest.mark.parametrize("name", ["vortex data add", "vortex data synth", "vortex data show"])
def test_arguments_are_upper_case(name: str) -> None:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert "NAME" in result.output and "{name}" not in result.output and "{path}" not in result.output


@pytest.mark.parametrize("words, meant", [
    ("infer", "vortex predict"), ("score", "vortex evaluate"), ("ls", "vortex versions"), ("list", "vortex versions"), ("log", "vortex logs"),
    ("status", "vortex runs"), ("deploy", "vortex promote"), ("rm", "vortex rollback"), ("dashboard", "vortex ui"), ("fit", "vortex train"),
    ("data ls", "vortex data list"), ("data rm", "dvc add data"), ("data import", "vortex data add"), ("audit check", "vortex audit verify"),
])  # fmt: skip
def test_a_word_that_is_no_command_is_answered_by_what_it_means(words: str, meant: str) -> None:
    result = CliRunner().invoke(app, words.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2 and "No such command" in result.stderr and meant in result.stderr


def test_every_meaning_is_a_command_and_every_word_is_none() -> None:
    from vortex_cli.group import MEANINGS

    group: Any = typer.main.get_command(app)
    for name, meanings in MEANINGS.items():
        commands = group.commands[name.split()[1]].commands if " " in name else group.commands
        for command, words in meanings.items():
            first, _, second = command.partition(" ")
            assert first in commands and (not second or second in commands[first].commands)
            assert not set(words.split()) & set(commands) - {first}, command


@pytest.mark.parametrize("words", ["-h", "show -h", "data -h", "data add -h", "audit head -h"])
def test_short_and_long_help_are_the_same(words: str) -> None:
    short, long = (CliRunner().invoke(app, line.split()) for line in (words, words.replace("-h", "--help")))
    assert short.exit_code == 0 and short.output == long.output


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"vortex {version('vortex')}\n")


@pytest.mark.parametrize(
    "words", [["a\x1b[31mb"], ["show", "v6", "\x1b[31m"], ["--\x1b[31m"], ["show", "--\x9b31m"], ["data", "\u202egnp"]]
)
def test_what_was_typed_is_quoted_and_not_obeyed(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert not set(result.output + result.stderr) & set("\x1b\x9b\u202e")


def test_lines_for_a_terminal_end_between_words_and_a_path_stays_whole() -> None:
    path = "/data/" + "very-long-name/" * 8 + "sheet.png"
    lines = console.folded(
        f"data     rooms and kitchen, of which there are many frames, and they lie in the folder {path} and nowhere else", 80
    )
    assert [line for line in lines if len(line) > 80] == [f"         {path}"]
    assert lines[0] == "data     rooms and kitchen, of which there are many frames, and they lie in the"
    assert all(line.startswith("         ") for line in lines[1:])
    assert console.folded("a\n  b", 80) == ["a", "  b"]


def test_what_a_library_keeps_while_a_bar_is_drawn_is_the_real_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    before = sys.stdout
    with console.progress() as display:
        assert not display.disable and sys.stdout is before


def test_the_line_of_a_command_that_loads_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str] = []
    monkeypatch.setattr(console.silence, "watched", lambda words: (named.append(words), nullcontext())[1])
    for words in ("keys timer", "data list", "import x.yaml"):
        CliRunner().invoke(app, [*words.split(), "--workspace", "/nowhere"])
    assert named == ["vortex keys timer", "vortex data list", "vortex import"]


def test_at_80_columns_who_and_why_stand_below_what_happened(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status = DeviceStatus(1, "", "rolled back", "v6", None, "a", None, "v10 does not do its task: its depth is constant; v6 runs on")
    entry = Entry(
        7, "", "", "device.reported", "robot-7", "2026-11-29T02:00:00+00:00", "device robot-7 <r@lab>", "fetched", None, vars(status), {}
    )
    printed = {}
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        console.emit([], history.table([entry]))
        printed[columns] = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert printed[120][0] == "# when what who why commit" and printed[80][0] == "# when what"
    what = "device robot-7 rolled back, and runs v6: v10 does not do its task: its depth is constant"
    assert " ".join(printed[80][2:]).endswith(f"{what} by device robot-7: fetched")
