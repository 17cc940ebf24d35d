"""A proxy in front of an S3 server on this host, which counts requests and bytes and can delay each request."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

REQUEST = re.compile(rb"(GET|HEAD|PUT|POST|DELETE) \S+ HTTP/1\.1\r\n")


@dataclass
class Traffic:
    """The traffic through a proxy so far.

    Attributes:
        url: URL of the proxy.
        delay_s: time by which each request is delayed [s].
        requests: method -> number of requests.
        received: bytes that the server has sent.
    """

    url: str
    delay_s: float
    requests: Counter[str] = field(default_factory=Counter)
    received: int = 0

    def reset(self) -> None:
        """Count from zero again."""
        self.requests.clear()
        self.received = 0


@contextmanager
def s3_traffic(server_url: str, delay_s: float = 0.0) -> Iterator[Traffic]:
    """Forward connections to a server while the block runs.

    Args:
        server_url: URL of the server, such as http://127.0.0.1:8333.
        delay_s: time by which each request is delayed [s].
    """
    host, _, port = server_url.removeprefix("http://").partition(":")
    traffic, started, stops = Traffic("", delay_s), threading.Event(), list[Callable[[], None]]()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
        ways = [_requests(reader, upstream_writer, traffic), _responses(upstream_reader, writer, traffic)]
        try:
            with suppress(ConnectionError, asyncio.CancelledError):  # the proxy ends while connections are open
                await asyncio.gather(*ways)
        finally:
            writer.close()
            upstream_writer.close()

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with await asyncio.start_server(forward, "127.0.0.1", 0) as server:
            traffic.url = "http://{}:{}".format(*server.sockets[0].getsockname())
            stops.append(lambda: loop.call_soon_threadsafe(stop.set))
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="proxy", daemon=True)
    thread.start()
    started.wait()
    try:
        yield traffic
    finally:
        stops[0]()
        thread.join()


async def _requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic) -> None:
    while data := await reader.read(1 << 16):
        if request := REQUEST.match(data):  # a client sends a request only after the previous response
            traffic.requests[request[1].decode()] += 1
            await asyncio.sleep(traffic.delay_s)
        writer.write(data)
        await writer.drain()
    writer.close()


async def _responses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, traffic: Traffic) -> None:
    while data := await reader.read(1 << 16):
        traffic.received += len(data)
        writer.write(data)
        await writer.drain()
    writer.close()
