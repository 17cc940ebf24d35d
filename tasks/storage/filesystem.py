"""Find the file system of a URI, and translate the errors of file systems into three kinds of error.

A missing file is a FileNotFoundError. A permanent fault (no permission, no bucket, a full or read-only disk) is a
StorageError, which names the path or URI and says what to do. A temporary fault (network, timeout, an error inside the
server) is a TransientError.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import fsspec.asyn
import fsspec.config
from fsspec import AbstractFileSystem, get_filesystem_class
from fsspec.implementations.local import LocalFileSystem

from clipes_core.config.extras import S3
from clipes_core.config.uri import is_uri, refusal, without_secrets
from clipes_core.errors import StorageError, TransientError

S3_PROTOCOLS = ("s3", "s3a")
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
FILE_TOO_LARGE = (
    f"a file exceeds the limit of this process or of the disk ({os.strerror(errno.EFBIG)}): raise the limit with "
    "ulimit -f unlimited, or choose another location"
)
# EIO is not listed, because a local disk raises it for a bad sector, which stays bad. s3fs raises EREMOTEIO or EBUSY
# if the server fails (HTTP 500 or 503).
TRANSIENT_ERRNOS = (
    errno.EAGAIN,
    errno.EINTR,
    errno.EBUSY,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ESTALE,
    errno.EREMOTEIO,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
)
CONNECTIONS = 64  # to a store at the same time, per process
LONGEST_TEXT = 300  # that a message quotes from an error or a file [characters]
RETRYABLE_STATUSES = (408, 409, 429)  # HTTP statuses below 500 after which a retry may succeed
NOT_IMPLEMENTED = 501  # the only HTTP status from 500 up after which a retry is useless
EXPIRED_CREDENTIALS = ("ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed")  # a retry may get new ones
ALREADY_THERE = ("PreconditionFailed", "ConditionalRequestConflict")  # S3's codes if a file to create exists
# Errors are recognised by the name of their class or package, because importing all these packages would take longer
# than most commands run.
STORE_PACKAGES = ("aiohttp", "botocore", "aiobotocore")
NETWORK_ERRORS = {
    "botocore.exceptions.ConnectionError",
    "botocore.exceptions.HTTPClientError",
    "botocore.parsers.ResponseParserError",
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ClientPayloadError",
}

_opened: WeakValueDictionary[int, AbstractFileSystem] = WeakValueDictionary()
_inherited: list[AbstractFileSystem] = []  # in a forked process, the file systems of its parent


def _keep_for_child() -> None:
    """Keep all file systems alive in the process that is about to be forked.

    fsspec would drop them there, and close their connections. For S3, each would wait 3 s for a thread that does not
    exist in the child. For web servers, the parent would never get the answers of its own connections, because both
    processes share the kernel's list of sockets to watch.
    """
    _inherited[:] = [fs for reference in _opened.valuerefs() if (fs := reference()) is not None]


def _prepare_child() -> None:
    fsspec.asyn.reset_lock()  # a thread of the parent may hold it


os.register_at_fork(before=_keep_for_child, after_in_parent=_inherited.clear, after_in_child=_prepare_child)


def filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URI, and the path within that file system.

    The file system does not cache listings, so a listing is never stale. `::` is an ordinary part of a path, and never
    the mark of fsspec's chained URIs.

    Raises:
        StorageError: no installed package can open the URI, or the URI may contain a password.
        TransientError: the server of the URI does not answer.
    """
    if not is_uri(uri):
        return LocalFileSystem(), uri
    package = file_system_class(uri)
    try:
        options = {**package._get_kwargs_from_urls(uri), **_connections(uri), "use_listings_cache": False}
        fs = package(**options)
        _opened[id(fs)] = fs
        return fs, package._strip_protocol(uri)
    except Exception as exc:  # a package may raise anything, for example if it needs more than a URI
        if _is_transient(exc):
            raise TransientError(_network_message(uri, exc)) from exc
        raise _not_openable(uri, exc) from exc


def _connections(uri: str) -> dict[str, Any]:
    """Return the options that let enough threads access a store at the same time; botocore permits ten by default."""
    protocol = uri.partition("://")[0]
    if protocol not in S3_PROTOCOLS:
        return {}
    users = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
    return {"config_kwargs": {"max_pool_connections": CONNECTIONS, **users}}


def file_system_class(uri: str) -> type[AbstractFileSystem]:
    """Return the class of file systems that opens a URI. Nothing is opened, and no server is contacted.

    Raises:
        StorageError: no installed package knows the protocol, or the URI may contain a password.
    """
    if message := refusal(uri):
        raise StorageError(message)
    protocol = uri.partition("://")[0]
    if protocol in S3_PROTOCOLS and not S3.installed:
        raise StorageError(f"{uri}: {S3.advice()}")
    try:
        return get_filesystem_class(protocol)
    except (ValueError, ImportError) as exc:
        raise _not_openable(uri, exc) from exc


def _not_openable(uri: str, error: Exception) -> StorageError:
    return StorageError(f"{uri}: {first_line(error)}; use a path or a URI that fsspec can open")


def is_local(fs: AbstractFileSystem) -> bool:
    """Return whether a file system is the local disk."""
    return isinstance(fs, LocalFileSystem)


