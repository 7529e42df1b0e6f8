from __future__ import annotations

from validation.promotion.evidence import ShippedFile
from validation.promotion.gates.engine_builds import EngineBuilds, judge

RULE = EngineBuilds(check="engine-builds")


def test_what_the_parser_says_counts_where_it_was_asked():
    assert list(judge(RULE, None)) == [] and list(judge(RULE, ShippedFile("fp16 for jetson", True))) == []
    for passed in (True, False):
        (check,) = judge(RULE, ShippedFile("int8 for jetson", True, builds=(passed, "what it said")))
        assert (check.name, check.passed, check.found) == ("engine-builds", passed, "what it said")
