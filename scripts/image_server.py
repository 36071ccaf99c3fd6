"""A web server of a folder for tests and benchmarks: with ranges and tags, slow or failing at will.

Python's own ``http.server`` knows neither ranges nor tags.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from hashlib import md5
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote


class ImageServer(ThreadingHTTPServer):
    """Server of a folder on a free port of this machine, running inside a ``with`` block.

    Attributes
    ----------
    url : str
    delay_s : float
        Before each answer.
    has_tags : bool
        Whether answers carry an ETag.
    has_ranges : bool
        Whether parts of files are given.
    faults : dict of str to list of int
        Path -> statuses of its next answers; 0 hangs up in the middle of the body.
    requests : Counter
        Answers by method.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, folder: Path, *, delay_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.delay_s = folder, delay_s
        self.has_tags = self.has_ranges = True
        self.faults: dict[str, list[int]] = {}
        self.requests: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> ImageServer:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ImageServer

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, has_body: bool) -> None:
        self.server.requests[self.command] += 1
        time.sleep(self.server.delay_s)
        name = unquote(self.path.partition("?")[0]).lstrip("/")
        path = self.server.folder / name
        fault = (self.server.faults.get(name) or [200]).pop(0)
        if fault >= 400 or ".." in path.parts or not path.exists():
            self._send(fault if fault >= 400 else 404, b"", {}, has_body=has_body)
        elif path.is_dir():
            self._send(200, _page(path), {"Content-Type": "text/html"}, has_body=has_body)
        else:
            self._file(path.read_bytes(), is_cut=fault == 0, has_body=has_body)

    def _file(self, content: bytes, *, is_cut: bool, has_body: bool) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        if self.server.has_tags:
            headers["ETag"] = f'"{md5(content).hexdigest()}"'
        status, part = 200, content
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match and self.server.has_ranges:
            first, last = int(match[1]), min(int(match[2]), len(content) - 1)
            status, part = 206, content[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(status, part, headers, has_body=has_body, is_cut=is_cut)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str],
        *,
        has_body: bool,
        is_cut: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if has_body:
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        self.close_connection = is_cut or self.close_connection


def _page(folder: Path) -> bytes:
    """Links to what a folder holds, as servers list them."""
    names = sorted(f"{it.name}/" if it.is_dir() else it.name for it in folder.iterdir())
    links = [f'<li><a href="{quote(name)}">{escape(name)}</a></li>' for name in names]
    return f"<html><ul>{''.join(links)}</ul></html>".encode()
