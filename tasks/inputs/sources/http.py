"""Files on web servers, which are asked again if they fail."""

import asyncio
import io
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from multiprocessing.pool import ThreadPool
from typing import Any, BinaryIO, cast

from fsspec import AbstractFileSystem
from fsspec.asyn import sync
from yarl import URL

from clipes.tasks.inputs.sources.source import (
    ABSENT,
    CONTENT,
    ETAG,
    Found,
    WholeFiles,
    changed,
    content_fingerprint,
    is_exact,
    transient_photo_error,
)
from clipes.tasks.machine.processes import ForkSafeLock
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.listing import FileFacts
from clipes.tasks.storage.retry_policy import ONE_MINUTE, RetryPolicy
from clipes_core.errors import ErrorKind, PhotoError, StorageError, TransientError

THREADS = 32  # that look files up: a web server answers for one file at a time
POLICY = replace(ONE_MINUTE, log_level=logging.DEBUG)  # the first failure of each server is a warning
ONCE = RetryPolicy(1, 0.0, 0.0)
PATIENCE = 5  # requests in a row that a server may fail in all attempts; then clipes does not wait for it any longer
CONNECT_S, SILENCE_S = 10.0, 30.0  # longest waits for a connection, and for the next bytes of an answer
PARTIAL_CONTENT, NOT_FOUND = 206, 404
WEB_FILE = re.compile(r"https?://[^/]+/.")
SIZE_AND_TIME = re.compile(r"(\d*)-(.*)")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The answer of a web server.

    Attributes:
        status: HTTP status, below 400.
        headers: headers; their names are compared without case.
        body: content; empty if only the headers were requested.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def stated_bytes(self) -> str:
        """The size that the server states [bytes]; an empty text if it states none."""
        return self.headers.get("Content-Length", "")

    @property
    def fingerprint(self) -> str:
        """The ETag of the file or, if the server states none, the size and the time of the last change."""
        etag = self.headers.get("ETag")
        return f"{ETAG}{etag.strip(chr(34))}" if etag else f"{self.stated_bytes}-{self.changed_at}"

    @property
    def changed_at(self) -> str:
        """The time of the last change, as the server states it; an empty text if it states none."""
        return self.headers.get("Last-Modified", "")

    def fits(self, fingerprint: str, whole: bool = True) -> bool:
        """Return whether the answer belongs to a file with a fingerprint, as far as both tell.

        Args:
            fingerprint: fingerprint of the file when it was listed.
            whole: False if the answer has only a part of the file.
        """
        if fingerprint.startswith(ETAG):
            return self.fingerprint == fingerprint
        found = SIZE_AND_TIME.fullmatch(fingerprint)
        if found is None:
            return True
        size, time = found.groups()
        own_size = str(len(self.body)) if self.body else self.stated_bytes
        pairs = [(time, self.changed_at), *([(size, own_size)] if whole else [])]
        return all(listed == own for listed, own in pairs if listed and own)


class WebFiles(WholeFiles):
    """Files on web servers.

    A request that fails for a temporary cause is repeated for about a minute, and not before the time at which the
    server asks to be asked again. The fingerprint of a file is its ETag, or else its size and the time of its last
    change. If the server states neither, the fingerprint is a digest of the content.

    A redirect is followed on the same server, from http to https on the same host, and to servers in the internet.
    """

    def claims(self, uri: str) -> bool:
        """Return whether a URI names a file on a web server."""
        return WEB_FILE.match(uri) is not None

    def retries(self, uri: str) -> bool:
        """Return True, because every request is repeated."""
        return True

    def find(self, uris: Collection[str]) -> Found:
        """Ask the servers for the headers of each file."""
        found, unclear = Found(), []
        with ThreadPool(min(THREADS, max(1, len(uris)))) as pool:
            for uri, facts in zip(uris, pool.imap(_look_up, uris), strict=True):
                if isinstance(facts, PhotoError):
                    found.failures[uri] = facts
                elif facts is not None:
                    found.files[uri] = facts
                    unclear += [] if is_exact(facts) else [uri]
        if unclear:
            logger.warning(
                "%d files on web servers have neither an ETag nor a plausible time of their last change (the first is "
                "%s): clipes downloads them at the start of each run to notice changes",
                len(unclear),
                unclear[0],
            )
        return found

    def read(self, uri: str, fingerprint: str) -> bytes:
        """Download a file; see the base class."""
        answer = fetch(uri)
        by_content = fingerprint.startswith(CONTENT)
        same = content_fingerprint(answer.body) == fingerprint if by_content else answer.fits(fingerprint)
        if not same or fingerprint == ABSENT:
            raise changed(uri)
        return answer.body

    @contextmanager
    def open(self, uri: str, fingerprint: str) -> Iterator[BinaryIO]:
        """Open a file, each part of which is then requested separately; see the base class."""
        answer = fetch_headers(uri)
        if not answer.fits(fingerprint) or fingerprint == ABSENT:
            raise changed(uri)
        if not answer.stated_bytes.isdecimal():
            raise StorageError(f"{uri}: the server does not state its size, so it cannot be read in part: download it")
        yield cast(BinaryIO, _Ranges(uri, answer.fingerprint, int(answer.stated_bytes)))


