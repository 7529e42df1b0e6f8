"""Races for names and channels: many processes register and promote at once, on a ledger that does not exist yet.

    make bench-registry            (benchmarks/registry.py [--rounds 200] [--racers 8] [--smoke])

Asked: every number given once and none left out; in every round of promotions exactly one winner; the hash chain whole at the end.
Runs on sqlite, and also on PostgreSQL where VORTEX_TEST_POSTGRES names a database whose ledger may be dropped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from multiprocessing.sharedctypes import SynchronizedArray
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Final

from registry.channels import Channel
from registry.edges import DataEdge, TeacherEdge, WeightsEdge
from registry.events.version import VersionMeasured, VersionRegistered
from registry.ledger import Ledger
from registry.records import Artifact, DataUse, Metrics, NewVersion
from registry.stages import ChannelMoved, StageJudgement, channel_state, record_promotion
from registry.versions import append_registration

CHANNEL = Channel("host", "corridor")
PATIENCE_S: Final = 120
"""How long a racer waits for the others: none is that slow, so one of them has ended."""


def new_version(number: int) -> NewVersion:
    """A version with as much recorded about it as a real one has."""
    use = DataUse("corridor", "corridor", "corridor", f"{number:064x}", f"{number:032x}.dir", True, {"train": 717, "gap": 80, "val": 197})
    recipe = {"name": "v6", "student": {"encoder": "efficientvit_b1"}, "stages": [{"name": f"s{n}", "data": ["rooms"]} for n in range(20)]}
    return NewVersion(
        recipe=None,
        derived=True,
        recipe_config=recipe,
        parents=(
            WeightsEdge(f"v{max(6, number // 2)}"),
            TeacherEdge("da3-metric-large"),
            DataEdge(use.name, use.digest),
        ),
        domain="corridor",
        data=(use,),
        size=(240, 320),
        run_id=f"{number:032x}",
        run=f"run-{number}",
        checkpoint=Artifact(f"{number:032x}/artifacts/best.safetensors", f"{number:064x}", 21_000_000),
        environment={f"package{n}": "1.0" for n in range(40)},
        codename="Lighthouse",
    )


def fill(ledger: Ledger, count: int) -> None:
    """Register `count` versions with two measurements each."""
    values = {f"measure{n}": 0.123456789 for n in range(20)} | {"rmse": 0.382, "miou": 0.316}
    with ledger.transaction() as tx:
        for number in range(10, 10 + count):
            name = append_registration(tx, new_version(number), number, actor="Ada Lovelace <ada@example.org>", reason="benchmark")
            for domain, camera in (("corridor", "femto-bolt"), ("rooms", "kinect")):
                metrics = Metrics(domain, camera, "val-pooled-10m/1", domain, "ab" * 32, values, 197)
                tx.append(VersionMeasured(name, metrics), actor="Ada Lovelace")


def promote_at_once(url: str, version: str, gate: Barrier, wins: SynchronizedArray[int], head_file: Path) -> None:
    """One racer, with a workspace of its own: in each round wait for the others, then promote what was judged before the round."""
    ledger = Ledger(url, head_file=head_file)
    for round_ in range(len(wins)):
        gate.wait(PATIENCE_S)
        try:
            record_promotion(ledger, CHANNEL, version, [StageJudgement("candidate", True)], round_, actor=version)
        except ChannelMoved:
            continue
        with wins.get_lock():
            wins[round_] += 1


def promotion_race(url: str, rounds: int, racers: int) -> dict[str, Any]:
    """Rounds in which all racers judged the same state: exactly one may win each, and each win moves the channel once."""
    ledger = Ledger(url)
    fill(ledger, racers)
    context = multiprocessing.get_context("fork")
    gate, wins = context.Barrier(racers), context.Array("i", rounds)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        crowd = [
            context.Process(target=promote_at_once, args=(url, f"v{10 + racer}", gate, wins, Path(folder) / f"{racer}.head"))
            for racer in range(racers)
        ]
        for process in crowd:
            process.start()
        for process in crowd:
            process.join()
    seconds = time.perf_counter() - start
    moves = channel_state(ledger, CHANNEL).seq
    ledger.verify()
    if list(wins) != [1] * rounds or moves != rounds or any(process.exitcode for process in crowd):
        ends = [process.exitcode for process in crowd]
        raise SystemExit(f"{list(wins).count(1)} of {rounds} rounds had one winner, {moves} moves, the racers ended with {ends}")
    return {"rounds": rounds, "racers": racers, "one_winner": list(wins).count(1), "moves": moves, "seconds": round(seconds, 1)}


def register_many(url: str, worker: int, count: int) -> None:
    """One process that registers `count` runs."""
    ledger = Ledger(url)
    for number in range(count):
        with ledger.transaction() as tx:
            append_registration(tx, new_version(worker * 10_000 + number), 1, actor=f"worker {worker}")


def registration_race(url: str, workers: int, count: int) -> dict[str, Any]:
    """Processes that register at once, on a ledger that does not exist yet: numbers without gap or repeat, the chain whole."""
    context = multiprocessing.get_context("fork")
    start = time.perf_counter()
    crowd = [context.Process(target=register_many, args=(url, worker, count)) for worker in range(1, workers + 1)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
    seconds = time.perf_counter() - start
    numbers = sorted(entry.head["number"] for entry in Ledger(url).entries(kinds=(VersionRegistered.kind,), bodies=False))
    whole = numbers == list(range(10, 10 + workers * count)) and not any(process.exitcode for process in crowd)
    Ledger(url).verify()
    if not whole:
        raise SystemExit(
            f"{len(numbers)} of {workers * count} versions; the processes ended with {[process.exitcode for process in crowd]}"
        )
    return {"processes": workers, "versions": len(numbers), "no_gap_no_repeat": whole, "per_second": round(len(numbers) / seconds)}


def races(rounds: int, racers: int) -> dict[str, Any]:
    """Both races on every database at hand; sqlite always. Each of the racers registers 50 versions."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        result["sqlite"] = {
            "register": registration_race(f"sqlite:///{folder}/register.db", racers, 50),
            "promote": promotion_race(f"sqlite:///{folder}/promote.db", rounds, racers),
        }
    if url := os.environ.get("VORTEX_TEST_POSTGRES"):
        result["postgresql"] = {
            "register": registration_race(emptied(url), racers, 50),
            "promote": promotion_race(emptied(url), rounds, racers),
        }
    return result


def emptied(url: str) -> str:
    """The PostgreSQL test database without a ledger."""
    from sqlalchemy import create_engine, text

    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS outbox, claims, events CASCADE"))
    engine.dispose()
    return url


def main() -> None:
    """Run the races and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--racers", type=int, default=8)
    parser.add_argument("--smoke", action="store_true", help="few rounds and racers: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.racers = 3, 3
    print(json.dumps(races(options.rounds, options.racers), indent=2))


if __name__ == "__main__":
    main()
