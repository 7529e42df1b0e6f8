"""Whatever a user types is answered in words: a bug is never what somebody typed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from core.errors import VortexError
from pipelines.workspace import Workspace
from vortex_cli import console
from vortex_cli.app import app

SKIPPED = ("demo", "replay", "doctor", "data push", "data pull", "data synth", "ablate", "submit", "profile", "ui")
"""Commands that do seconds of work before they look at a word, or ask no words, or take those of `train`; and a server."""
VALID = {"data": "x", "run": "r", "name": "x", "version": "v6", "recipe": "v6", "a": "v6", "b": "v7", "stage": "candidate", "role": "root"}


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{word} ")
        else:
            yield prefix + word, command


COMMANDS = dict(commands(typer.main.get_command(app)))


def lines(name: str, odd: str) -> Iterator[list[str]]:
    """The command with `odd` in the place of each of its arguments and options in turn, and what it cannot do without."""
    parameters = [parameter for parameter in COMMANDS[name].params if not getattr(parameter, "is_flag", False)]
    for place in parameters:
        words = name.split()
        for parameter in parameters:
            if parameter is not place and not parameter.required and parameter.name != "recipe":
                continue
            value = odd if parameter is place else VALID.get(parameter.name, "x")
            words += [value] if parameter.param_type_name == "argument" else [parameter.opts[0], value]
        yield words


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in SKIPPED])
def test_an_odd_word_is_answered_in_words(name: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    os.mkfifo(tmp_path / "pipe.yaml")
    for odd in ("", "a\0b", "x" * 5000, "ü\x1b[31m\u202e[red]", str(tmp_path / "pipe.yaml")):
        for words in lines(name, odd):
            monkeypatch.setattr(console, "session", console.Session())
            result = CliRunner().invoke(app, words)
            error = result.exception
            # What the system says of a path reaches the user in its words.
            in_words = error is None or isinstance(error, (SystemExit, VortexError)) or (isinstance(error, OSError) and error.filename)
            assert in_words, f"{words}: {error!r}"
            assert not set(result.output + result.stderr) & set("\x1b\u202e")


def test_a_name_between_colons_is_not_made_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit([], console.table([":cat:"], [[":dog:"]], title=":fish:"))
    assert [line.strip() for line in capsys.readouterr().out.splitlines() if ":" in line] == [":fish:", ":cat:", ":dog:"]
