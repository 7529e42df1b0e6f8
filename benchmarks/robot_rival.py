"""Kill an update by `vortex-jetson` and one by Debian's `mender-client` (standalone, its module `directory`) at the same kind of events.

    make bench-robot_rival      (benchmarks/robot_rival.py [--points 60] [--smoke]; apt-get install mender-client mender-artifact strace)

Both replace a folder of files by another one. They run under strace, which tells every system call that changes a file; at the Nth of them
every process of the update gets SIGKILL at once, as a power cut does. Then the folder that the robot acts on is looked at: whole old, whole new,
or neither; and once more after what its user would type next: `mender rollback`, or `vortex-jetson pull`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vortex_jetson.update import agent
from vortex_jetson.update import device as devices
from vortex_jetson.update.device import Settings

from tests.unit.jetson.publisher import CHANNEL, Publisher

CHANGES: Final = re.compile(
    rb"O_WRONLY|O_RDWR|\brename|\bunlink|\bmkdir|\brmdir|\blink|\bsymlink|\bfsync|\bfdatasync|\bftruncate|\bwrite\("
)
"""System calls that change a file, as strace writes them."""
TRACED: Final = "trace=file,write,fsync,fdatasync,ftruncate"
MODULES: Final = Path("/usr/share/mender/modules/v3/directory")
INFO: Final = Path("/etc/mender/artifact_info")


@dataclass
class Updater:
    """One way to replace a folder: how it is set up, the update, what is typed after a kill, and the folder that the robot acts on."""

    name: str
    prepare: Callable[[], None]
    update: list[str]
    afterwards: list[str]
    folder: Path
    contents: list[str] = field(default_factory=list)
    """Digests of the whole old folder and of the whole new one."""


def digest(folder: Path) -> str:
    """Of the names and bytes of all files below a folder; empty where there is none."""
    hashed = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            hashed.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest() if folder.exists() else ""


def traced(command: list[str], kill_at: int | None = None) -> int:
    """Run a command under strace, and kill all of it at an event; how many events there were."""
    run = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", TRACED, "-o", "/dev/stderr", *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert run.stderr is not None
    count = 0
    for line in run.stderr:
        count += CHANGES.search(line) is not None
        if count == kill_at:
            os.killpg(run.pid, signal.SIGKILL)
            run.stderr.read()  # ends once every one of its processes has ended
    run.stderr.close()
    run.wait()
    return count


def mender(folder: Path) -> Updater:
    """mender-client with an artifact of its module `directory`, which replaces a folder."""
    new, old, work, data = (folder / name for name in ("new", "old", "work", "data"))
    for place in (new, old):
        place.mkdir(parents=True)
        for number in range(6):
            (place / f"file-{number}").write_bytes(os.urandom(20_000))
    (folder / "dest_dir").write_text(str(work))
    (folder / "mender.conf").write_text("{}")
    subprocess.run(["tar", "-cf", folder / "update.tar", "-C", new, "."], check=True)
    files = ["-f", str(folder / "update.tar"), "-f", str(folder / "dest_dir")]
    artifact = str(folder / "v9.mender")
    subprocess.run(
        ["mender-artifact", "write", "module-image", "-t", "robot", "-o", artifact, "-T", "directory", "-n", "v9", *files],
        check=True, capture_output=True,
    )  # fmt: skip
    client = ["mender", "--no-syslog", "--log-level", "error", "--data", str(data), "--config", str(folder / "mender.conf")]

    def prepare() -> None:
        for place in (work, data):
            shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(old, work)
        data.mkdir()
        (data / "device_type").write_text("device_type=robot\n")

    return Updater("mender-client", prepare, [*client, "install", artifact], [*client, "rollback"], work, [digest(old), digest(new)])


def vortex(folder: Path) -> Updater:
    """`vortex-jetson pull` from one version to the next."""
    publisher = Publisher(folder / "publisher", days=90)
    (folder / "root.json").write_bytes(publisher.root)
    begin, state = folder / "begin", folder / "state"
    device = devices.init(begin, Settings("robot-7", CHANNEL, str(publisher.folder)), folder / "root.json")
    publisher.publish(publisher.bundle("v8", padding=60_000))
    agent.pull(device)
    old = digest(begin / "current/bundle")
    publisher.publish(publisher.bundle("v9", padding=60_000))

    def prepare() -> None:
        shutil.rmtree(state, ignore_errors=True)
        shutil.copytree(begin, state, symlinks=True)

    pull = [sys.executable, "-m", "vortex_jetson.cli", "pull", "--state", str(state)]
    updater = Updater("vortex-jetson", prepare, pull, pull, state / "current" / "bundle", [old])
    prepare()
    subprocess.run(pull, check=True, capture_output=True)
    updater.contents.append(digest(updater.folder))
    return updater


def torment(updater: Updater, points: int) -> bool:
    """Kill an update at so many points of it, and print what was there; whether it was always whole."""
    updater.prepare()
    events = traced(updater.update)
    after_kill, after_all = [0, 0, 0], [0, 0, 0]
    started = time.monotonic()
    for number in range(points):
        updater.prepare()
        traced(updater.update, 1 + number * events // points)
        for counts in (after_kill, after_all):
            content = digest(updater.folder)
            counts[updater.contents.index(content) if content in updater.contents else 2] += 1
            if counts is after_kill:
                subprocess.run(updater.afterwards, capture_output=True, check=False)
    row = "".join(f"{count:>9}" for count in (events, points, *after_kill, *after_all))
    print(f"{updater.name:<16}{row}   {time.monotonic() - started:.0f} s", flush=True)
    return not after_kill[2] and not after_all[2]


def main() -> None:
    """Print the table; exit 1 where ours was not whole. What the rival does is only shown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--smoke", action="store_true", help="one kill of each, to see that it runs")
    options = parser.parse_args()
    missing = [program for program in ("strace", "mender", "mender-artifact") if shutil.which(program) is None]
    if missing or not MODULES.exists() or not INFO.exists():
        print(f"skipped: {', '.join(missing) or 'a configured mender-client'} is absent ({INFO} with artifact_name=v8 configures it)")
        return
    with tempfile.TemporaryDirectory() as name:
        print(f"{'':<16}{'':>18}{'after the kill':>27}{'after the next command':>27}")
        print(f"{'':<16}{'events':>9}{'kills':>9}" + 2 * f"{'old':>9}{'new':>9}{'neither':>9}")
        (Path(name) / "vortex").mkdir()
        whole = [
            torment(make(Path(name) / place), 1 if options.smoke else options.points)
            for place, make in (("mender", mender), ("vortex", vortex))
        ]
    if not whole[1]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
