"""From classes of options to Typer's parameters: the one place where a command's signature is made.

Typer reads the parameters of a command from its signature. A command here takes a class of options as one argument
(`options: TrainOptions`), and `as_command` gives Typer a signature in which that argument has become the fields of the class.
"""

from __future__ import annotations

import dataclasses
import gc
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, get_args, get_type_hints

import typer

from core.errors import Interrupted, UsageError
from core.option import Option
from vortex_cli import console
from vortex_cli.completion import complete_datasets, complete_domains, complete_recipes, complete_versions

COMPLETIONS: Final = {
    "recipes": complete_recipes,
    "versions": complete_versions,
    "datasets": complete_datasets,
    "domains": complete_domains,
}
LARGEST_SIDE: Final = 4096


@dataclass(frozen=True)
class After:
    """In the `Annotated[…]` of a command's own option: the help has it after this field of the class of options."""

    field: str


def as_command(function: Callable[..., None], words: str) -> Callable[..., None]:
    """`function` as Typer takes it: each field of its classes of options is a parameter, and so are the options of every command.

    `words` are those that call it: `vortex keys init`.
    """
    own = inspect.signature(function, eval_str=True).parameters.values()
    annotations = {parameter.name: parameter.annotation for parameter in own if isinstance(parameter.annotation, type)}
    classes = {name: kind for name, kind in annotations.items() if dataclasses.is_dataclass(kind)}

    def command(**values: Any) -> None:
        gc.freeze()  # nor will it be
        gc.enable()
        console.session.restore(_taken(console.Session, values))
        console.hush_libraries()
        _refuse_nul(values)
        options = {name: _taken(kind, values) for name, kind in classes.items()}
        try:
            with console.silence.watched(words):
                function(**options, **values)
        except KeyboardInterrupt as error:  # typer would end the process here, without a word
            raise Interrupted("interrupted", "run the same command again") from error
        finally:
            gc.unfreeze()  # what one froze (`vortex lineage`) is garbage again for who calls several in one process, as the demo does

    parameters: list[inspect.Parameter] = []
    for parameter in own:
        if parameter.name in classes:
            parameters += parameters_of(classes[parameter.name])
        else:
            parameters.insert(_place(parameter, parameters), parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    parameters += parameters_of(console.Session)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


@cache
def parameters_of(options: type) -> tuple[inspect.Parameter, ...]:
    """A parameter for each field of a class of options."""
    return tuple(
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_annotation(name, kind, option))
        for name, kind, option, default in _fields(options)
    )


def named(context: typer.Context, options: type) -> set[str]:
    """The fields of a class of options that the command line itself names; the others have their defaults."""
    sources = {name: context.get_parameter_source(name) for name, *_ in _fields(options)}
    return {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}


def parse_size(text: str, least: int, example: str) -> tuple[int, int]:
    """A size as it is typed, height x width. Raises UsageError for what is none, or has a side of less than `least` pixels or over 4096."""
    height, _, width = text.lower().partition("x")
    numbers = text.isascii() and len(text) < 12 and height.isdigit() and width.isdigit()
    if numbers and all(least <= int(side) <= LARGEST_SIDE for side in (height, width)):
        return int(height), int(width)
    allowed = f"HxW with {least} to {LARGEST_SIDE} pixels each"
    raise UsageError(f"--size {text!r} is not a size, allowed: {allowed}", f"for example --size {example}")


@cache
def _fields(options: type) -> list[tuple[str, Any, Option, Any]]:
    """Name, type, `Option` and default of each field."""
    hints = get_type_hints(options, include_extras=True)
    return [(field.name, *get_args(hints[field.name]), field.default) for field in dataclasses.fields(options)]


def _annotation(name: str, kind: Any, option: Option) -> Any:
    """What Typer reads of a field. Its default stands in the help's own words, where it is worth telling."""
    flag = f"--{name.replace('_', '-')}" if kind is bool else None
    names = [text for text in (option.name or flag,) if text]
    common: dict[str, Any] = {
        "metavar": option.metavar, "help": option.help, "min": option.least, "max": option.most,
        "autocompletion": COMPLETIONS.get(option.completes or ""), "show_default": False,
    }  # fmt: skip
    if _is_size(kind):
        return Annotated[str | None, typer.Option(*names, **common | {"min": None, "max": None})]
    if _is_repeated(kind):
        kind = list[str]
    return Annotated[kind, typer.Argument(**common) if option.argument else typer.Option(*names, **common)]


def _refuse_nul(values: dict[str, Any]) -> None:
    """No file, no name and no server has a NUL in it, and what takes one raises in its own words."""
    for name, value in values.items():
        for word in value if isinstance(value, list) else [value]:
            if "\0" in str(word):
                raise UsageError(f"--{name.replace('_', '-')} {str(word)[:80]!r} has a NUL character in it", "leave it out")


def _taken(options: type, values: dict[str, Any]) -> Any:
    """An instance of a class of options from what Typer parsed; its fields are taken out of `values`."""
    fields = {}
    for name, kind, option, _ in _fields(options):
        value = values.pop(name)
        if _is_size(kind) and value is not None:
            value = parse_size(value, option.least or 1, option.example)
        fields[name] = tuple(value) if _is_repeated(kind) else value
    return options(**fields)


def _is_size(kind: Any) -> bool:
    return bool(kind == tuple[int, int] | None)


def _is_repeated(kind: Any) -> bool:
    return bool(kind == tuple[str, ...])


def _place(parameter: inspect.Parameter, others: list[inspect.Parameter]) -> int:
    """Where a command's own parameter stands among those before it: at their end, unless it says after which."""
    after = next((extra.field for extra in get_args(parameter.annotation)[1:] if isinstance(extra, After)), None)
    return next((place for place, other in enumerate(others, 1) if other.name == after), len(others))
