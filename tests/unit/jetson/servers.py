"""A real nginx over a folder, and behind one of its paths a server that answers as it is told: 503, half a file, no end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/bin")
CONFIG = """
daemon off; master_process off; error_log {folder}/error.log; pid {folder}/pid;
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {site}
}}
"""
SITE = """
  server {
    listen 127.0.0.1:PORT;
    location / { root ROOT; }
    location /slow/ { alias ROOT/; limit_rate 300k; }
    location /crawl/ { alias ROOT/; limit_rate 500; }
    location /rangeless/ { alias ROOT/; max_ranges 0; }
    location /down/ { return 503; }
    location /moved/ { return 301 http://127.0.0.1:PORT/; }
    location /silent/ { return 444; }
    location /told/ { proxy_pass http://127.0.0.1:UPSTREAM/; proxy_buffering off; }
    location /reports/ { proxy_pass http://127.0.0.1:UPSTREAM/reports/; }
  }
"""


DRIPS = {
    "headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "sizes of chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=", b"x"),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n", b"X: x\r\n"),
}
"""Answers that go on for ever and send nothing of a file: how each begins, and what comes of it ten times a second."""


class Told(ThreadingHTTPServer):
    """Answers each request with the next of its orders; the last one stays."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.root = root
        self.orders = ["whole"]
        self.asked: list[str] = []
        self.delivered: list[bytes] = []


class _Answers(BaseHTTPRequestHandler):
    server: Told

    def do_GET(self) -> None:
        order = self.server.orders.pop(0) if len(self.server.orders) > 1 else self.server.orders[0]
        self.server.asked.append(f"{order} {self.headers.get('Range', '')}".strip())
        if order.isdigit():
            self.send_error(int(order))
            return
        if order in DRIPS:
            self._drip(*DRIPS[order])
            return
        path = self.server.root / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        if order == "other":
            content = bytes(len(content))
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start or order == "partial" else 200)
        if order == "gzip":
            self.send_header("Content-Encoding", "gzip")
        if start or order == "partial":
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        content = content[start:]
        if order != "endless":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            if order == "half":
                self.wfile.write(content[: len(content) // 2])
            else:
                self.wfile.write(content)
            while order == "endless":
                self.wfile.write(bytes(1 << 16))
        except OSError:  # the client has had enough
            return

    def _drip(self, beginning: bytes, drop: bytes) -> None:
        self.close_connection = True
        end = time.monotonic() + 10
        try:
            self.wfile.write(beginning)
            while time.monotonic() < end:
                self.wfile.write(drop)
                time.sleep(0.1)
        except OSError:  # the client has had enough
            return

    def do_PUT(self) -> None:
        order = self.server.orders.pop(0) if len(self.server.orders) > 1 else self.server.orders[0]
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if order in DRIPS:
            self._drip(*DRIPS[order])
            return
        if order.isdigit():
            self.send_error(int(order))
            return
        self.server.delivered.append(content)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        return


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serving(root: Path, folder: Path, site: str = SITE) -> Iterator[tuple[str, Told]]:
    """nginx over `root`, its address, and the server behind /told/; `site` is its configuration, with PORT, ROOT and UPSTREAM in it."""
    assert NGINX is not None
    told, port = Told(root), free_port()
    folder.mkdir()
    root.mkdir(exist_ok=True)
    for word, value in (("PORT", port), ("ROOT", root), ("UPSTREAM", told.server_address[1])):
        site = site.replace(word, str(value))
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, site=site))
    thread = threading.Thread(target=told.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    with open(folder / "said", "wb") as said:
        nginx = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], stdout=said, stderr=said)
    try:
        for _ in range(200):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert nginx.poll() is None, (folder / "said").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", told
    finally:
        nginx.terminate()
        nginx.wait(10)
        told.shutdown()
        told.server_close()
