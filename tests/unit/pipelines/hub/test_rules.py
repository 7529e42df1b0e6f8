"""Commands in random orders leave the hub as a small model of its rules says. `make bench-rules` asks more, and kills as well."""

from __future__ import annotations

from pathlib import Path

from benchmarks.rules import torment


def test_the_hub_keeps_its_rules_in_any_order(registry_templates: tuple[Path, Path]) -> None:
    torment(registry_templates[0], slow=False, examples=3, steps=10)