class _Ranges(io.RawIOBase):
    """A file whose parts are requested from a web server when they are read."""

    def __init__(self, uri: str, fingerprint: str, size_bytes: int) -> None:
        super().__init__()
        self._uri, self._fingerprint, self._size = uri, fingerprint, size_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self._size)
        if end <= self._position:
            return 0
        answer = fetch(self._uri, (self._position, end))
        if answer.status != PARTIAL_CONTENT or len(answer.body) != end - self._position:
            reason = "the server does not send parts of files, which archives need: download the archive"
            raise StorageError(f"{self._uri}: {reason}")
        if not answer.fits(self._fingerprint, whole=False):
            raise changed(self._uri)
        view[: len(answer.body)] = answer.body
        self._position = end
        return len(answer.body)


def fetch(uri: str, span: tuple[int, int] | None = None) -> Answer:
    """Download a file, or its bytes from `span[0]` (inclusive) to `span[1]` (exclusive).

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the server refuses access, or redirects the request in a circle.
        TransientError: the server did not answer in any attempt.
    """
    return _repeat(uri, "GET", span)


def fetch_headers(uri: str) -> Answer:
    """Request only the headers of a file, if necessary with GET: some servers refuse only HEAD, for various reasons.

    Raises the errors of `fetch`.
    """
    with suppress(StorageError, FileNotFoundError):
        return _repeat(uri, "HEAD")
    return _repeat(uri, "GET", None, True)


def _look_up(uri: str) -> FileFacts | PhotoError | None:
    try:
        answer = fetch_headers(uri)
    except FileNotFoundError:
        return None
    except StorageError as exc:
        return PhotoError(ErrorKind.UNREADABLE, str(exc))
    except TransientError as exc:
        return transient_photo_error(exc)
    size = int(answer.stated_bytes) if answer.stated_bytes.isdecimal() else 0
    return FileFacts(uri, size, _seconds(answer.changed_at), answer.fingerprint)


def _seconds(time: str) -> float:
    """Return a time of HTTP in seconds since 1970; 0, which is implausible, if there is none."""
    try:
        return parsedate_to_datetime(time).timestamp()
    except (ValueError, TypeError):
        return 0.0


_lock = ForkSafeLock()
_failed: Counter[str] = Counter()  # server -> requests in a row that failed in all attempts
_named: set[str] = set()  # servers whose first failure was logged


def _repeat(uri: str, method: str, span: tuple[int, int] | None = None, headers_only: bool = False) -> Answer:
    server = "/".join(uri.split("/")[:3])
    with _lock:
        policy = ONCE if _failed[server] >= PATIENCE else POLICY
    try:
        answer = policy.call(_request, uri, method, span, headers_only)
    except TransientError:
        with _lock:
            _failed[server] += 1
        raise
    with _lock:
        _failed.pop(server, None)
    return answer


def _request(uri: str, method: str, span: tuple[int, int] | None, headers_only: bool) -> Answer:
    fs = _file_system(os.getpid())
    try:
        with translate_storage_errors(uri):
            return sync(fs.loop, _send, fs, uri, method, span, headers_only)
    except TransientError as exc:
        exc.retry_after_s = _asked_wait_s(getattr(exc.__cause__, "headers", None) or {})
        server = "/".join(uri.split("/")[:3])
        if server not in _named:
            _named.add(server)
            logger.warning("%s: clipes repeats requests to this server that fail", exc)
        raise


@cache
def _file_system(_process: int) -> AbstractFileSystem:
    """Return fsspec's file system for web servers, whose connections all threads of this process share.

    A forked process must not use the connections of its parent, so it gets a file system of its own.
    """
    return filesystem("http://localhost/")[0]


async def _send(fs: Any, uri: str, method: str, span: tuple[int, int] | None, headers_only: bool) -> Answer:
    from aiohttp import ClientTimeout, TooManyRedirects  # a slow import, which data sets without web files do not need

    session = await fs.set_session()
    given = {**fs.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
    if span is not None:
        given["Range"] = f"bytes={span[0]}-{span[1] - 1}"
    timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
    url = fs.encode_url(uri)
    options = {"timeout": timeout, **fs.kwargs, "headers": given, "middlewares": (_check_redirects_of(url),)}
    try:
        async with session.request(method, url, **options) as response:
            if response.status == NOT_FOUND:
                raise FileNotFoundError(uri)
            response.raise_for_status()
            return Answer(response.status, response.headers, b"" if headers_only else await response.read())
    except TooManyRedirects as exc:
        reason = "the server redirects this address again and again: open it in a browser, and correct it"
        raise StorageError(f"{uri}: {reason}") from exc


def _check_redirects_of(url: URL) -> Callable[[Any, Any], Any]:
    """Return a middleware of aiohttp that refuses redirects from a URL to another server in a private network.

    A list may come from somebody else, and a redirect must not let its author read from servers that only this machine
    can reach. Servers in the internet are permitted, because many servers redirect to a network that delivers files.
    """
    permitted = {url.origin(), url.with_scheme("https").origin()}

    async def send(request: Any, handler: Any) -> Any:
        target = request.url.origin()
        if target not in permitted and not await _is_public(target):
            reason = (
                f"the server redirects to {target}, which is not a server in the internet: if you trust it, name the "
                "file there"
            )
            raise StorageError(f"{url}: {reason}")
        return await handler(request)

    return send


async def _is_public(server: URL) -> bool:
    """Return whether all addresses of a server are public; False if it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port)
    except OSError:
        return False
    addresses = [ip_address(str(address[0]).partition("%")[0]) for *_, address in found]
    return bool(addresses) and all(address.is_global for address in addresses)


def _asked_wait_s(headers: Mapping[str, str]) -> float:
    """Return how long a server asks to wait before the next request [s]."""
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    at = _seconds(text)
    return max(0.0, at - datetime.now(UTC).timestamp()) if at else 0.0
