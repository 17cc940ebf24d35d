"""A TCP proxy that counts the bytes that a server sends."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CountingProxy:
    """Forwards connections to a server on this host.

    Attributes:
        url: URL of the proxy.
        received: number of bytes that the server has sent.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError), source:  # either end has closed the connection
            while data := source.recv(1 << 16):
                self.received += len(data) if counted else 0
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def counting_proxy(url: str) -> Iterator[CountingProxy]:
    """Yield a proxy in front of the server at a URL."""
    proxy = CountingProxy(int(url.rpartition(":")[2]))
    try:
        yield proxy
    finally:
        proxy.close()
