"""What the driver tells the processes that train for it, through a file that all of them see: that they are its own, and to stop."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.files import locked, write_atomic

ORDERS = "orders.json"
LOCK = ".writer.lock"
"""Held by who writes a checkpoint, and by who takes the stage over: the one waits for the other to be done."""


class Superseded(Exception):
    """Another driver has taken the stage over: whoever trained for the one before it must not write to the folder any more."""


@dataclass(frozen=True)
class Orders:
    """The orders of one driver for one stage.

    A worker can outlive its driver (behind a Ray client server by 31 s, measured), and the run can be resumed meanwhile. The token
    tells such a worker apart from those of the new driver.
    """

    folder: Path
    token: str

    @classmethod
    def give(cls, folder: Path) -> Orders:
        """Take the stage over: from now on workers of an earlier driver are superseded. Waits for a checkpoint that one is writing."""
        orders = cls(folder, secrets.token_hex(4))
        with locked(folder / LOCK):
            orders._write(stop=False)
        return orders

    def stop(self) -> None:
        """Ask the workers to stop."""
        self._write(stop=True)

    def stop_requested(self) -> bool:
        """Whether to stop. Raises Superseded when the folder has another driver by now.

        The file is opened each time, because that is when a network file system looks for what others wrote.
        """
        orders = json.loads((self.folder / ORDERS).read_text())
        if orders["token"] != self.token:
            raise Superseded
        return bool(orders["stop"])

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Write to the folder within this block: nobody else does meanwhile. Raises Superseded."""
        with locked(self.folder / LOCK):
            self.stop_requested()
            yield

    def _write(self, stop: bool) -> None:
        write_atomic(self.folder / ORDERS, json.dumps({"token": self.token, "stop": stop}))
