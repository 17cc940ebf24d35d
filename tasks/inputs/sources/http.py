"""Files on web servers, which are asked again if they fail."""

import io
import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool
from typing import Any, BinaryIO, cast

from clipes.tasks.inputs.sources.source import (
    ABSENT,
    CONTENT,
    Found,
    WholeFiles,
    changed,
    content_fingerprint,
    is_exact,
    transient_photo_error,
)
from clipes.tasks.inputs.sources.web.requests import fetch, fetch_headers, http_seconds
from clipes.tasks.storage.listing import FileFacts
from clipes_core.errors import ErrorKind, PhotoError, StorageError, TransientError

THREADS = 32  # that look files up: a web server answers for one file at a time
WEB_FILE = re.compile(r"https?://[^/]+/.")
PARTIAL_CONTENT = 206

logger = logging.getLogger(__name__)


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
    return FileFacts(uri, size, http_seconds(answer.changed_at), answer.fingerprint)
