"""Take a device's power, or its disk's space, at every event that changes a file, and see whether it boots and goes on.

    make bench-robot_kills      (benchmarks/robot_kills.py [--updates 100] [--reboots 100] [--stride 1] [--seed 0] [--only shadow] [--smoke])

The agent runs in a fork, with a real publishing folder (python-tuf) and real ONNX files. An audit hook counts what changes files (open for
writing, rename, link, mkdir, remove, …), and `os.write`, `os.fsync`, `os.ftruncate` and `os.fchmod` are counted where they are called. Before
the Nth the process gets SIGKILL; or from the Nth on every event that needs space raises ENOSPC; or the state folder lies on a tmpfs of so few
kilobytes. The agent's children are forks too, so that they need not start Python anew each time: same code, same end.

Asked after each: the state is readable, `current` leads to a bundle that is whole, old or new, by its digests; the agent's error is one of
its own; the same command again ends as if nothing had been, and nothing half written is left. One pull builds an engine, by a stand-in for
TensorRT that computes by ONNX Runtime; what runs then has an engine whose digest is right. Then: updates in a row with kills at random
(0 lost), reboots in the middle of health checks (0 rollbacks), and reports that nobody takes after a commit (0 rollbacks).
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from vortex_jetson import child
from vortex_jetson.engines import builds
from vortex_jetson.errors import HealthFailed, RobotError, UsageError
from vortex_jetson.formats import bundle
from vortex_jetson.formats.channel import Release
from vortex_jetson.limits import LIMITS
from vortex_jetson.update import agent, candidate, delivery, outbox
from vortex_jetson.update import device as devices
from vortex_jetson.update.device import Device, Settings

from tests.unit.jetson import forks
from tests.unit.jetson.publisher import CHANNEL, Publisher
from tests.unit.jetson.standin import cuda

NAMED: Final = {"os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "os.chmod"}
"""Audit events that change files."""
NEED_SPACE: Final = {"open", "os.link", "os.symlink", "os.mkdir", "os.write"}
HASTY: Final = replace(
    LIMITS, back_off_s=0.001, back_off_longest_s=0.002, connect_s=0.2, read_s=0.2, build_memory_bytes=1 << 30, build_workspace_bytes=1 << 20
)
DONE, OWN_ERROR, STRANGE = 0, 10, 20
"""How a fork ends: well, with an error of the agent's own, with another one."""
TMPFS_KB: Final = range(24, 200, 4)
ON_SMALL_DISKS: Final = ("pull, first", "pull, next", "pull, broken", "pull, shadow")


@dataclass
class Scenario:
    """A command of a device, from a state that was prepared once, to the version that has to run in the end."""

    name: str
    begin: Path
    """The device before it."""
    publish: Path
    run: Callable[[Device], object]
    ends: str
    """The version that runs in the end."""
    whole: tuple[Release, ...]
    """What may lie in a slot that runs."""
    shadows: bool = False
    """The device takes candidates."""
    beside: str | None = None
    """The candidate that lies there in the end."""
    events: int = 0


@dataclass
class Tally:
    """What came of a scenario's interruptions."""

    points: int = 0
    broken: int = 0
    """States that do not boot: unreadable, or a running bundle that is not whole."""
    lost: int = 0
    """The same command again did not end as it should."""
    strange: int = 0
    """Errors that were none of the agent's own."""
    littered: int = 0
    """Something half written is left in the end."""
    faults: list[str] = field(default_factory=list)

    @property
    def right(self) -> int:
        """Interruptions after which all was as asked."""
        return self.points - len(self.faults)


