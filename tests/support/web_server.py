"""A web server on this host, which runs in a thread of the tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


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