@contextmanager
def translate_storage_errors(uri: str) -> Iterator[None]:
    """Translate the file system errors of the block. The new errors state the path or URI, and what to do.

    Raises:
        FileNotFoundError: the file does not exist. If its bucket does not exist either, StorageError is raised instead.
        StorageError: the store refuses access, and a retry will not help.
        TransientError: a retry may succeed.
    """
    try:
        yield
    except FileNotFoundError as exc:
        if _s3_code(exc) == "NoSuchBucket":
            raise StorageError(f"{uri}: the bucket does not exist; create it or name another bucket") from exc
        raise
    except Exception as exc:
        from_package = type(exc).__module__.partition(".")[0] in STORE_PACKAGES
        if not (from_package or isinstance(exc, OSError | ValueError | NotImplementedError)):
            raise
        if _is_transient(exc):
            raise TransientError(_network_message(uri, exc)) from exc
        raise StorageError(_network_message(uri, exc) if from_package else _refusal_message(uri, exc)) from exc


@contextmanager
def translate_write_errors(uri: str) -> Iterator[None]:
    """Translate errors as `translate_storage_errors` does, but report a missing folder as a StorageError.

    Raises:
        StorageError: the folder is missing; or the store refuses access, and a retry will not help.
        TransientError: a retry may succeed.
    """
    try:
        with translate_storage_errors(uri):
            yield
    except FileNotFoundError as exc:
        raise StorageError(_refusal_message(uri, exc)) from exc


def is_disk_full(error: StorageError) -> bool:
    """Return whether the cause of an error is a full disk or an exceeded quota."""
    return getattr(error.__cause__, "errno", None) in DISK_FULL


def is_already_there(error: BaseException) -> bool:
    """Return whether a file could not be created because it exists."""
    causes = [each for each in (error, error.__cause__) if each is not None]
    return any(isinstance(each, FileExistsError) or _s3_code(each) in ALREADY_THERE for each in causes)


def lacks_conditional_put(error: BaseException) -> bool:
    """Return whether a file could not be created because the store cannot create files exclusively."""
    causes = [each for each in (error, error.__cause__) if each is not None]
    return any(isinstance(each, TypeError) or _http_status(each) == NOT_IMPLEMENTED for each in causes)


def is_storage_error(error: Exception) -> bool:
    """Return whether an error comes from a disk or a store, and not from the content of a file."""
    from_package = type(error).__module__.partition(".")[0] not in ("builtins", "pyarrow")
    # pyarrow raises a plain OSError without an error number if a file has unexpected content.
    from_disk = isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None)
    return from_package or from_disk


def first_line(exc: BaseException) -> str:
    """Return the first line of a third-party error's message, or the name of its type if the message is empty.

    The message may quote a damaged file or a URI with a token, so it is shown as `printable` and `without_secrets` do.
    """
    return printable(without_secrets((str(exc).splitlines() or [type(exc).__name__])[0]))


def printable(text: str) -> str:
    """Return the start of a text, with escapes for the characters that a terminal would obey instead of printing."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:LONGEST_TEXT])


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ConnectionError | TimeoutError) or _s3_code(error) in EXPIRED_CREDENTIALS:
        return True
    status = _http_status(error)
    if status is not None:
        return status in RETRYABLE_STATUSES or (status >= 500 and status != NOT_IMPLEMENTED)
    names = {f"{each.__module__}.{each.__name__}" for each in type(error).__mro__}
    return getattr(error, "errno", None) in TRANSIENT_ERRNOS or not names.isdisjoint(NETWORK_ERRORS)


def _network_message(uri: str, error: Exception) -> str:
    return f"{uri}: {without_secrets(str(error))}; check the address, the network and the credentials"


def _refusal_message(uri: str, error: Exception) -> str:
    number, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return f"{uri}: no permission ({reason}); check its permissions or the credentials"
    if number in DISK_FULL:
        place = getattr(error, "filename", None) or uri
        return f"{place}: the disk is full ({os.strerror(number)}); free space on it and rerun"
    if number == errno.EFBIG:
        return f"{uri}: {FILE_TOO_LARGE}"
    if number == errno.EROFS:
        return f"{uri}: the disk is read-only ({reason}); mount it for writing or choose another location"
    if isinstance(error, ValueError):
        return f"{uri!r}: {reason}; use a valid path or URI"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{uri} cannot be used ({error}); a file is where a folder must be: move it or choose another location"
    return f"{uri} cannot be used ({error}); repair it or choose another location"


def _http_status(error: BaseException) -> int | None:
    """Return the HTTP status that an error or its cause carries; None if neither does."""
    response = _response(error)
    if response is not None:
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(error, "status", None)


def _s3_code(error: BaseException) -> str | None:
    """Return the S3 error code, such as NoSuchBucket; None if the error does not come from S3."""
    return (_response(error) or {}).get("Error", {}).get("Code")


def _response(error: BaseException) -> dict[str, Any] | None:
    """Return the server's response as botocore stores it; None if there is none.

    The response may belong to the cause of the error: s3fs raises an OSError, whose cause is botocore's error.
    """
    responses = (getattr(each, "response", None) for each in (error, error.__cause__))
    return next((response for response in responses if isinstance(response, dict)), None)
