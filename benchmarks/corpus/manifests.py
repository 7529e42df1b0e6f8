"""What a fault is, and the faulty manifests: refused by the strict pass over the rows, before a single frame is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.corpus.sets import Delivery

Change = Callable[[Delivery], object]


@dataclass(frozen=True)
class Fault:
    """`spoil` puts the fault into a copy of the base set of `world`; `check` has to say no. `says` is part of what it then says."""

    name: str
    check: str
    spoil: Change
    world: str = "rooms"
    says: str = ""


def _line(name: str, says: str, change: Callable[[str], str]) -> Fault:
    return Fault(name, "manifest", lambda set_: set_.edit(3, change), says=says)


MANIFEST = [
    _line("the same key twice", "is there twice", lambda line: line.replace('"split"', '"split": "val", "split"')),
    _line("a number beyond all bounds (1e999)", "fx is inf", lambda line: line.replace('"fx": ', '"fx": 1e999, "was": ', 1)),
    _line("NaN as a number", "fx is nan", lambda line: line.replace('"fx": ', '"fx": NaN, "was": ', 1)),
    _line("a lone surrogate", "surrogate", lambda line: line.replace('"sequence": "', '"sequence": "\\ud800')),
    _line("a text that is not UTF-8", "UTF-8", lambda line: line.replace('"sequence": "', '"sequence": "\udcff')),
    _line("nested 50,000 deep", "nested", lambda line: line.replace('"sequence": "s0"', f'"sequence": {"[" * 50_000}{"]" * 50_000}')),
    _line("a line of two megabytes", "longer than", lambda line: line[:-1] + " " * (2 << 20) + "}"),
    _line("a path with '..'", "without '..'", lambda line: line.replace("rgb/", "../rgb/")),
    _line("an absolute path", "relative", lambda line: line.replace('"rgb/', '"/rgb/')),
    _line("an unknown key", "is unknown", lambda line: line.replace('"rgb"', '"colour"')),
    _line("half a line", "not JSON", lambda line: line[: len(line) // 2]),
    _line("a sequence without a name", "sequence is", lambda line: line.replace('"sequence": "s0"', '"sequence": ""')),
    _line("a sensor declared relative", "only a teacher", lambda line: line.replace('"depth_unit": "mm"', '"depth_unit": "relative"')),
    Fault("the same id twice", "manifest", lambda set_: set_.change([5], id=set_.rows[4].id), says="already on line"),
    Fault("no frames at all", "manifest", lambda set_: set_.rows.clear(), says="no frames"),
]
