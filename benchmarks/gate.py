"""Does the data gate catch every fault by the check that is named for it, and let every honest set through?

    make bench-gate            (benchmarks/gate.py [--smoke])

Target: every faulty set is refused by its own check, and no honest one by any; exit 1 on a single miss. Every set is made by code
from the two synthetic worlds (benchmarks/corpus/): rendered once, copied, and changed. With VORTEX_FRAMES the real sets are judged too.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

from benchmarks.corpus.faults import DRIFT, FAULTS
from benchmarks.corpus.honest import HONEST, real
from benchmarks.corpus.manifests import Fault
from benchmarks.corpus.sets import Delivery, judge, reference, rendered
from validation.profile import Profile

SMOKE = ("the same key twice", "a teacher of half scale", "a training picture in val, re-encoded")


def main() -> None:
    """Judge every set and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="three faults and one honest set: does it work at all?")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        bases = Bases(Path(folder))
        faults = [fault for fault in FAULTS if fault.name in SMOKE] if options.smoke else FAULTS
        missed = sum(not _caught(bases, fault) for fault in faults)
        honest = HONEST[:1] if options.smoke else HONEST
        alarms = 0
        for each in honest:
            made = bases.copy(each.world, each.seed)
            each.shape(made)
            alarms += _alarmed(each.name, judge(made, bases.reference(each.world) if each.referred else None))
            shutil.rmtree(made.root)
        sets = [] if options.smoke else list(real())
        alarms += sum(_alarmed(name, judge(delivery)) for name, delivery in sets)
    print(f"\n{len(faults) - missed} of {len(faults)} faulty sets caught by the check named for the fault")
    print(f"{alarms} false alarms on {len(honest) + len(sets)} honest sets" + ("" if sets else " (VORTEX_FRAMES names no real ones)"))
    sys.exit(bool(missed or alarms))


class Bases:
    """The honest sets that everything is made from, each rendered once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[tuple[str, int], Delivery] = {}
        self.references: dict[str, Profile] = {}

    def base(self, world: str, seed: int = 0) -> Delivery:
        """The honest set of a world and seed."""
        if (world, seed) not in self.made:
            self.made[world, seed] = rendered(self.folder / f"{world}-{seed}", world, seed)
        return self.made[world, seed]

    def copy(self, world: str, seed: int = 0) -> Delivery:
        """A copy to change, always in the same place."""
        return self.base(world, seed).copy(self.folder / "set")

    def reference(self, world: str) -> Profile:
        """The profile of a world's base set."""
        if world not in self.references:
            self.references[world] = reference(self.base(world))
        return self.references[world]


def _caught(bases: Bases, fault: Fault) -> bool:
    made = bases.copy(fault.world)
    fault.spoil(made)
    found = judge(made, bases.reference(fault.world) if fault in DRIFT else None)
    shutil.rmtree(made.root)
    caught = fault.check in found and fault.says in found[fault.check]
    said = found.get(fault.check) or ", ".join(found) or "nothing"
    print(f"{'caught' if caught else 'MISSED':7} {fault.name:42} {fault.check:22} {' '.join(said.split())[:100]}")
    return caught


def _alarmed(name: str, found: dict[str, str]) -> bool:
    print(f"{'ALARM' if found else 'passed':7} {name:42} {'; '.join(f'{check}: {said}' for check, said in found.items())[:160]}")
    return bool(found)


if __name__ == "__main__":
    main()
