"""A web server on this machine, with the manners and the failings of real ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


@dataclass
class Shelf:
    """What the server holds, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    folder: Path | None = None
    url: str = ""
    ranges: bool = True
    cut: dict[str, int] = field(default_factory=dict)  # path -> after how many bytes, once
    spoilt: set[str] = field(default_factory=set)
    status: dict[str, int] = field(default_factory=dict)
    kind: str = "application/octet-stream"
    headers: dict[str, dict[str, str]] = field(default_factory=dict)  # path -> what more to say of it
    silent: bool = False
    drip: float = 0.0  # seconds between a hundred bytes and the next
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    enough: threading.Event = field(default_factory=threading.Event)

    def content(self, path: str) -> bytes | None:
        if path in self.files:
            return self.files[path]
        file = self.folder / path if self.folder else None
        return file.read_bytes() if file and file.is_file() else None


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        shelf: Shelf = self.server.shelf  # type: ignore[attr-defined]
        path = unquote(urlsplit(self.path).path).lstrip("/")
        content = shelf.content(path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        for name, value in shelf.headers.get(path, {}).items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        shelf: Shelf = self.server.shelf  # type: ignore[attr-defined]
        path = unquote(urlsplit(self.path).path).lstrip("/")
        span = self.headers.get("Range")
        with shelf.lock:
            shelf.asked.append((path, span))
            cut = shelf.cut.pop(path, None)
        if shelf.silent:
            shelf.enough.wait(10)
            return
        content = shelf.content(path)
        if path in shelf.status or content is None:
            return self.send_error(shelf.status.get(path, 404))
        if path in shelf.spoilt:
            content = bytes([content[0] ^ 1]) + content[1:]
        self.answer(shelf, content, int(span[6:-1]) if span and shelf.ranges else None, cut)

    def answer(self, shelf: Shelf, content: bytes, start: int | None, cut: int | None) -> None:
        if start is not None and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        body = content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", shelf.kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if shelf.drip:
            with suppress(ConnectionError):  # the reader is expected to leave
                for at in range(0, len(body), 100):
                    self.wfile.write(body[at : at + 100])
                    shelf.enough.wait(shelf.drip)
            return
        self.wfile.write(body[:cut])
        with shelf.lock:
            shelf.sent += len(body[:cut])


@pytest.fixture
def serve() -> Iterator[Callable[..., Shelf]]:
    """A function that opens one more server, each closed when the test ends."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(**about: object) -> Shelf:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = False
        server.shelf = Shelf(**about)  # type: ignore[attr-defined, arg-type]
        server.shelf.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return server.shelf  # type: ignore[attr-defined, no-any-return]

    yield start
    for server, thread in servers:
        server.shelf.enough.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()
