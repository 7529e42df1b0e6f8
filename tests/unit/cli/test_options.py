"""A field of a class of options is all that an option takes: every command of that class has it, and gets what was said."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from core.errors import UsageError
from core.option import Option
from pipelines.train.plan.options import TrainOptions
from vortex_cli import console
from vortex_cli.app import app, register
from vortex_cli.options import After, named, parse_size


@dataclass(frozen=True)
class WithOneMore(TrainOptions):
    """The options of a training, and a new one."""

    patience: Annotated[int, Option("Epochs without a better one before training stops.", least=1)] = 20


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    saved = console.Session(**vars(console.session))
    yield
    console.session.restore(saved)


def group(*commands: object) -> typer.Typer:
    """A command line of these functions, which are called first and second; a group of one has no names."""
    made = typer.Typer()
    for command in commands:
        register(made, command, "Train")  # type: ignore[arg-type]
    return made


def test_a_new_option_of_a_training_is_one_field() -> None:
    heard: list[tuple[WithOneMore, set[str]]] = []

    def first(context: typer.Context, options: WithOneMore) -> None:
        """Hear what was said."""
        heard.append((options, named(context, WithOneMore)))

    def second(options: WithOneMore, seconds: float = 6.0) -> None:
        """Have an option of its own too."""

    commands = group(first, second)
    for command in ("first", "second"):
        help_text = " ".join(CliRunner().invoke(commands, [command, "--help"], env={"COLUMNS": "160"}).output.split())
        assert "--patience <int range> [x>=1] Epochs without a better one before training stops." in help_text
        assert CliRunner().invoke(commands, [command, "--patience", "0"]).exit_code == 2
    assert (
        CliRunner().invoke(commands, ["first", "v6", "--patience", "20", "--size", "64x96", "--set", "a=1", "--set", "b=2"]).exit_code == 0
    )
    assert heard == [
        (WithOneMore(recipe="v6", size=(64, 96), settings=("a=1", "b=2"), patience=20), {"recipe", "size", "settings", "patience"})
    ]


@pytest.mark.parametrize("name", ["train", "submit", "profile", "ablate"])
def test_every_command_that_plans_a_training_takes_its_options_in_their_order(name: str) -> None:
    command = next(command for command in app.registered_commands if command.name == name)
    taken = [parameter for parameter in inspect.signature(command.callback).parameters if parameter in fields()]  # type: ignore[arg-type]
    assert taken == fields()


def fields() -> list[str]:
    return list(TrainOptions.__dataclass_fields__)


def test_a_command_can_have_an_option_of_its_own_among_those_of_a_class() -> None:
    def only(options: WithOneMore, own: Annotated[str | None, typer.Option(help="Its own."), After("recipe")] = None) -> None:
        """Take both."""

    made = group(only)
    names = list(inspect.signature(made.registered_commands[0].callback).parameters)  # type: ignore[arg-type]
    assert names[:3] == ["recipe", "own", "from_version"] and names[-4:] == ["patience", "workspace_dir", "json", "traceback"]


def test_the_options_of_every_command_are_those_of_this_call_alone() -> None:
    heard: list[tuple[bool, object]] = []

    def only() -> None:
        """Hear whether a document is asked for."""
        heard.append((console.session.json, console.session.workspace_dir))

    for words in (["--json", "--workspace", "there"], []):
        assert CliRunner().invoke(group(only), words).exit_code == 0
    assert [(as_json, str(folder)) for as_json, folder in heard] == [(True, "there"), (False, "None")]


def test_what_a_command_keeps_from_the_garbage_collector_ends_with_it() -> None:
    def only() -> None:
        """Freeze what there is, as a listing of thousands does."""
        gc.freeze()
        assert gc.get_freeze_count() > 0

    assert CliRunner().invoke(group(only), []).exit_code == 0
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("text", ["64", "64x", "x96", "64x96x3", "31x96", "64x4097", "-1x96", "٣٢x96", "sixty"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text, least=32, example="120x160")
    assert caught.value.message == f"--size {text!r} is not a size, allowed: HxW with 32 to 4096 pixels each"
    assert caught.value.hint == "for example --size 120x160"


def test_a_size_is_height_by_width() -> None:
    assert parse_size("64X96", least=32, example="") == (64, 96) and parse_size("16x4096", least=16, example="") == (16, 4096)
