"""Read and write the user's own files on any file system; raise DatasetError if a store refuses access.

A full disk is a StorageError, because it is not a mistake in the command.
"""

import hashlib
import os
import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from clipes.tasks.storage import listing
from clipes.tasks.storage.files import create_file, read_file, refuse_endless, write_atomically, write_file
from clipes.tasks.storage.filesystem import (
    file_system_class,
    filesystem,
    is_disk_full,
    is_local,
    translate_storage_errors,
    translate_write_errors,
)
from clipes.tasks.storage.listing import FileFacts
from clipes_core.config.uri import is_uri
from clipes_core.errors import DatasetError, StorageError, TransientError

BLOCK = 4 << 20  # [bytes]


def absolute(path: str) -> str:
    """Make a path absolute and normalise it.

    A URI with the protocol `file` or `local` is converted to a path. In any other URI, only the
    slashes at the end are removed.
    """
    scheme, separator, rest = path.partition("://")
    if not separator:
        return posixpath.abspath(path)
    return posixpath.abspath(rest) if scheme in ("file", "local") else f"{scheme}://{rest.rstrip('/')}"


def is_absolute(path: str) -> bool:
    """Return True for URIs and for paths that start at the root of the file system."""
    return path.startswith("/") or "://" in path


def check_protocol(uri: str) -> None:
    """Check that an installed package knows the protocol of a URI, without contacting a server.

    A path without a protocol is accepted.

    Raises:
        DatasetError: no installed package knows the protocol, or the URI may contain a password.
    """
    with _raise_dataset_errors():
        if is_uri(uri):
            file_system_class(uri)


def check_openable(uri: str) -> None:
    """Check that an installed package can open a URI. A path without a protocol is accepted.

    Raises:
        DatasetError: no installed package can open the URI, or the URI may contain a password.
        TransientError: the server of the URI does not answer.
    """
    with _raise_dataset_errors():
        filesystem(uri)


def join(folder: str, path: str) -> str:
    """Join a folder and a path relative to that folder."""
    return folder + path if folder.endswith("/") else f"{folder}/{path}"


def canonical(uri: str) -> str:
    """Return the same text for all paths and URIs of one place, for example for `s3://bucket/a` and `s3a://bucket/a`.

    On the local disk, links are resolved. In a URI, `//`, `.` and `..` are resolved too, because some servers do so.
    For another server that tells such names apart, two places may have the same text.

    Raises:
        StorageError: no installed package can open the URI, or the URI may contain a password.
        TransientError: the server of the URI does not answer.
    """
    fs, path = filesystem(uri)
    if is_local(fs):
        return os.path.realpath(path)
    return f"{type(fs).__name__}:{posixpath.normpath(path.strip('/'))}"


def is_below(uri: str, folder: str) -> bool:
    """Return whether a URI is that of a folder, or of anything below it."""
    return join(uri, "").startswith(join(folder, ""))


def parent(uri: str) -> str:
    """Return the folder that contains a file."""
    return absolute(uri[: uri.rindex("/") + 1])


def read_bytes(uri: str) -> bytes:
    """Read a file.

    Raises:
        FileNotFoundError: `uri` does not exist, or is a folder.
        DatasetError: reading is not permitted, the name is invalid, or no installed package knows the protocol.
        TransientError: the network or the server fails.
    """
    try:
        return read_file(uri)
    except StorageError as exc:
        if isinstance(exc.__cause__, IsADirectoryError | NotADirectoryError):
            raise FileNotFoundError(uri) from exc
        raise DatasetError(str(exc)) from exc


def sha256_of(uri: str) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, without holding the file in memory.

    Raises:
        FileNotFoundError: `uri` does not exist, or is a folder.
        DatasetError: for the reasons that `read_bytes` lists.
        TransientError: the network or the server fails.
    """
    try:
        with _raise_dataset_errors(), translate_storage_errors(uri):
            fs, path = filesystem(uri)
            if is_local(fs):
                refuse_endless(path)
            with fs.open(path, "rb") as file:
                digest = hashlib.sha256()
                while block := file.read(BLOCK):
                    digest.update(block)
                return digest.hexdigest()
    except DatasetError as exc:
        cause = exc.__cause__ and exc.__cause__.__cause__
        if isinstance(cause, IsADirectoryError | NotADirectoryError):
            raise FileNotFoundError(uri) from exc
        raise


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file atomically. Missing local folders are created.

    Raises:
        DatasetError: writing is not permitted, or no installed package knows the protocol.
        StorageError: the disk is full.
        TransientError: the network or the server fails.
    """
    with _raise_dataset_errors():
        write_file(uri, data)


