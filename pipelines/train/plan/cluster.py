"""Whether a Ray cluster answers at an address, and has room for the workers of a training: asked before anything starts."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from typing import Final

from core.errors import UsageError, VortexError
from pipelines.device import RAY_SWITCHES

AUTO: Final = "auto"
CONNECT_S, ANSWER_S = 2.0, 14.0
"""How long a port may take to open, and the cluster behind it to answer. Ray itself waits 20 to 40 s, and for a dead address 120 s (measured)."""
_FORM = re.compile(r"(ray://)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_ASK = """
import json, signal, sys, ray
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))  # only now: a busy machine takes long to import Ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
print(json.dumps(ray.cluster_resources()))
"""
_START = "start one with: ray start --head"
_IMPORT_S = 60.0


def require_cluster(address: str, workers: int, device: str) -> None:
    """Raise an error within about 15 s, and the time that importing Ray takes, unless a Ray cluster answers at `address` and has room for the workers.

    `address` is `auto`, `HOST:PORT` or `ray://HOST:PORT`. Ray is asked in a process of its own: a connection that fails can neither
    be given up nor tried again in the process that made it.
    """
    if address != AUTO:
        _require_open(address)
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", _ASK, address, str(ANSWER_S)],
            capture_output=True,
            text=True,
            timeout=_IMPORT_S + ANSWER_S,
            env=os.environ | RAY_SWITCHES,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unanswered(address) from error
    if answer.returncode == -signal.SIGALRM:
        raise _unanswered(address)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise VortexError(f"no Ray cluster can be joined at {address}: {reason[:300]}", _START)
    require_room(json.loads(answer.stdout.splitlines()[-1]), workers, device, f"the Ray cluster at {address}")


def _unanswered(address: str) -> VortexError:
    if address == AUTO:
        return VortexError(f"no Ray cluster that this machine is a node of answered within {ANSWER_S:.0f} s", _START)
    return VortexError(
        f"no Ray cluster answers at {address}: something listens there, but did not answer within {ANSWER_S:.0f} s",
        "a cluster with a token answers nobody else: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH as on its machines; "
        "ray:// takes the port of the client server (10001), without it the port of the head (6379)",
    )


def require_room(resources: dict[str, float], workers: int, device: str, where: str) -> None:
    """Raise VortexError unless there is a GPU (a CPU where they train on CPUs) for each worker: Ray would wait for ever."""
    kind = "GPU" if device == "cuda" else "CPU"
    have = int(resources.get(kind, 0))
    if have < workers:
        raise VortexError(f"{workers} workers need a {kind} each, and {where} has {have}", f"lower --workers, or add {kind}s")


def _require_open(address: str) -> None:
    """Raise an error unless the address is one, and something listens there."""
    form = _FORM.fullmatch(address)
    port = int(form["port"]) if form else 0
    if not form or not 0 < port < 65536:
        raise UsageError(
            f"--address {address!r} is no address, allowed: local, auto, HOST:PORT, ray://HOST:PORT", "--address ray://head:10001"
        )
    try:
        socket.create_connection((form["host"].strip("[]"), port), timeout=CONNECT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        hint = f"{_START}, or correct the address; is a firewall between?"
        raise VortexError(f"no Ray cluster answers at {address}: {reason}", hint) from error
