"""The order of the stages, and who must agree on it."""

from __future__ import annotations

from core.stages import STAGES
from validation.promotion.policies import PromotionPolicy


def test_every_stage_has_its_rules_in_the_policies() -> None:
    assert STAGES == ("candidate", "staging", "production")
    assert tuple(PromotionPolicy.model_fields) == (*STAGES, "also")
