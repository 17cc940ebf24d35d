"""Requests to web servers, which are repeated if they fail."""

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from clipes.tasks.inputs.sources.source import (
    ETAG,
)
from clipes.tasks.inputs.sources.web.redirects import check_redirects_of
from clipes.tasks.machine.processes import ForkSafeLock
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.retry_policy import ONE_MINUTE, RetryPolicy
from clipes_core.errors import StorageError, TransientError

POLICY = replace(ONE_MINUTE, log_level=logging.DEBUG)  # the first failure of each server is a warning
ONCE = RetryPolicy(1, 0.0, 0.0)
PATIENCE = 5  # requests in a row that a server may fail in all attempts; then clipes does not wait for it any longer
CONNECT_S, SILENCE_S = 10.0, 30.0  # longest waits for a connection, and for the next bytes of an answer
NOT_FOUND = 404
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


def http_seconds(time: str) -> float:
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
    options = {"timeout": timeout, **fs.kwargs, "headers": given, "middlewares": (check_redirects_of(url),)}
    try:
        async with session.request(method, url, **options) as response:
            if response.status == NOT_FOUND:
                raise FileNotFoundError(uri)
            response.raise_for_status()
            return Answer(response.status, response.headers, b"" if headers_only else await response.read())
    except TooManyRedirects as exc:
        reason = "the server redirects this address again and again: open it in a browser, and correct it"
        raise StorageError(f"{uri}: {reason}") from exc


def _asked_wait_s(headers: Mapping[str, str]) -> float:
    """Return how long a server asks to wait before the next request [s]."""
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    at = http_seconds(text)
    return max(0.0, at - datetime.now(UTC).timestamp()) if at else 0.0
