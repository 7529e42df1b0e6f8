"""The factor of an ablation and its arms, and the proof that the arms differ in nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from core.errors import GateRefused, UsageError
from core.shipped import SHIPPED
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import TOLD, Recipe
from pipelines.train.plan.decide import decide
from pipelines.train.plan.gather import gather
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.train_plan import TrainPlan, Upkeep, fields_marked
from pipelines.workspace import Workspace

_NOT_COMPARED: Final = ("name", "parents", *TOLD)
"""What two recipes may say differently without training differently; the weights that they start from are compared as such."""
_IMPLIED: Final = {"student.encoder": {"start"}, "anchor": {"anchor_data"}}
"""What follows from a factor: another encoder starts from its own ImageNet weights, EWC reads its parent's data."""
_EXAMPLE: Final = "for example --vary loss.weighting=kendall,fixed"


@dataclass(frozen=True)
class Factor:
    """What is varied: a dotted key of the recipe. `values` has what each arm sets it to, as it was written, by the arm's name."""

    key: str
    values: Mapping[str, str]
    name: str
    recipe: str


def arms(ws: Workspace, options: TrainOptions, vary: str | None, against: str | None) -> tuple[Factor, dict[str, TrainPlan]]:
    """The factor, and the plan of each arm by its name; the first arm is what the others are compared with.

    Raises UsageError for arms that do not differ, GateRefused when they differ in more than the factor.
    """
    base = _plan(ws, options)
    if against is not None:
        key = _key_alone(vary)
        if options.recipe is None:
            raise UsageError("--against compares two recipes, and --from names none", "leave one of the two out")
        plans = {"recipe": base, "against": _plan(ws, replace(options, recipe=against))}
        values = {arm: _value_of(planned.recipe, key) for arm, planned in plans.items()}
    else:
        key, values = _variants(base.recipe) if vary is None else _values(vary)
        plans = {arm: _plan(ws, replace(options, settings=(*options.settings, f"{key}={value}"))) for arm, value in values.items()}
    first, *others = plans.items()
    for arm, planned in others:
        _require_one_factor(key, values, first, (arm, planned))
    return Factor(key, values, _name(key, plans), base.recipe.name), plans


def _plan(ws: Workspace, options: TrainOptions) -> TrainPlan:
    return decide(options, gather(ws, options))


def _values(vary: str) -> tuple[str, dict[str, str]]:
    """`KEY=A,B` → the key, and the values by name; commas inside brackets belong to a value."""
    key, equals, text = (part.strip() for part in vary.partition("="))
    values, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            values.append("")
        else:
            values[-1] += letter
    values = [value.strip() for value in values]
    if not key or not equals or len(values) < 2 or not all(values):
        raise UsageError(f"--vary {vary!r} is not KEY=A,B: a key of the recipe and two values or more", _EXAMPLE)
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise UsageError(f"--vary {key}: {', '.join(twice)} is given twice, and would be compared with itself", _EXAMPLE)
    return key, {value: value for value in values}


def _variants(recipe: Recipe) -> tuple[str, dict[str, str]]:
    """The recipe's own variants, which differ in their loss weighting."""
    if len(recipe.variants) < 2:
        owners = [name for name in SHIPPED if recipes.load(name).variants]
        raise UsageError(f"what is to be varied? {recipe.name} has no variants of its own ({', '.join(owners)} has)", _EXAMPLE)
    return "loss.weighting", {variant.name: variant.weighting for variant in recipe.variants}


def _key_alone(vary: str | None) -> str:
    if not vary or "=" in vary:
        raise UsageError("--against takes the values from two recipes, and needs the key in which they differ", "--vary loss.weighting")
    return vary.strip()


def _value_of(recipe: Recipe, key: str) -> str:
    """What a recipe says of a key, or of all keys of a block."""
    values = {name: value for name, value in recipes.leaves(recipe) if _within(name, key)}
    return str(values.get(key, values or "–"))


def _within(name: str, key: str) -> bool:
    return name == key or name.startswith(f"{key}.")


def _require_one_factor(key: str, values: Mapping[str, str], first: tuple[str, TrainPlan], other: tuple[str, TrainPlan]) -> None:
    """Raise an error unless two arms differ in the factor, and in nothing but what follows from it."""
    (a, plan_a), (b, plan_b) = first, other
    differences = recipes.differences(plan_a.recipe, plan_b.recipe, _NOT_COMPARED)
    if not any(_within(name, key) for name, _, _ in differences):
        raise UsageError(
            f"{key}: {values[a]} and {values[b]} are one and the same, so nothing would be compared",
            f"give two values that differ; {_EXAMPLE}",
        )
    more = [f"{name}: {_text(value_a)} against {_text(value_b)}" for name, value_a, value_b in differences if not _within(name, key)]
    more += _around(key, plan_a, plan_b)
    if more:
        raise GateRefused(
            f"{a} and {b} differ in more than {key}: {len(more)} other thing(s), the first is {more[0]}",
            "make the arms alike in all but the factor, so that the effect has one cause",
            more,
        )


def _around(key: str, plan_a: TrainPlan, plan_b: TrainPlan) -> list[str]:
    """What differs between two plans outside their recipes: data, start, size, and what they are judged by."""
    implied = next((fields for factor, fields in _IMPLIED.items() if _within(key, factor)), set())
    fields = ["target", "start", "device", "workers", "seed", "step", "sync_batch_norm", "anchor_data"]
    more = [f"{name}: {getattr(plan_a, name)} against {getattr(plan_b, name)}" for name in fields
            if name not in implied and getattr(plan_a, name) != getattr(plan_b, name)]  # fmt: skip
    if plan_a.size != plan_b.size:
        more.append(f"the size of the frames that are judged: {_text(plan_a.size)} against {_text(plan_b.size)}")
    used = [[(data.name, data.digest, data.limit) for stage in plan.stages for data in stage.data] for plan in (plan_a, plan_b)]
    if used[0] != used[1]:
        more.append(f"data: {' + '.join(name for name, *_ in used[0])} against {' + '.join(name for name, *_ in used[1])}")
    return more


def _text(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _name(key: str, planned: Mapping[str, TrainPlan]) -> str:
    """A name that holds all that decides the outcome but the seeds, so that seeds can be added later."""
    digests = "".join(plan.digest(without=("seed", *fields_marked(Upkeep))) for plan in planned.values())
    recipe = next(iter(planned.values())).recipe.name
    return f"{recipe}-{key.replace('.', '-').replace('_', '-')}-{hashlib.sha256(digests.encode()).hexdigest()[:8]}"
