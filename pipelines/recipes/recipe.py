"""Recipes: how a version is made, complete in one typed file each. Editing v2 can never change v3; `parents` is lineage, not inheritance."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from core import strict_yaml
from core.errors import UsageError, VortexError
from core.files import read_text_of_user
from core.shipped import SHIPPED
from pipelines.recipes.schema import TOLD, Recipe

FOLDER = Path(__file__).parent
_EXAMPLE = f"a complete example is {FOLDER / 'v9.yaml'}"
_SETTABLE = ("student", "loss", "optimizer", "schedule", "augmentation", "ema", "anchor", "stages")
"""Blocks that decide how training goes; the others tell where a recipe comes from and what became of it."""
_SUGGESTED = 5


class RecipeError(VortexError):
    """A recipe that does not exist or does not fit the schema."""


def source(name_or_path: str) -> str:
    """Where to read a recipe again: its shipped name, or its file wherever the next command is run."""
    return name_or_path if name_or_path in SHIPPED else str(Path(name_or_path).resolve())


def load(name_or_path: str | Path) -> Recipe:
    """Read a shipped recipe by name, or any recipe file by path. Raises RecipeError listing every fault of the file."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        if str(name_or_path) not in SHIPPED:
            raise RecipeError(
                f"unknown recipe {str(name_or_path)!r}; shipped are: {', '.join(SHIPPED)}", "name one of them, or a recipe's .yaml file"
            )
        path = FOLDER / f"{name_or_path}.yaml"
    try:
        raw = strict_yaml.parse(read_text_of_user(path))
    except FileNotFoundError as error:
        raise RecipeError(f"{path} does not exist", f"shipped recipes are: {', '.join(SHIPPED)}") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror or error})", "name a recipe's .yaml file") from error
    except ValueError as error:
        raise RecipeError(f"{path}: not readable as YAML ({error})", "mend the file") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: holds {'nothing' if raw is None else f'a {type(raw).__name__}'}, wanted are a recipe's keys", _EXAMPLE)
    return parse(raw, str(path))


def parts(config: Mapping[str, Any], *, by_teacher: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of a version's recipe made it, and what its authors told of their own: status, lessons, and unless `by_teacher` its teacher."""
    told = {"summary", "status", *TOLD} | (set() if by_teacher else {"teacher"})
    told -= {"name", "codename"}
    own = {key: value for key, value in config.items() if key not in told}
    return own, {key: value for key, value in config.items() if key in told}


def parse(raw: object, where: str) -> Recipe:
    """A recipe from plain values. Raises RecipeError with every fault; `where` names the source in it."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        faults = strict_yaml.faults(error)
        raise RecipeError(f"{where}: {len(faults)} fault(s) in the recipe", _EXAMPLE, faults) from error


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """`recipe` with dotted keys set, as `loss.weighting=fixed` or `stages.1.mixing=alternating`; values are written as in a recipe's file.

    A whole block can be set at once: `ema={decay: 0.99}`, `augmentation.color_jitter=null`. Raises UsageError for a key that is unknown
    (naming the nearest ones) or set twice, RecipeError listing every value that does not fit.
    """
    if not settings:
        return recipe
    raw = copy.deepcopy(recipe.model_dump(mode="json"))
    allowed = [key for name in _SETTABLE for key in _keys(name, Recipe.model_fields[name].annotation, raw[name])]
    keys: list[str] = []
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        if not equals or not key:
            raise UsageError(f"--set {setting!r} is not KEY=VALUE", "for example --set optimizer.encoder_lr=1e-5")
        if key not in allowed:
            raise _unknown(key, allowed)
        overlapping = [other for other in keys if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")]
        if overlapping:
            raise UsageError(f"--set {key} and --set {overlapping[0]} set the same thing", "set each key once")
        keys.append(key)
        _put(raw, key.split("."), _value(setting, text))
    return parse(raw, f"recipe {recipe.name} with {', '.join(f'--set {setting}' for setting in settings)}")


def _keys(prefix: str, annotation: Any, value: Any) -> Iterator[str]:
    """Every dotted key that the schema knows below `prefix`, blocks themselves included; list items are numbered from 1 as they are."""
    yield prefix
    block, is_list = _block(annotation)
    if block is None:
        return
    places = [(f"{prefix}.{number}", item) for number, item in enumerate(value or (), 1)] if is_list else [(prefix, value or {})]
    for place, inner in places:
        if is_list:
            yield place
        for name, field in block.model_fields.items():
            yield from _keys(f"{place}.{name}", field.annotation, inner.get(name))


def _block(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The block of settings inside a type such as `Block | None` or `tuple[Block, ...]`, and whether it is a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    blocks = [inner for inner in get_args(annotation) if isinstance(inner, type) and issubclass(inner, BaseModel)]
    return (blocks[0], Ellipsis in get_args(annotation)) if blocks else (None, False)


def _put(raw: Any, path: Sequence[str], value: object) -> None:
    """Set the value at a path; a block that was null is begun, and what else it needs is for the schema to say."""
    key: Any = int(path[0]) - 1 if isinstance(raw, list) else path[0]
    if len(path) == 1:
        raw[key] = value
        return
    if raw[key] is None:
        raw[key] = {}
    _put(raw[key], path[1:], value)


def _value(setting: str, text: str) -> object:
    try:
        return strict_yaml.parse(text)
    except ValueError as error:
        raise UsageError(f"--set {setting!r}: its value is not readable ({error})", "write it as in a recipe's file") from error


def _unknown(key: str, allowed: Sequence[str]) -> UsageError:
    near = difflib.get_close_matches(key, allowed, n=_SUGGESTED, cutoff=0.5)
    # A bare last part, as in `--set mixing=alternating`, is nearest to the keys that end in it.
    ending = [name for name in allowed if name.rpartition(".")[2] == key.rpartition(".")[2]]
    suggested = list(dict.fromkeys([*ending, *near]))[:_SUGGESTED] or _SETTABLE
    return UsageError(
        f"--set {key}: no setting of the recipe has this key; nearest are: {', '.join(suggested)}", "vortex recipes NAME shows every key"
    )


def differences(a: Recipe, b: Recipe, without: Collection[str] = ()) -> list[tuple[str, Any, Any]]:
    """What two recipes say differently, as (dotted key, value in a, value in b); a part that only one has is None in the other.

    The blocks `without` are not compared.
    """
    leaves_a, leaves_b = (dict(leaves(recipe)) for recipe in (a, b))
    keys = [key for key in dict.fromkeys([*leaves_a, *leaves_b]) if key.partition(".")[0] not in without]
    return [(key, leaves_a.get(key), leaves_b.get(key)) for key in keys if leaves_a.get(key) != leaves_b.get(key)]


def leaves(recipe: Recipe) -> list[tuple[str, Any]]:
    """Every setting of a recipe as (dotted key, value)."""
    return _flat("", recipe.model_dump(mode="json"))


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """Dotted leaves; a list of plain values is one leaf, a list of blocks is numbered."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _flat(f"{prefix}.{key}" if prefix else key, item)]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [leaf for index, item in enumerate(value, 1) for leaf in _flat(f"{prefix}.{index}", item)]
    return [(prefix, value or None if isinstance(value, (list, dict)) else value)]
