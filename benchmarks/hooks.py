"""Kill -9 who records events and tells a hook of them at random moments, and ask the receiver what it got; and 10,000 events that wait.

    make bench-hooks            (benchmarks/hooks.py [--kills 500] [--waiting 10000] [--seed 0] [--smoke])

A process records two events and delivers them; it is killed at a random one of its SQL statements, commits, files opened for writing,
connections or sendings. The next process goes on where it ended. Asked after every kill: each event has its delivery, and each delivery
its event. Asked in the end: every event came, none before one that is older, and what came twice came twice in a row.
Then so many events wait, of which one command delivers what it has time for, and `vortex hooks replay` the rest.
Targets: 0 lost, 0 out of order, 0 halves; a command takes at most 3 s longer for a receiver that answers at once.

Runs on sqlite, and also on PostgreSQL where VORTEX_TEST_POSTGRES names a database whose ledger may be dropped.
"""

from __future__ import annotations

import argparse
import http.client  # noqa: F401  before the forks, which then need not
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from benchmarks.registry import emptied
from pipelines.hooks.delivery import START_S, deliver
from pipelines.hooks.log import log
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.workspace import FILE, Workspace, load
from registry.events.version import VersionQuarantined
from registry.outbox import Outbox

FORK: Final = multiprocessing.get_context("fork")
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
SENDING: Final = {"socket.connect": "connect", "http.client.send": "send"}
A_ROUND: Final = 2


class Receiver:
    """A server on loopback that takes everything, and remembers the numbers of the events in the order in which they came."""

    def __init__(self) -> None:
        self.events: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.events.append(json.loads(body)["data"]["seq"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (OSError, ValueError):  # who sent it was killed
                    self.close_connection = True

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


def workspace(root: Path, port: int, ledger: str) -> Workspace:
    """A new workspace with one hook."""
    path = init(root).root / FILE
    text = path.read_text().replace("sqlite:///mlruns/ledger.db", ledger)
    path.write_text(f'{text}\n[hooks.ci]\nurl = "http://127.0.0.1:{port}"\n')
    return load(root)


def record(ws: Workspace, events: int) -> None:
    """So many events in one transaction."""
    with hub(ws).ledger.transaction() as tx:
        for number in range(events):
            tx.append(VersionQuarantined(f"v{number}"), actor="benchmark")


def work(ws: Workspace, kill_at: int, points: Any) -> None:
    """Record, one transaction an event, and deliver; at the moment number `kill_at` this process is killed. Their kinds go to `points`."""
    from sqlalchemy import Engine, event

    kinds: list[str] = []

    def moment(kind: str) -> None:
        kinds.append(kind)
        if len(kinds) == kill_at:
            points.put(kinds[-1])
            points.close()
            points.join_thread()
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, values: tuple[Any, ...]) -> None:
        if name in SENDING:
            moment(SENDING[name])
        elif name == "open" and isinstance(values[2], int) and values[2] & WRITING and not str(values[0]).startswith("/dev"):
            moment("open")

    event.listen(Engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: moment(f"before {statement.split()[0]}"))
    event.listen(Engine, "after_cursor_execute", lambda _c, _cursor, statement, *_: moment(f"after {statement.split()[0]}"))
    event.listen(Engine, "commit", lambda _: moment("commit"))
    sys.addaudithook(audit)
    for _ in range(A_ROUND):
        record(ws, 1)
    deliver(ws, patient=True)
    points.put(str(len(kinds)))


def torment(ws: Workspace, receiver: Receiver, kills: int, seed: int) -> dict[str, Any]:
    """Kill so many processes, and compare what came with what the ledger has."""
    draw, points, killed, halves = random.Random(seed), FORK.Queue(), Counter[str](), 0
    moments = 0
    record(ws, 1)
    while sum(killed.values()) < kills:
        process = FORK.Process(target=work, args=(ws, draw.randint(1, moments) if moments else 0, points))
        process.start()
        kind = points.get(timeout=120)
        process.join()
        if process.exitcode == -signal.SIGKILL:
            killed[kind] += 1
        elif not moments:
            moments = int(kind)
        entries = {entry.seq for entry in hub(ws).ledger.entries(bodies=False)}
        halves += entries != {delivery.event for delivery in Outbox(ws.ledger_url).deliveries()}
    while deliver(ws, patient=True):
        time.sleep(0.05)
    head = hub(ws).ledger.verify().seq
    backwards = sum(later < earlier for earlier, later in zip(receiver.events, receiver.events[1:], strict=False))
    return {
        "kills": sum(killed.values()),
        "moments_of_a_round": moments,
        "at": dict(killed.most_common()),
        "events": head,
        "lost": head - len(set(receiver.events)),
        "out_of_order": backwards,
        "halves": halves,
        "sent_twice": len(receiver.events) - len(set(receiver.events)),
    }


def many(ws: Workspace, receiver: Receiver, waiting: int) -> dict[str, Any]:
    """What so many waiting events cost the command that records the last of them, the log, and a replay."""
    record(ws, waiting)
    receiver.events.clear()
    began = time.perf_counter()
    deliver(ws, patient=False)
    command_s, by_command = time.perf_counter() - began, len(receiver.events)
    began = time.perf_counter()
    listed = len(log(ws, last=20).deliveries)
    log_s, began = time.perf_counter() - began, time.perf_counter()
    deliver(ws, patient=True)
    replay_s = time.perf_counter() - began
    return {
        "waiting": waiting,
        "a_command_s": round(command_s, 2),
        "delivered_by_it": by_command,
        "log_s": round(log_s, 3),
        "log_lines": listed,
        "replay_s": round(replay_s, 1),
        "per_second": round((waiting - by_command) / max(replay_s, 1e-9)),
        "in_order": receiver.events == sorted(receiver.events) and len(receiver.events) == waiting,
    }


def main() -> None:
    """Print one JSON document; exit 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="three kills and twenty events: does it work at all?")
    options = parser.parse_args()
    kills, waiting = (3, 20) if options.smoke else (options.kills, options.waiting)
    result: dict[str, Any] = {}
    url = os.environ.get("VORTEX_TEST_POSTGRES")
    for name, ledger in (("sqlite", "sqlite:///mlruns/ledger.db"), *([("postgresql", emptied(url))] if url else [])):
        receiver = Receiver()
        with tempfile.TemporaryDirectory() as folder:
            ws = workspace(Path(folder) / "workspace", receiver.server.server_address[1], ledger)
            result[name] = {"killed": torment(ws, receiver, kills, options.seed), "many": many(ws, receiver, waiting)}
        receiver.server.shutdown()
    print(json.dumps(result, indent=2))
    if any(
        of["killed"]["lost"] or of["killed"]["out_of_order"] or of["killed"]["halves"] or not of["many"]["in_order"]
        or of["many"]["a_command_s"] > START_S + 1
        for of in result.values()
    ):  # fmt: skip
        raise SystemExit(1)


if __name__ == "__main__":
    main()
