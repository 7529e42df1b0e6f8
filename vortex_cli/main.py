"""The `vortex` command: what exists, the options every command takes, and the one place where errors end."""

from __future__ import annotations

import functools
import inspect
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import Interrupted, VortexError
from vortex_cli import console
from vortex_cli.commands import (
    ablate,
    compare,
    data,
    data_versions,
    demo,
    doctor,
    evaluate,
    export,
    history,
    init,
    label,
    lineage,
    logs,
    pack,
    profile,
    promote,
    recipes,
    replay,
    rollback,
    runs,
    show,
    submit,
    train,
    validate,
    versions,
)

app = typer.Typer(
    name="vortex",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="From teacher to robot, with every version accounted for.",
    epilog="Start with: vortex demo",
)

WorkspaceOption = Annotated[Path | None, typer.Option("--workspace", metavar="DIR", help="The workspace; default: here or above.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
TracebackOption = Annotated[bool, typer.Option("--traceback", help="Show the Python traceback of an error.")]


def register(group: typer.Typer, function: Callable[..., None], panel: str, name: str | None = None) -> None:
    """Make `function` a command of `group`: add the common options, and show its docstring's `Example:` below the help."""
    text, _, example = inspect.cleandoc(function.__doc__ or "").partition("Example:")
    group.command(
        name or function.__name__.rstrip("_").replace("_", "-"),
        help=text.strip(),
        epilog=f"Example: {' '.join(example.split())}" if example else None,
        rich_help_panel=panel,
    )(_with_common_options(function))


def _with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(function)
    def command(*args: Any, workspace_dir: Path | None, as_json: bool, show_traceback: bool, **options: Any) -> None:
        console.session.workspace_dir = workspace_dir
        console.session.json = as_json
        console.session.traceback = show_traceback
        try:
            function(*args, **options)
        except KeyboardInterrupt as error:  # typer would end the process here, without a word
            raise Interrupted("interrupted", "run the same command again") from error

    own = inspect.signature(function, eval_str=True)
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in (
            ("workspace_dir", None, WorkspaceOption),
            ("as_json", False, JsonOption),
            ("show_traceback", False, TracebackOption),
        )
    ]
    signature = own.replace(parameters=[*own.parameters.values(), *extra])
    # Typer reads the signature and the annotations; `wraps` would lead it to the undecorated function.
    del command.__wrapped__
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return command


data_app = typer.Typer(no_args_is_help=True, help="Frames and their versions: put in, make, look at, push, pull, check out, diff.")

register(app, init.init, "Start")
register(app, demo.demo, "Start")
register(app, doctor.doctor, "Start")

register(data_app, data.add, "Data")
register(data_app, data.synth, "Data")
register(data_app, data.list_, "Data")
register(data_app, data.show, "Data")
register(data_app, data_versions.push, "Data")
register(data_app, data_versions.pull, "Data")
register(data_app, data_versions.checkout, "Data")
register(data_app, data_versions.diff, "Data")
app.add_typer(data_app, name="data", rich_help_panel="Data")
register(app, label.label, "Data")
register(app, validate.validate, "Data")
register(app, pack.pack, "Data")

register(app, train.train, "Train")
register(app, submit.submit, "Train")
register(app, runs.runs, "Train")
register(app, logs.logs, "Train")
register(app, recipes.recipes, "Train")
register(app, profile.profile, "Train")
register(app, ablate.ablate, "Train")
register(app, replay.replay, "Train")

register(app, versions.versions, "Know")
register(app, show.show, "Know")
register(app, lineage.lineage, "Know")
register(app, compare.compare, "Know")
register(app, evaluate.evaluate, "Know")

register(app, export.export, "Ship")
register(app, promote.promote, "Ship")
register(app, rollback.rollback, "Ship")
register(app, history.history, "Ship")


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 an error to act on, 2 usage, 3 a gate said no, 130 interrupted."""
    try:
        _mend_streams()
        _refuse_nowhere()
        app()
    except VortexError as error:
        _end(error, error, error.exit_code)
    except KeyboardInterrupt as error:
        _end(Interrupted("interrupted", "run the same command again"), error, Interrupted.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(VortexError(f"{where}{error.strerror or error}", "check the path, its permissions and the free space on the disk"), error, 1)
    except Exception as error:
        found = str(error).strip().splitlines()[:1]
        _end(
            VortexError(
                f"this is a bug in vortex, please report it: {type(error).__name__}: {found[0] if found else 'no message'}",
                "run it again with --traceback and send what it prints",
            ),
            error,
            1,
        )


def _mend_streams() -> None:
    """A closed stream swallows what is said, and a character that a terminal cannot show is spelt out: neither ends a command."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  it stays open until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _refuse_nowhere() -> None:
    """Libraries end the process with a riddle when the folder that it was started in is gone."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise VortexError("the current folder was removed", "change to a folder that exists, and run the command again") from error


def _end(shown: VortexError, error: BaseException, code: int) -> None:
    if console.session.traceback:
        import traceback

        traceback.print_exception(error)
    console.fail(shown)
    sys.exit(code)


if __name__ == "__main__":
    main()
