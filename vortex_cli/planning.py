"""The options by which `vortex train` plans, for every other command that plans a training: the same names, help and defaults."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from vortex_cli.commands.train import plan_options, train

NOT_OF_THE_PLAN: Final = {"resume", "dry_run", "walltime"}
"""What `vortex train` takes beside: how a run is carried out, not what it is."""


def takes_plan_options(*left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that plan a training, but those `left_out`; it gets them as `plan`, ready for `pipelines.train.plan.decide.plan`."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        borrowed = {
            name: parameter
            for name, parameter in inspect.signature(train, eval_str=True).parameters.items()
            if name not in NOT_OF_THE_PLAN and name not in left_out
        }

        @functools.wraps(function)
        def command(**given: Any) -> None:
            said = {name: given.pop(name) for name in borrowed}
            function(plan=plan_options(**said), **given)

        own = [parameter for name, parameter in inspect.signature(function, eval_str=True).parameters.items() if name != "plan"]
        # An argument comes before options; all have defaults.
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*borrowed.values(), *own)]
        del command.__wrapped__
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate
