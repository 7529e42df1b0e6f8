"""Sixty robots pull from one publishing folder: a rollout to some of them, robots that vanish, a quarantine, a version that does not work.

    make bench-fleet            (benchmarks/fleet.py [--devices 60] [--together 4] [--smoke])

Each robot is a state folder and a process of the real agent, which pulls over HTTP and posts signed reports; the workspace promotes, publishes
and collects by its own functions, without a judge where the channel is only moved. In turn: all run the first version; a tenth of them take the
second; 20 take it once those run it, and 3 of these are killed after the swap, before they report; a day later the rollout is stopped, and
everybody holds; the second version goes into quarantine; a third one, whose depth is constant, is sent to about 20, and the rollout stops; the
channel goes back to the first.
Targets: nobody runs what the share does not give it; a rollout stops for silence and for a failure, and names who; 0 devices change while they
hold; every device that took the broken version rolls it back, and no other one stages it; in the end all run the first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any, Final

from vortex_jetson.formats.channel import Rollout
from vortex_jetson.update import agent
from vortex_jetson.update import device as devices
from vortex_jetson.update.device import Settings

from pipelines.data.datasets import resolve
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.ship import fleet
from pipelines.ship.promote import promote
from pipelines.ship.publish import publish
from pipelines.ship.quarantine import quarantine
from pipelines.ship.rollback import rollback
from pipelines.synthetic.dataset import synthesise
from pipelines.validate.gate_run import validate
from pipelines.workspace import load
from registry.channels import ChannelState
from registry.stages import channel_state, held
from tests.unit.pipelines.ship.conftest import SIZE, Arena
from tests.unit.pipelines.ship.test_publish import CHANNEL, Robots

VANISH: Final = (
    "import os, signal, sys\n"
    "from vortex_jetson import cli\nfrom vortex_jetson.update import outbox\n"
    "outbox.add = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
    "sys.exit(cli.main(sys.argv[1:]))\n"
)
"""An agent that loses its power when it has swapped, before it has written its report."""


class Server(ThreadingHTTPServer):
    """Serves the publishing folder, and puts what is delivered into a folder, in the order in which it came."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, published: Path, box: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Answers, directory=str(published)))
        self.box, self.count, self.lock = box, 0, threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where devices pull."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answers(SimpleHTTPRequestHandler):
    server: Server

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.count += 1
            (self.server.box / f"{self.server.count:06d}.json").write_bytes(content)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        return


class Fleet:
    """A workspace with versions, its server, and the devices that pull from it."""

    def __init__(self, folder: Path, count: int, together: int) -> None:
        self.robots = Robots(_arena(folder), folder)
        self.box, self.folder, self.together = folder / "box", folder / "devices", together
        self.box.mkdir()
        self.first, self.second = (self.robots.version(rmse, per_grey=1.0) for rmse in (0.4, 0.3))
        self.broken = self.robots.version(0.2, per_grey=0.0)
        self.robots.promote(self.first)
        server = Server(self.robots.ws.publish_folder, self.box)
        root = self.robots.ws.publish_folder / "metadata" / "1.root.json"
        self.names = [f"robot-{number:02d}" for number in range(count)]
        self.seconds: list[float] = []
        for name in self.names:
            devices.init(self.folder / name, Settings(name, str(CHANNEL), server.url), root)
            fleet.enroll(self.robots.ws, name, self.folder / name / "device.pub", str(CHANNEL))

    @property
    def state(self) -> ChannelState:
        """Where the channel stands."""
        return channel_state(hub(self.robots.ws).ledger, CHANNEL)

    @property
    def hold(self) -> str | None:
        """Why the rollout is stopped."""
        return held(hub(self.robots.ws).ledger, self.state)

    def pull(self, names: Iterable[str] | None = None, vanish: Sequence[str] = ()) -> Counter[str]:
        """Have these devices pull, or all, some at a time; how each ended, counted."""

        def one(name: str) -> str:
            begun = time.perf_counter()
            words = ["-c", VANISH] if name in vanish else ["-m", "vortex_jetson.cli"]
            command = [sys.executable, *words, "pull", "--state", str(self.folder / name)]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
            self.seconds.append(time.perf_counter() - begun)
            return {0: "done", 3: "rolled back", -9: "vanished"}.get(ended.returncode, ended.stderr.strip())

        with ThreadPoolExecutor(self.together) as pool:
            return Counter(pool.map(one, self.names if names is None else names))

    def running(self) -> dict[str, str | None]:
        """What each device runs, by what lies on its disk."""
        return {name: agent.status(devices.load(self.folder / name)).version for name in self.names}

    def on(self, version: str) -> set[str]:
        """The devices that run a version."""
        return {name for name, runs in self.running().items() if runs == version}

    def collect(self, **options: Any) -> tuple[Counter[str], tuple[str, ...]]:
        """Take what was reported into the ledger: how many, and which rollouts stopped."""
        collection = fleet.collect(self.robots.ws, self.box, **options)
        for path in self.box.iterdir():
            path.unlink()
        return Counter(report.outcome for report in collection.reports), collection.stopped

    def takers(self, share: float | None = None) -> list[str]:
        """The devices to which the rollout that stands goes."""
        state = self.state
        return list(filter(Rollout(share or state.share, f"{state.production}@{state.since}", None).takes, self.names))

    def share_of(self, count: int) -> float:
        """The smallest share, in hundredths, with which so many devices take what is in production."""
        return next(share / 100 for share in range(1, 100) if len(self.takers(share / 100)) >= count)