@contextmanager
def written_in_pieces(uri: str) -> Iterator[Path]:
    """Yield a temporary file that becomes `uri` if the block ends without an error; see `files.write_atomically`.

    Raises:
        StorageError: writing is not permitted, no installed package knows the protocol, or a disk is full.
        TransientError: the network or the server fails.
    """
    with write_atomically(uri) as temporary:
        try:
            yield temporary
        except OSError:
            with translate_write_errors(uri):
                raise


def create_bytes(uri: str, data: bytes) -> bool:
    """Write a file whole, unless it exists; return whether it was written. See `files.create_file`.

    Raises:
        DatasetError: writing is not permitted, or no installed package knows the protocol.
        StorageError: the disk is full.
        TransientError: the network or the server fails.
    """
    with _raise_dataset_errors():
        return create_file(uri, data)


def read_text(uri: str) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        FileNotFoundError: `uri` does not exist, or is a folder.
        DatasetError: the file is not UTF-8 text, or it cannot be read for a reason that `read_bytes` lists.
        TransientError: the network or the server fails.
    """
    try:
        return read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{uri}: not UTF-8 text ({exc}); save the file as UTF-8") from exc


def read_lines(uri: str) -> Iterator[tuple[int, str]]:
    """Yield the line number (from 1) and the text of each line. Blank lines are counted, but not yielded.

    Raises:
        FileNotFoundError: `uri` does not exist, or is a folder.
        DatasetError: for the reasons that `read_text` lists.
        TransientError: the network or the server fails.
    """
    for number, line in enumerate(StringIO(read_text(uri), newline=None), start=1):
        if line.strip():
            yield number, line.rstrip("\n")


def list_names(folder: str) -> list[str] | None:
    """List the names of the files and folders in a folder. The content of subfolders is not listed.

    Returns:
        The names, sorted; None if the folder does not exist.

    Raises:
        DatasetError: for the reasons that `read_bytes` lists.
        TransientError: the network or the server fails.
    """
    with _raise_dataset_errors():
        return listing.list_names(folder)


def exists(uri: str) -> bool:
    """Return whether a file or folder exists.

    Raises:
        DatasetError: for the reasons that `read_bytes` lists.
        TransientError: the network or the server fails.
    """
    with _raise_dataset_errors():
        return listing.find_file(uri) is not None


def find_files(uris: Iterable[str]) -> dict[str, FileFacts]:
    """Look up the metadata of many files with `listing.find_files`.

    Returns:
        URI -> metadata of each file that exists.

    Raises:
        DatasetError: for the reasons that `read_bytes` lists.
        TransientError: the network or the server fails.
    """
    with _raise_dataset_errors():
        return listing.find_files(uris)


def find_files_by_folder(
    uris: Iterable[str],
) -> tuple[dict[str, FileFacts], dict[str, DatasetError | TransientError]]:
    """Look up the metadata of many files with `listing.find_files_by_folder`; folder -> error has a DatasetError."""
    found, failures = listing.find_files_by_folder(uris)
    return found, {folder: _as_dataset_error(failure) for folder, failure in failures.items()}


def _as_dataset_error(failure: StorageError | TransientError) -> DatasetError | TransientError:
    return failure if isinstance(failure, TransientError) else DatasetError(str(failure))


@contextmanager
def _raise_dataset_errors() -> Iterator[None]:
    """Run the block. If the block raises a StorageError, raise a DatasetError with the same message.

    Raises:
        DatasetError: the block has raised a StorageError.
        StorageError: the disk is full.
    """
    try:
        yield
    except StorageError as exc:
        if is_disk_full(exc):
            raise
        raise DatasetError(str(exc)) from exc
