"""Files on any fsspec URI: their places, their text, and folder listings with fingerprints."""

import errno
import os
import posixpath
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from multiprocessing.pool import ThreadPool
from typing import Any

from fsspec import AbstractFileSystem

from clipes.tasks.storage.filesystem import MTIME_KEYS, appears_whole, explained, filesystem, is_local
from clipes_core.errors import DatasetError, StorageError

THREADS = 16  # requests at a time; a listing or a small file spends its time waiting for the store
NO_SUCH_PLACE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a folder listing tells of a file.

    Attributes:
        size_bytes: of the file.
        fingerprint: `etag:ETAG` where the listing has one, else `SIZE-MTIME` with the time in ns since 1970.
    """

    size_bytes: int
    fingerprint: str


def absolute(path: str) -> str:
    """The path made absolute and normalised; a URI as it is; both without a slash at the end."""
    scheme, separator, rest = path.partition("://")
    if not separator:
        return posixpath.abspath(path)
    return posixpath.abspath(rest) if scheme in ("file", "local") else f"{scheme}://{rest.rstrip('/')}"


def is_absolute(path: str) -> bool:
    """True for URIs and for paths that begin at the root of the file system."""
    return path.startswith("/") or "://" in path


def check_protocol(uri: str) -> None:
    """Refuse a URI that no installed package can open; a path always passes.

    Raises:
        DatasetError: names the protocol.
    """
    _filesystem(uri)


def join(folder: str, path: str) -> str:
    """A path below a folder."""
    return folder + path if folder.endswith("/") else f"{folder}/{path}"


def parent(uri: str) -> str:
    """The folder that a file lies in."""
    return absolute(uri[: uri.rindex("/") + 1])


def read_bytes(uri: str) -> bytes:
    """The content of a file.

    Raises:
        FileNotFoundError: there is no such file, or it is a folder.
        DatasetError: no permission, a name that no file can have, or a protocol that no installed package knows.
        TransientError: the network or the server fails.
    """
    with _of_data(uri):
        fs, path = filesystem(uri)
        try:
            return fs.cat_file(path)
        except (IsADirectoryError, NotADirectoryError) as exc:
            raise FileNotFoundError(uri) from exc


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file, whole or not at all; local folders are made where they are not there.

    Raises:
        DatasetError: no permission, a full disk, or a protocol that no installed package knows.
        TransientError: the network or the server fails.
    """
    with _of_data(uri), appears_whole(uri) as temporary:
        temporary.write_bytes(data)


def read_text(uri: str) -> str:
    """The content of a UTF-8 file, with or without a byte order mark.

    Raises:
        FileNotFoundError: there is no such file, or it is a folder.
        DatasetError: it is not UTF-8 text, or as `read_bytes`.
    """
    try:
        return read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{uri}: not UTF-8 text ({exc}); save it as UTF-8") from exc


def read_lines(uri: str) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line that is not blank; any line end.

    Raises:
        FileNotFoundError: there is no such file, or it is a folder.
        DatasetError: as `read_text`.
    """
    for number, line in enumerate(StringIO(read_text(uri), newline=None), start=1):
        if line.strip():
            yield number, line.rstrip("\n")


def list_names(folder: str) -> list[str] | None:
    """Sorted names of what lies directly in a folder; None where there is no such folder.

    Raises:
        DatasetError: as `read_bytes`.
    """
    with _of_data(folder):
        fs, path = filesystem(folder)
        try:
            entries = fs.ls(path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
    names = sorted(_name(entry) for entry in entries)
    return None if entries == [path] else names


def find_files(uris: Iterable[str]) -> dict[str, FileFacts]:
    """Look up files by listing each folder that occurs once.

    Args:
        uris: absolute paths or URIs; those in one folder share one listing.

    Returns:
        The facts of those that exist.

    Raises:
        DatasetError: as `read_bytes`.
    """
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for uri in uris:
        place = uri.rindex("/") + 1
        wanted[uri[:place]][uri[place:]] = uri
    found: dict[str, FileFacts] = {}
    # the file systems are made here, not in the threads: fsspec gives each thread its own connections
    jobs = [(folder, *_filesystem(folder), names) for folder, names in wanted.items()]
    with ThreadPool(min(THREADS, max(1, len(jobs)))) as pool:
        for files in pool.imap_unordered(_find_in_folder, jobs):
            found.update(files)
    return found


def _find_in_folder(job: tuple[str, AbstractFileSystem, str, Mapping[str, str]]) -> dict[str, FileFacts]:
    folder, fs, path, uris = job
    with _of_data(folder):
        try:
            files = _local_files(path, uris) if is_local(fs) else _listed_files(fs, path, uris)
        except OSError as exc:
            if exc.errno in NO_SUCH_PLACE or isinstance(exc, FileNotFoundError):
                return {}
            raise
        except ValueError:  # the system knows no such name, as one that holds a zero character
            return {}
    return {uris[name]: facts for name, facts in files.items()}


def _local_files(folder: str, names: Container[str]) -> dict[str, FileFacts]:
    # not fsspec's listing: it takes links for neither file nor folder, and cuts times to floats
    files = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):  # gone since it was listed, or a link that leads in a circle
                if entry.name in names and entry.is_file():
                    stat = entry.stat()
                    files[entry.name] = FileFacts(stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}")
    return files


def _listed_files(fs: AbstractFileSystem, folder: str, names: Container[str]) -> dict[str, FileFacts]:
    entries = {_name(entry["name"]): entry for entry in fs.ls(folder, detail=True) if entry["type"] == "file"}
    return {name: _facts(fs, entry) for name, entry in entries.items() if name in names}


def _facts(fs: AbstractFileSystem, entry: Mapping[str, Any]) -> FileFacts:
    if entry["size"] is None:  # a web server's listing is a page of links
        entry = fs.info(entry["name"])
    return FileFacts(int(entry["size"] or 0), _fingerprint(entry))


def _fingerprint(entry: Mapping[str, Any]) -> str:
    etag = entry.get("ETag") or entry.get("etag")
    if etag:
        return f"etag:{str(etag).strip(chr(34))}"
    times = (entry[key] for key in MTIME_KEYS if entry.get(key))
    return f"{entry['size']}-{_nanoseconds(next(times, ''))}"


def _nanoseconds(time: datetime | float | str) -> str:
    if isinstance(time, datetime):
        return str(round(time.timestamp() * 1_000_000) * 1000)
    return str(round(time * 1_000_000_000)) if isinstance(time, int | float) else time


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    with _of_data(uri):
        return filesystem(uri)


@contextmanager
def _of_data(uri: str) -> Iterator[None]:
    """Errors of stores, as errors of what the user has given."""
    try:
        with explained(uri):
            yield
    except StorageError as exc:
        raise DatasetError(str(exc)) from exc
