"""What each promotion stage asks for: the `promotion` part of `policies.yaml`, typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, Union

from pydantic import Field, model_validator

from core.errors import VortexError
from core.stages import STAGES
from validation.promotion.gates import GATES
from validation.strict import Strict

NAME: Final = r"^[a-z][a-z0-9_-]{0,62}$"

if TYPE_CHECKING:
    Rule = Strict
else:
    # The rule of any registered gate, told apart by its `check`; a union that is built from a table is none to a type checker.
    Rule = Annotated[Union[tuple(GATES)], Field(discriminator="check")]  # noqa: UP007


class Place(NamedTuple):
    """Where a version is promoted: the device, its runtime, and the domain."""

    device: str
    runtime: str
    domain: str


class Special(Strict):
    """What channels of a `runtime`, a `device` or a `domain`, or of all that are named, ask for beside what every channel asks.

    A rule takes the place of the general one with the same check, and the same metric where it has one.
    """

    runtime: Literal["onnxruntime", "tensorrt"] | None = None
    device: str | None = Field(default=None, pattern=NAME)
    domain: str | None = Field(default=None, pattern=NAME)
    candidate: tuple[Rule, ...] = ()
    staging: tuple[Rule, ...] = ()
    production: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Special:
        if self.runtime is None and self.device is None and self.domain is None:
            raise ValueError("of which channels? name a runtime, a device or a domain")
        if not any(getattr(self, stage) for stage in STAGES):
            raise ValueError(f"it asks nothing: give rules for {', '.join(STAGES)}")
        return self

    def holds(self, place: Place) -> bool:
        """Whether it is about channels of this place."""
        return all(getattr(self, name) in (None, value) for name, value in place._asdict().items())


class PromotionPolicy(Strict):
    """What each stage asks of every channel, as complete lists, and `also` what some channels ask beside it."""

    candidate: tuple[Rule, ...] = Field(min_length=1)
    staging: tuple[Rule, ...] = Field(min_length=1)
    production: tuple[Rule, ...] = Field(min_length=1)
    also: tuple[Special, ...] = ()

    def stage(self, name: str, place: Place | None = None) -> tuple[Rule, ...]:
        """The rules of a stage, at a place where one is given. Raises VortexError naming the known stages."""
        if name not in STAGES:
            raise VortexError(f"unknown stage {name!r}; the stages are: {', '.join(STAGES)}", "name one of them with --stage")
        rules = {_question(rule): rule for rule in getattr(self, name)}
        for special in self.also if place else ():
            if place and special.holds(place):
                rules |= {_question(rule): rule for rule in getattr(special, name)}
        return tuple(rules.values())


def _question(rule: Strict) -> tuple[str, str]:
    """What a rule asks, whatever its numbers are."""
    return str(getattr(rule, "check", "")), str(getattr(rule, "metric", ""))
