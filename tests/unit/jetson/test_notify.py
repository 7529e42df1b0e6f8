"""What a service tells systemd: that it is up, and then that it is at work, once a second."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from vortex_jetson.live import notify
from vortex_jetson.live.notify import Heartbeat


@pytest.mark.parametrize("abstract", [False, True])
def test_the_first_word_is_that_it_is_up(abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{tmp_path}/notify"[-90:] if abstract else f"{tmp_path}/n"
    clock = [100.0]
    monkeypatch.setattr(notify.time, "monotonic", lambda: clock[0])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        heartbeat = Heartbeat()
        for at in (100.0, 100.5, 101.1, 101.2, 102.2):
            clock[0] = at
            heartbeat()
        words = [manager.recv(100) for _ in range(3)]
        with pytest.raises(BlockingIOError):
            manager.recv(100)
    assert words == [b"READY=1\nWATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    clock[0] = 200.0
    heartbeat()  # the manager is gone: no error


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(notify.socket, "socket", lambda *arguments: pytest.fail("nobody listens"))
    Heartbeat()()
