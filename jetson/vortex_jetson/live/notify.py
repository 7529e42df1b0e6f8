"""Tells systemd that a service is up and still at work, after sd_notify(3): a service that hangs is ended and started anew."""

from __future__ import annotations

import os
import socket
import time
from typing import Final

EVERY_S: Final = 1.0
"""Between two words: a fraction of the unit's WatchdogSec."""


class Heartbeat:
    """Called wherever work is done; says so once a second at most. Nothing where no service manager listens."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._next = 0.0
        self._word = b"READY=1\nWATCHDOG=1"

    def __call__(self) -> None:
        """Work was done just now."""
        now = time.monotonic()
        if not self._address or now < self._next:
            return
        self._next = now + EVERY_S
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                # An address with @ is of Linux's abstract names.
                notify.connect("\0" + self._address[1:] if self._address.startswith("@") else self._address)
                notify.send(self._word)
        except OSError:
            return  # systemd takes silence for a hang, as it should
        self._word = b"WATCHDOG=1"