def _arena(folder: Path) -> Arena:
    """A workspace with an exam, in which versions can be put up for promotion."""
    import torch

    from models.checkpoint import save
    from models.student import Student, StudentConfig

    ws = init(folder / "workspace")
    synthesise(ws, "rooms", world="rooms", frames=60, seed=1, size=SIZE)
    ws = load(ws.root)
    if not validate(ws, resolve(ws, name_or_manifest="rooms")).passed:
        raise SystemExit("the synthetic rooms did not pass their gate")
    torch.manual_seed(0)
    save(folder / "student.safetensors", Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)), {})
    return Arena(load(ws.root), folder / "student.safetensors")


class Findings:
    """What was asked, and whether it was so."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def ask(self, right: bool, text: str) -> None:
        """Print a finding, and remember it where it is wrong."""
        print(f"{'ok' if right else 'NO':<4}{text}", flush=True)
        if not right:
            self.faults.append(text)


def simulate(folder: Path, count: int, together: int, few: float, many: int, lost: int) -> list[str]:
    """The whole story; what went otherwise than it should."""
    crew, findings = Fleet(folder, count, together), Findings()
    ask, ws = findings.ask, crew.robots.ws
    first, second, broken = crew.first, crew.second, crew.broken

    crew.pull()
    taken, _ = crew.collect()
    ask(len(crew.on(first)) == count and taken["taken"] == count, f"{len(crew.on(first))} of {count} run {first}, {taken['taken']} reports")

    crew.robots.promote(second, share=few)
    takers = set(crew.takers())
    crew.pull()
    ask(
        bool(takers) and crew.on(second) == takers,
        f"{few:.0%}: {len(crew.on(second))} run {second}, {len(takers)} should, the rest {first}",
    )
    early = promote(ws, second, "production", device="orin", share=crew.share_of(many))
    ask(bool(early.refused), "it goes to no more before they have reported")
    crew.collect()

    share = crew.share_of(many)
    wide = promote(ws, second, "production", device="orin", share=share)
    takers = set(crew.takers())
    ask(wide.passed, f"{share:.0%}: it goes to {len(takers)} once they have")
    vanished = sorted(takers - crew.on(second))[:lost]
    ends = crew.pull(vanish=vanished)
    ask(
        ends["vanished"] == lost and crew.on(second) == takers,
        f"{lost} of {len(takers)} vanish after the swap; {len(crew.on(second))} run {second}",
    )
    _, stopped = crew.collect()
    ask(not stopped and not crew.hold, "before the deadline the rollout stands")
    _, stopped = crew.collect(now=datetime.now(UTC) + timedelta(hours=25))
    named = [name for name in crew.names if f"{name} " in " ".join(stopped)]
    ask(named == vanished, f"after it the rollout is stopped for {', '.join(named) or 'nobody'}")
    ask(bool(promote(ws, second, "production", device="orin", share=1.0).refused), "it goes to no more")
    before = crew.running()
    crew.pull()
    ask(crew.running() == before, "devices hold: 0 change")

    crew.collect()
    quarantine(ws, second, reason="it stops before every door")
    crew.pull()
    reasons = [agent.status(devices.load(crew.folder / name)).hold or "" for name in crew.names]
    held_count = sum("it stops before every door" in reason for reason in reasons)
    ask(crew.running() == before and held_count == count, f"quarantine: {held_count} hold, and say why; 0 change")
    crew.collect()

    crew.robots.promote(broken, share=many / count)
    takers = set(crew.takers())
    ends = crew.pull(sorted(takers))
    rolled_back = {name for name in crew.names if agent.status(devices.load(crew.folder / name)).rolled_back}
    ask(
        rolled_back == takers and ends["rolled back"] == len(takers),
        f"a broken bundle: {len(rolled_back)} of {len(takers)} roll back by themselves",
    )
    _, stopped = crew.collect()
    ask(len(stopped) == 1 and "depth is constant" in stopped[0], "the rollout is stopped, with their reason")
    crew.pull()
    staged = {name for name in crew.names if f'"version": "{broken}"' in (crew.folder / name / "journal.jsonl").read_text()}
    ask(staged == takers and crew.running() == before, f"{len(staged - takers)} others take it; 0 change")

    crew.collect()
    rollback(ws, device="orin", to=first, reason="the first one works")
    publish(ws)
    crew.pull()
    taken, _ = crew.collect()
    lines = Counter(line.health for line in fleet.fleet(ws))
    ask(
        len(crew.on(first)) == count and lines["well"] == count,
        f"back to {first}: {len(crew.on(first))} of {count} run it, and the workspace knows",
    )
    print(
        f"{len(crew.seconds)} pulls, {together} at a time, {median(crew.seconds):.2f} s each (median), {max(crew.seconds):.2f} s at the most"
    )
    return findings.faults


def main() -> None:
    """Print what was found; exit 1 where something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=60)
    parser.add_argument("--together", type=int, default=4, help="agents that are at work at a time")
    parser.add_argument("--smoke", action="store_true", help="three devices, to see that it runs")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        if options.smoke:
            faults = simulate(Path(folder), 3, options.together, 0.4, 2, 1)
        else:
            faults = simulate(Path(folder), options.devices, options.together, 0.1, 20, 3)
    print(f"{len(faults)} faults, {time.monotonic() - begun:.0f} s")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
