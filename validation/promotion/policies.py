"""What each promotion stage asks for: the `promotion` part of `policies.yaml`, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from core.errors import VortexError
from core.stages import STAGES
from validation.promotion.gates import GATES
from validation.strict import Strict

if TYPE_CHECKING:
    Rule = Strict
else:
    # The rule of any registered gate, told apart by its `check`; a union that is built from a table is none to a type checker.
    Rule = Annotated[Union[tuple(GATES)], Field(discriminator="check")]  # noqa: UP007


class PromotionPolicy(Strict):
    """What each stage asks for, as complete lists."""

    candidate: tuple[Rule, ...] = Field(min_length=1)
    staging: tuple[Rule, ...] = Field(min_length=1)
    production: tuple[Rule, ...] = Field(min_length=1)

    def stage(self, name: str) -> tuple[Rule, ...]:
        """The rules of a stage. Raises VortexError naming the known stages."""
        if name not in STAGES:
            raise VortexError(f"unknown stage {name!r}; the stages are: {', '.join(STAGES)}", "name one of them with --stage")
        rules: tuple[Rule, ...] = getattr(self, name)
        return rules
