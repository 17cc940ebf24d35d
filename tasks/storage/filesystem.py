"""A file system for a URI, and what its refusals and faults mean: the only place that knows the errors of stores.

Three things are told apart. What is not there is a FileNotFoundError. What will be refused again (no permission, no
bucket, a disk that is full or read-only) is a StorageError that says where and what to do. What may pass (network,
timeouts, a server's own faults) is a TransientError.
"""

import errno
import os
import posixpath
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from clipes_core.config.run import NO_CREDENTIALS, holds_credentials
from clipes_core.errors import StorageError, TransientError

FULL = (errno.ENOSPC, errno.EDQUOT)
# A local disk's own EIO is not among them: a bad sector stays one. Object stores say EREMOTEIO and EBUSY for 5xx.
MAY_PASS = (
    *(errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ESTALE),
    *(errno.EREMOTEIO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH),
)
TRY_AGAIN = (408, 409, 429)  # the answers of servers below 500 that ask for another attempt
EXPIRED = ("ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed")  # credentials that may be good again
NOT_IMPLEMENTED = 501  # the one from 500 on that does not
# Told by name: importing the packages of all stores to know their errors takes longer than most commands.
FOREIGN = ("aiohttp", "botocore", "aiobotocore")
FAULTS_ON_THE_WAY = {
    "botocore.exceptions.ConnectionError",
    "botocore.exceptions.HTTPClientError",
    "botocore.parsers.ResponseParserError",
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ClientPayloadError",
}


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """The file system of a URI and the path in it; listings are not kept, so that they are never stale.

    Raises:
        StorageError: no installed package knows its protocol, or it holds credentials.
    """
    if "://" not in uri:
        return LocalFileSystem(), uri
    if holds_credentials(uri):
        raise StorageError(f"a URI with credentials in it: {NO_CREDENTIALS}")
    try:
        return url_to_fs(uri, use_listings_cache=False)
    except (ValueError, ImportError) as exc:
        raise StorageError(f"{uri}: {exc}; use a path or a URI that fsspec can open") from exc


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn what stores raise in the block into errors that name the place and what to do.

    Raises:
        FileNotFoundError: as it came: there is no such file, in a place that is there.
        StorageError: it will not go better the next time.
        TransientError: it may.
    """
    try:
        yield
    except FileNotFoundError as exc:
        if _code(exc) == "NoSuchBucket":
            raise StorageError(f"{uri}: there is no such bucket; make it, or name another") from exc
        raise
    except Exception as exc:
        foreign = type(exc).__module__.partition(".")[0] in FOREIGN
        if not (foreign or isinstance(exc, OSError | ValueError | NotImplementedError)):
            raise
        if _may_pass(exc):
            raise TransientError(_on_the_way(uri, exc)) from exc
        raise StorageError(_on_the_way(uri, exc) if foreign else _refusal(uri, exc)) from exc


@contextmanager
def appears_whole(uri: str) -> Iterator[Path]:
    """A temporary file that becomes `uri` when the block ends without an error, and vanishes otherwise.

    One rename on a local disk, one put on an object store. Local folders are made where they are not there.

    Raises:
        StorageError: it cannot be written; errors of the block come as they are.
        TransientError: the store does not answer.
    """
    fs, path = filesystem(uri)
    folder = Path(path).parent if is_local(fs) else Path(tempfile.gettempdir())
    temporary = folder / f".{posixpath.basename(path)}.{uuid.uuid4().hex}.tmp"
    with _written(uri):
        folder.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    try:
        yield temporary
        with _written(uri):
            if is_local(fs):
                temporary.replace(path)
            else:
                fs.put_file(str(temporary), path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def on_disk(uri: str) -> Iterator[Path]:
    """A file of this machine with a URI's content, for libraries that take a path: itself, or a copy for the block.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the store refuses.
        TransientError: it does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        with explained(uri):
            fs, path = filesystem(uri)
            if not is_local(fs):
                copy = posixpath.join(folder, posixpath.basename(path))
                fs.get_file(path, copy)
                path = copy
        yield Path(path)


def remove(uri: str) -> None:
    """Remove a file; one that is not there is passed over.

    Raises:
        StorageError: it cannot be removed.
        TransientError: the store does not answer.
    """
    with explained(uri):
        fs, path = filesystem(uri)
        try:
            fs.rm_file(path)
        except FileNotFoundError as exc:
            if _code(exc) is not None:
                raise


def move(uri: str, target_uri: str) -> None:
    """Move a file within a store; local folders are made where they are not there.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it cannot be moved.
        TransientError: the store does not answer.
    """
    with explained(uri):
        fs, path = filesystem(uri)
        _, target = filesystem(target_uri)
        if is_local(fs):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        fs.mv(path, target)


def is_local(fs: AbstractFileSystem) -> bool:
    """Whether it is a disk of this machine, where folders have to be made and files are renamed."""
    return isinstance(fs, LocalFileSystem)


@contextmanager
def _written(uri: str) -> Iterator[None]:
    """As `explained`, where a place that is not there is as bad as one that refuses."""
    try:
        with explained(uri):
            yield
    except FileNotFoundError as exc:
        raise StorageError(_refusal(uri, exc)) from exc


def _may_pass(error: Exception) -> bool:
    if isinstance(error, ConnectionError | TimeoutError) or _code(error) in EXPIRED:
        return True
    status = _status(error)
    if status is not None:
        return status in TRY_AGAIN or (status >= 500 and status != NOT_IMPLEMENTED)
    names = {f"{each.__module__}.{each.__name__}" for each in type(error).__mro__}
    return getattr(error, "errno", None) in MAY_PASS or not names.isdisjoint(FAULTS_ON_THE_WAY)


def _on_the_way(uri: str, error: Exception) -> str:
    return f"{uri}: {error}; check the address, the network and the credentials"


def _refusal(uri: str, error: Exception) -> str:
    number, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return f"{uri}: no permission ({reason}); check its mode or the credentials"
    if number in FULL:
        place = getattr(error, "filename", None) or uri
        return f"{place}: the disk is full ({os.strerror(number)}); free space on it, then go on"
    if number == errno.EROFS:
        return f"{uri}: the disk can only be read ({reason}); mount it for writing, or name another place"
    if isinstance(error, ValueError):
        return f"{uri!r}: {reason}; use a path or a URI that can exist"
    return f"{uri} cannot be used ({error}); mend it, or name another place"


def _status(error: BaseException) -> int | None:
    """HTTP status of a server's answer, where the error or its cause holds one."""
    answer = _answer(error)
    if answer is not None:
        return answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(error, "status", None)


def _code(error: BaseException) -> str | None:
    """The word that S3 has for an error."""
    return (_answer(error) or {}).get("Error", {}).get("Code")


def _answer(error: BaseException) -> dict[str, Any] | None:
    """What botocore tells of a server's answer; s3fs turns its errors into the system's and keeps them as the cause."""
    answers = (getattr(each, "response", None) for each in (error, error.__cause__))
    return next((answer for answer in answers if isinstance(answer, dict)), None)


def first_line(exc: BaseException) -> str:
    """What a third party's error says, fit for a message of one line."""
    return (str(exc).splitlines() or [type(exc).__name__])[0]