def events(at: Callable[[int, str], None]) -> None:
    """Call `at` with the number and the name of each event that is about to change a file. For the whole rest of this process."""
    count = 0
    inside = False

    def step(name: str) -> None:
        nonlocal count, inside
        if inside:
            return
        inside = True
        try:
            count += 1
            at(count, name)
        finally:
            inside = False

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        if name in NAMED or (name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            step(name)

    def counted(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapper(*arguments: Any) -> Any:
            step(name)
            return call(*arguments)

        return wrapper

    for name in ("write", "fsync", "ftruncate", "fchmod"):
        setattr(os, name, counted(getattr(os, name), f"os.{name}"))
    sys.addaudithook(hook)


def forked(work: Callable[[], object]) -> int:
    """Do something in a fork; its exit code, or the negative number of the signal that ended it."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = STRANGE
    try:
        work()
        code = DONE
    except (HealthFailed, UsageError):  # a bundle that was refused, a rollback that was done: words, not faults
        code = DONE
    except RobotError:
        code = OWN_ERROR
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def pretend_to_be_a_jetson() -> None:
    """Have this process and its forks find the stand-in for CUDA and TensorRT."""
    sys.path.insert(0, str(Path(cuda.__file__).parent))
    ctypes.CDLL = cuda.load  # type: ignore[assignment,misc]


def at(folder: Path, publish: Path, shadows: bool = False) -> Device:
    """The device of a copied state, which pulls from a folder."""
    device = devices.load(folder)
    return replace(device, settings=replace(device.settings, url=str(publish), shadow=shadows), limits=HASTY)


def scenarios(folder: Path) -> list[Scenario]:
    """Commands in both directions, each from its own state."""
    publisher = Publisher(folder / "publisher", days=90)
    v8, v9, bad = publisher.bundle("v8"), publisher.bundle("v9", padding=3000), publisher.bundle("v10", "constant")
    (folder / "root.json").write_bytes(publisher.root)
    new = folder / "new"
    devices.init(new, Settings("robot-7", CHANNEL, str(publisher.folder)), folder / "root.json")

    def published(name: str, release: Release, shadow: Release | None = None) -> Path:
        publisher.publish(release, shadow=shadow)
        return shutil.copytree(publisher.folder, folder / name)

    def after(name: str, begin: Path, publish: Path, shadows: bool = False) -> Path:
        copy = shutil.copytree(begin, folder / name, symlinks=True)
        agent.pull(at(copy, publish, shadows))
        shutil.rmtree(publish / "reports", ignore_errors=True)
        return copy

    with_v8 = published("publish-v8", v8)
    runs_v8 = after("runs-v8", new, with_v8)
    with_v9 = published("publish-v9", v9)
    runs_v9 = after("runs-v9", runs_v8, with_v9)
    with_bad = published("publish-bad", bad)
    back_to_v8 = published("publish-back", v8)
    jetson = folder / "jetson"
    devices.init(jetson, Settings("robot-8", CHANNEL, str(publisher.folder), "tensorrt"), folder / "root.json")
    v11 = publisher.bundle("v11", "same", target="jetson")
    with_v11 = published("publish-jetson", v11)
    waiting = shutil.copytree(runs_v9, folder / "waiting", symlinks=True)
    for version in ("v7", "v8", "v9"):
        outbox.add(at(waiting, with_v9), "committed", f"{version} runs", version, "0" * 64)
    v12 = publisher.bundle("v12", padding=2000)
    beside_v9, beside_v12 = published("publish-beside", v8, v9), published("publish-other", v8, v12)
    beside_bad, taken = published("publish-beside-bad", v8, bad), published("publish-taken", v9)
    shadowed = after("shadowed", runs_v8, beside_v9, shadows=True)
    for place in (with_v8, with_v9, with_bad, back_to_v8, beside_v9, beside_v12, beside_bad, taken, with_v11):
        (place / "reports").mkdir(exist_ok=True)
    return [
        Scenario("pull, first", new, with_v8, agent.pull, "v8", (v8,)),
        Scenario("pull, next", runs_v8, with_v9, agent.pull, "v9", (v8, v9)),
        Scenario("pull, back", runs_v9, back_to_v8, agent.pull, "v8", (v8, v9)),
        Scenario("pull, broken", runs_v9, with_bad, agent.pull, "v9", (v8, v9)),
        Scenario("pull, engine", jetson, with_v11, agent.pull, "v11", (v11,)),
        Scenario("rollback", runs_v9, with_v9, lambda device: agent.roll_back(device, "stops"), "v8", (v8, v9)),
        Scenario("pull, shadow", runs_v8, beside_v9, agent.pull, "v8", (v8,), True, "v9"),
        Scenario("pull, other shadow", shadowed, beside_v12, agent.pull, "v8", (v8,), True, "v12"),
        Scenario("pull, broken shadow", shadowed, beside_bad, agent.pull, "v8", (v8,), True),
        Scenario("pull, shadow comes to run", shadowed, taken, agent.pull, "v9", (v8, v9), True),
        Scenario("report", waiting, with_v9, outbox.send, "v9", (v8, v9)),
    ]


def boots(device: Device, whole: tuple[Release, ...], first: bool) -> str | None:
    """Why a device would not boot into a whole bundle, old or new, or has a candidate that is not whole; None where it does."""
    try:
        slots = device.slots()
        if slots.running is not None:
            agent.running(device, slots)
        current = device.folder / "current"
        if not current.is_symlink():
            return None if first else "current is gone"
        manifest = (current / "manifest.json").read_bytes()
        if bundle.digest(manifest) not in {release.bundle for release in whole}:
            return "current leads to another bundle"
        content = bundle.parse(manifest)
        bundle.verify(current / "bundle", content)
        if device.settings.runtime == "tensorrt":
            engine = builds.newest(device.engines, content)
            if engine is None:
                return "what runs has no engine"
            builds.read(engine, content)
        beside = candidate.proven(device)
        if beside is not None:
            delivery.verified(beside, beside.name)
    except (RobotError, OSError) as error:
        return f"does not boot: {error}"
    return None


def litter(device: Device) -> list[str]:
    """What is half written, or held by nobody."""
    paths = [path for path in device.folder.rglob("*") if ".staging" in path.name or path.name.endswith(".partial")]
    paths += [*(device.folder / "tuf").glob("tmp*"), *candidate.folder_of(device).glob(candidate.UNPROVEN)]
    return [str(path.relative_to(device.folder)) for path in paths]


def interrupted(scenario: Scenario, folder: Path, tally: Tally, interrupt: Callable[[Device], int]) -> None:
    """Interrupt a copy of the scenario, look at what is there, and let it go on."""
    state = shutil.copytree(scenario.begin, folder / "state", symlinks=True, dirs_exist_ok=True)
    publish = folder / "publish"
    shutil.copytree(scenario.publish, publish, copy_function=os.link)
    device = at(state, publish, scenario.shadows)
    tally.points += 1
    try:
        code = interrupt(device)
        fault = boots(device, scenario.whole, first=not (scenario.begin / "current").is_symlink())
        if code == STRANGE:
            tally.strange += 1
            fault = fault or "an error that is none of the agent's"
        elif fault:
            tally.broken += 1
        again = forked(lambda: scenario.run(device))
        try:
            slots = device.slots()
            version = slots.current.version
            agent.running(device, slots)
        except RobotError as error:
            version = error.message
        if again != DONE or version != scenario.ends or os.readlink(state / "current") != f"slots/{slots.running}":
            tally.lost += 1
            fault = fault or f"ended with {again}, {version} runs"
        elif (beside := agent.status(device).shadow) != scenario.beside:
            tally.lost += 1
            fault = fault or f"{beside} lies in the shadow"
        if scenario.name.startswith("pull") and (leftovers := litter(device)):
            tally.littered += 1
            fault = fault or f"left {leftovers}"
        if fault:
            tally.faults.append(fault)
    finally:
        shutil.rmtree(publish)
        for path in state.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def count_events(scenario: Scenario, folder: Path) -> int:
    """How many events a scenario has when nobody interrupts it."""
    path = folder / "count"

    def run(device: Device) -> int:
        def work() -> None:
            numbers = [0]
            events(lambda number, name: numbers.__setitem__(0, number))
            try:
                scenario.run(device)
            finally:
                path.write_text(str(numbers[0]))

        return forked(work)

    tally = Tally()
    interrupted(scenario, folder, tally, run)
    if tally.faults:
        raise SystemExit(f"{scenario.name} without interruption: {tally.faults}")
    return int(path.read_text())


def killed(scenario: Scenario, number: int) -> Callable[[Device], int]:
    """SIGKILL before an event."""

    def interrupt(device: Device) -> int:
        def work() -> None:
            events(lambda count, name: os.kill(os.getpid(), signal.SIGKILL) if count == number else None)
            scenario.run(device)

        return forked(work)

    return interrupt


def without_space(scenario: Scenario, number: int) -> Callable[[Device], int]:
    """ENOSPC from an event on."""

    def interrupt(device: Device) -> int:
        def refuse(count: int, name: str) -> None:
            if count >= number and name in NEED_SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def work() -> None:
            events(refuse)
            scenario.run(device)

        return forked(work)

    return interrupt


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path | None]:
    """A tmpfs of so few kilobytes; None where this user cannot mount one."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def on_small_disks(scenario: Scenario, folder: Path, sizes: range) -> Tally:
    """A pull on disks that are too small by more and less; then the disk grows, and it is pulled again."""
    tally = Tally()
    for size in sizes:
        with small_disk(folder / "disk", 4000) as disk:
            if disk is None:
                return tally
            used = sum(-(-path.lstat().st_size // 4096) * 4 + 4 for path in scenario.begin.rglob("*"))

            def interrupt(device: Device, disk: Path = disk, size: int = used + size) -> int:
                subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
                try:
                    return forked(lambda: scenario.run(device))
                finally:
                    subprocess.run(["mount", "-o", "remount,size=4000k", str(disk)], check=True)

            publish = shutil.copytree(scenario.publish, folder / "elsewhere", dirs_exist_ok=True)
            state = shutil.copytree(scenario.begin, disk / "state", symlinks=True)
            device = at(state, publish, scenario.shadows)
            tally.points += 1
            code = interrupt(device)
            fault = boots(device, scenario.whole, first=not (scenario.begin / "current").is_symlink())
            tally.broken += fault is not None
            tally.strange += code == STRANGE
            again = forked(lambda device=device: scenario.run(device))
            version = device.slots().current.version
            if again != DONE or version != scenario.ends:
                tally.lost += 1
                fault = fault or f"ended with {again}, {version} runs"
            if fault or code == STRANGE:
                tally.faults.append(fault or f"with {size} kB: an error that is none of the agent's")
    return tally


def updates(folder: Path, count: int, most_events: int, random_: random.Random) -> tuple[int, int]:
    """So many updates in a row of one device, each killed up to three times at random: how many were lost, and how often it was killed."""
    publisher = Publisher(folder / "publisher", days=90)
    (folder / "root.json").write_bytes(publisher.root)
    device = replace(
        devices.init(folder / "device", Settings("robot-7", CHANNEL, str(publisher.folder)), folder / "root.json"), limits=HASTY
    )
    (publisher.folder / "reports").mkdir()
    lost = kills = 0
    for number in range(1, count + 1):
        version = f"v{number}"
        release = publisher.bundle(version, padding=random_.randrange(5000))
        publisher.publish(release)
        scenario = Scenario("update", device.folder, publisher.folder, agent.pull, version, ())
        for _ in range(random_.randrange(1, 4)):
            kills += killed(scenario, random_.randrange(1, most_events))(device) == -signal.SIGKILL
        code = forked(lambda: agent.pull(device))
        slots = device.slots()
        lost += code != DONE or slots.current.bundle != release.bundle or bool(slots.barred)
    return lost, kills


def reboots(folder: Path, count: int) -> int:
    """Lose the power in the middle of health checks, again and again: how often the bundle was rolled back for it."""
    publisher = Publisher(folder / "publisher", days=90)
    (folder / "root.json").write_bytes(publisher.root)
    new = devices.init(folder / "device", Settings("robot-7", CHANNEL, str(publisher.folder)), folder / "root.json")
    release = publisher.bundle("v8")
    publisher.publish(release)
    for boot in range(count):
        device = replace(new, limits=HASTY, boot_id=lambda boot=boot: f"boot-{boot}")

        def work(device: Device = device, boot: int = boot) -> None:
            def lose_power(*_: object) -> subprocess.CompletedProcess[bytes]:
                # In every second boot the health process dies first, of the power that goes, and the agent still sees it.
                if boot % 2 and not device.slots().crashes_of(f"boot-{boot}"):
                    return subprocess.CompletedProcess([], -signal.SIGKILL, b"", b"")
                os.kill(os.getpid(), signal.SIGKILL)
                raise AssertionError

            child.run = lose_power
            agent.pull(device)

        if forked(work) != -signal.SIGKILL:
            return count
    forked(lambda: agent.pull(replace(new, limits=HASTY)))
    slots = new.slots()
    return len(slots.barred) + (slots.current.bundle != release.bundle)


def dead_endpoints(folder: Path, count: int) -> int:
    """Commits whose report nobody takes, each time otherwise: how many were undone."""
    publisher = Publisher(folder / "publisher", days=90)
    (folder / "root.json").write_bytes(publisher.root)
    new = devices.init(folder / "device", Settings("robot-7", CHANNEL, str(publisher.folder)), folder / "root.json")
    undone = 0
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)  # takes connections, and never answers
        closed.bind(("127.0.0.1", 0))  # listens to nobody
        places = [f"http://127.0.0.1:{silent.getsockname()[1]}", f"http://127.0.0.1:{closed.getsockname()[1]}", str(folder / "no-folder")]
        for number in range(count):
            release = publisher.bundle(f"v{number + 1}", padding=number)
            publisher.publish(release)
            device = replace(new, limits=HASTY, settings=replace(new.settings, url=places[number % 3]))
            code = forked(lambda device=device: agent.pull(device, str(publisher.folder)))
            slots = device.slots()
            undone += code != DONE or slots.current.bundle != release.bundle or bool(slots.barred)
    return undone


def show(title: str, tally: Tally) -> None:
    """One row of the table."""
    columns = (tally.points, tally.right, tally.broken, tally.lost, tally.strange, tally.littered)
    print(f"{title:<34}" + "".join(f"{count:>10}" for count in columns), flush=True)
    for fault in tally.faults[:3]:
        print(f"    {fault}")


def in_rows(folder: Path, count: int, boots_count: int, endpoints: int, seed: int, every: list[Scenario]) -> tuple[int, int, int]:
    """Updates, reboots and silent places for reports in a row: how many updates were lost, and how many versions were taken back."""
    for part in ("updates", "reboots", "endpoints"):
        (folder / part).mkdir()
    lost, kills = updates(folder / "updates", count, max(scenario.events for scenario in every), random.Random(seed))
    print(f"{count} updates with {kills} kills at random: {lost} lost")
    rolled_back = reboots(folder / "reboots", boots_count)
    print(f"{boots_count} reboots in the middle of the health check: {rolled_back} rollbacks")
    undone = dead_endpoints(folder / "endpoints", endpoints)
    print(f"{endpoints} commits whose report nobody takes: {undone} rollbacks")
    return lost, rolled_back, undone


def main() -> None:
    """Print the tables; exit 1 unless all is right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--reboots", type=int, default=100)
    parser.add_argument("--stride", type=int, default=1, help="interrupt at every so many-th event")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="WORD", default="", help="the scenarios alone whose name has this word")
    parser.add_argument("--smoke", action="store_true", help="a few of each, to see that it runs")
    options = parser.parse_args()
    stride, count, boots_count = (97, 2, 2) if options.smoke else (options.stride, options.updates, options.reboots)
    child.run = forks.run
    pretend_to_be_a_jetson()
    started, tallies = time.monotonic(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scenarios").mkdir()
        (folder / "at").mkdir()
        every = [scenario for scenario in scenarios(folder / "scenarios") if options.only in scenario.name]
        print(f"{'':<34}" + "".join(f"{column:>10}" for column in ("points", "right", "no boot", "lost", "strange", "litter")))
        for scenario in every:
            scenario.events = count_events(scenario, folder / "at")
            for word, way in (("SIGKILL", killed), ("ENOSPC", without_space)):
                tally = Tally()
                for number in range(1, scenario.events + 1, stride):
                    interrupted(scenario, folder / "at", tally, way(scenario, number))
                show(f"{word:<8} {scenario.name}", tally)
                tallies.append(tally)
        for scenario in every:
            if scenario.name not in ON_SMALL_DISKS:
                continue
            tally = on_small_disks(scenario, folder, TMPFS_KB[::22] if options.smoke else TMPFS_KB)
            show(f"disk     {scenario.name}", tally) if tally.points else print("disk     no tmpfs can be mounted here")
            tallies.append(tally)
        in_a_row = (0, 0, 0) if options.only else in_rows(folder, count, boots_count, 3 if options.smoke else 30, options.seed, every)
    points = sum(tally.points for tally in tallies)
    print(f"{points} interruptions, {sum(tally.right for tally in tallies)} right, in {time.monotonic() - started:.0f} s")
    if any(in_a_row) or any(tally.faults for tally in tallies):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
