"""A real SLURM of one node on loopback, started by a test: its own munge key, ports, spool and partitions, as root and without cgroups."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")
PARTITIONS = {"short": "MaxTime=30 Default=YES", "long": "MaxTime=2-00:00:00 DefaultTime=01:00:00", "open": "MaxTime=UNLIMITED"}
"""Partitions of the node and their limits, in minutes or days-hours:minutes:seconds."""


@dataclass(frozen=True)
class Cluster:
    """A running SLURM: the settings that its commands read, and where it logs."""

    conf: Path
    logs: Path

    def run(self, *command: str) -> str:
        """What a command of SLURM prints. Raises CalledProcessError when it fails."""
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def cancel_all(self) -> None:
        """End every job, and wait until the node is free of them."""
        self.run("scancel", "--user", "root")
        _until(lambda: not self.run("squeue", "--noheader").strip(), "the queue to be empty", 60)


@contextmanager
def serve(folder: Path) -> Iterator[Cluster]:
    """Run munged, slurmctld and slurmd until the block ends, with SLURM_CONF set. Skips the test where they are missing, or without root."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("slurmd starts jobs as root alone")
    # Munge and SLURM refuse sockets and keys below a folder that others may write to; a test's own folder is.
    for name in ("spool", "state", "logs", "munge"):
        (folder / name).mkdir(parents=True, mode=0o755)
    conf = folder / "slurm.conf"
    conf.write_text(_conf(folder))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        daemons = (["slurmctld", "-D", "-c", "-f", str(conf)], ["slurmd", "-D", "-f", str(conf), "-N", "one"])
        for command in (_munged(folder / "munge"), *daemons):
            processes.append(_start(command, folder / "logs"))  # noqa: PERF401  those before a failure have to be ended
        cluster = Cluster(conf, folder / "logs")
        _until(lambda: _idle(cluster), f"the node to be idle; see {cluster.logs}", 30)
        yield cluster
        cluster.cancel_all()
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=30)
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def _munged(folder: Path) -> list[str]:
    """The command that starts an authentication service for this cluster alone."""
    key = folder / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    files = {
        "key-file": key,
        "socket": folder / "socket",
        "pid-file": folder / "pid",
        "log-file": folder / "log",
        "seed-file": folder / "seed",
    }
    return ["munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items())]


def _conf(folder: Path) -> str:
    """slurm.conf. A requeued job waits until its credential has expired, which is two minutes unless it is said otherwise."""
    control, node = _free_port(), _free_port()
    settings: dict[str, object] = {
        "ClusterName": "test",
        "SlurmctldHost": f"{socket.gethostname()}(127.0.0.1)",
        "SlurmctldPort": control,
        "SlurmdPort": node,
        "SlurmUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={folder / 'munge' / 'socket'},cred_expire=5",
        "CryptoType": "crypto/munge",
        "StateSaveLocation": folder / "state",
        "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "slurmctld.pid",
        "SlurmdPidFile": folder / "slurmd.pid",
        "SlurmctldLogFile": folder / "logs" / "slurmctld",
        "SlurmdLogFile": folder / "logs" / "slurmd",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "sched_interval=2,batch_sched_delay=0,bf_interval=2",
        "MpiDefault": "none",
        "ReturnToService": 2,
        "KillWait": 5,
        "MinJobAge": 300,
    }
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines += [f"NodeName=one NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={node} CPUs={os.cpu_count()} State=UNKNOWN"]
    lines += [f"PartitionName={name} Nodes=one {limits} State=UP" for name, limits in PARTITIONS.items()]
    return "\n".join(lines) + "\n"


def _start(command: list[str], logs: Path) -> subprocess.Popen[bytes]:
    name, *rest = command
    with open(logs / f"{name}.out", "wb") as stream:
        process = subprocess.Popen([str(_program(name)), *rest], stdout=stream, stderr=stream)
    if name == "munged":
        wanted = next(Path(each.partition("=")[2]) for each in rest if each.startswith("--socket="))
        _until(lambda: wanted.exists() or process.poll() is not None, "munged to listen", 10)
    assert process.poll() is None, (logs / f"{name}.out").read_text()
    return process


def _idle(cluster: Cluster) -> bool:
    try:
        return "IDLE" in cluster.run("scontrol", "show", "node", "one", "-o")
    except subprocess.CalledProcessError:  # the controller is not listening yet
        return False


def _until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
