"""A web server on this host, which runs in a thread of the tests."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


class Handler(BaseHTTPRequestHandler):
    """Base class of handlers that log nothing."""

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def serve(handler: type[Handler]) -> Iterator[str]:
    """Serve requests with the handler during the block, and yield the URL of the server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class FlakyFiles(Handler):
    """Serves the files in `contents`, with an ETag, and fails every fifth request.

    The failures are, in turn: a status of an overloaded server, one of a broken server, a dropped connection, an answer
    that breaks off, and a server that asks to wait. A test uses a subclass with its own `contents`.
    """

    contents: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []
    every = 5
    etags = True
    _lock = threading.Lock()

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        with self._lock:
            self.asked.append(f"{self.command} {self.path}")
            number = len(self.asked)
        if self.every and number % self.every == 0:
            self._fail(number // self.every % 5, with_body)
            return
        content = self.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = content[int(found[1]) : int(found[2]) + 1] if found else content
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(len(part)))
        if self.etags:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if with_body:
            self.wfile.write(part)

    def _fail(self, kind: int, with_body: bool) -> None:
        self.close_connection = True
        if kind == 2 or (kind == 3 and not with_body):
            return
        self.send_response((429, 500, 0, 200, 503)[kind])
        self.send_header("Content-Length", "1000" if kind == 3 else "0")
        if kind == 4:
            self.send_header("Retry-After", "1")
        self.end_headers()
        if kind == 3:
            self.wfile.write(b"ten bytes.")


def flaky_files(contents: dict[str, bytes], **settings: object) -> type[FlakyFiles]:
    """Return a handler with its own files and its own list of requests."""
    return type("OwnFiles", (FlakyFiles,), {"contents": contents, "asked": [], **settings})
