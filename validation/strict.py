"""The base of everything that `policies.yaml` holds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Frozen, and an unknown key is a fault: a misspelt bound must never be a bound that is silently off."""

    model_config = ConfigDict(extra="forbid", frozen=True)
