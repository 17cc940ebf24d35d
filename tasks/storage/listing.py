"""Find and list files on any file system, with their sizes, modification times and fingerprints.

Some tools write a marker for a folder of an object store: an empty object whose name ends with a slash. No function of
this module returns a marker.
"""

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from errno import ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem

from clipes.tasks.storage.filesystem import filesystem, first_line, is_local, translate_storage_errors
from clipes_core.errors import ClipesError, StorageError, TransientError

THREADS = 16  # threads for listings and small reads, which spend most of their time waiting for the store
NO_SUCH_PLACE = (ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG)
# Keys under which fsspec's file systems report the modification time of a file.
MTIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")

Failure = StorageError | TransientError
_FolderJob = tuple[str, AbstractFileSystem, str, Mapping[str, str]]  # folder, its file system and path, name -> URI


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Metadata of a file, as the file system reports it without opening the file.

    Attributes:
        uri: full URI.
        size_bytes: size of the file [bytes].
        modified: modification time [s since 1970]; None if the file system does not report it.
        fingerprint: text that changes when the file changes: `etag:ETAG` if the file system reports an ETag, else
            `SIZE-MTIME` with the modification time in ns since 1970.
    """

    uri: str
    size_bytes: int
    modified: float | None
    fingerprint: str

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return posixpath.basename(self.uri)


def list_names(folder: str) -> list[str] | None:
    """List the names of the files and folders directly in a folder, without reading sizes or times.

    Returns:
        The names, sorted; None if there is no such folder.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    with translate_storage_errors(folder):
        fs, path = filesystem(folder)
        try:
            entries = fs.ls(path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
    if entries == [path]:  # a file
        return None
    return sorted(_name(entry) for entry in entries if entry.rstrip("/") != path.rstrip("/"))


def list_prefix(folder: str, prefix: str) -> list[FileFacts]:
    """List the files whose names start with a prefix and that lie directly in a folder.

    Returns:
        The files, in any order; an empty list if there is no such folder.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    try:
        with translate_storage_errors(folder):
            fs, path = filesystem(folder)
            if is_local(fs):
                return list(_local_files_starting(folder, path, prefix))
            # Object stores filter by prefix. Other file systems may list all files, so the names are checked below too.
            listed = _find(fs, path, maxdepth=1, prefix=prefix).values()
    except FileNotFoundError:
        return []
    named = {_name(entry["name"]): entry for entry in listed}
    return [
        _facts_of_entry(posixpath.join(folder, name), entry) for name, entry in named.items() if name.startswith(prefix)
    ]


def list_below(folder: str) -> list[FileFacts]:
    """List all files below a folder, at any depth; return an empty list if there is no such folder.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    with translate_storage_errors(folder):
        fs, path = filesystem(folder)
        if is_local(fs):
            return list(_local_files_below(folder, path))
        listed = _find(fs, path)
    return [
        _facts_of_entry(posixpath.join(folder, name.removeprefix(path.rstrip("/")).lstrip("/")), entry)
        for name, entry in listed.items()
    ]


def list_paths_below(folder: str) -> list[str] | None:
    """List the paths of all files below a folder, at any depth, without reading sizes or times.

    Returns:
        The paths relative to the folder, sorted; None if there is no such folder.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    with translate_storage_errors(folder):
        fs, path = filesystem(folder)
        return sorted(posixpath.relpath(file, path) for file in _find(fs, path)) if fs.isdir(path) else None


def find_file(uri: str) -> FileFacts | None:
    """Look up the metadata of one file or folder; return None if it does not exist.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    try:
        with translate_storage_errors(uri):
            fs, path = filesystem(uri)
            return _facts_of_stat(uri, Path(path).stat()) if is_local(fs) else _facts_of_entry(uri, fs.info(path))
    except FileNotFoundError:
        return None


def find_files(uris: Iterable[str]) -> dict[str, FileFacts]:
    """Look up the metadata of many files. Each folder is listed only once.

    Args:
        uris: absolute paths or URIs of files.

    Returns:
        URI -> metadata of each file that exists.

    Raises:
        StorageError: the store refuses access, or a folder cannot be listed.
        TransientError: the store does not answer.
    """
    found, failures = find_files_by_folder(uris)
    for failure in failures.values():
        raise failure
    return found


def find_files_by_folder(uris: Iterable[str]) -> tuple[dict[str, FileFacts], dict[str, Failure]]:
    """Look up the metadata of many files as `find_files` does, but return the errors instead of raising them.

    Returns:
        URI -> metadata of each file that exists; and folder -> error of each folder that cannot be listed. The URI of a
        folder ends with a slash.
    """
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for uri in uris:
        place = uri.rindex("/") + 1
        wanted[uri[:place]][uri[place:]] = uri
    found: dict[str, FileFacts] = {}
    failures: dict[str, Failure] = {}
    # The file systems are created here, because fsspec opens new connections in each thread that creates them.
    jobs = [_job(folder, names) for folder, names in wanted.items()]
    with ThreadPool(min(THREADS, max(1, len(jobs)))) as pool:
        for folder, files in zip(wanted, pool.imap(_find_in_folder, jobs), strict=True):
            if isinstance(files, list):
                found.update((file.uri, file) for file in files)
            else:
                failures[folder] = files
    return found, failures


def _job(folder: str, names: Mapping[str, str]) -> _FolderJob | Failure:
    try:
        with _translate_all_errors(folder):
            return folder, *filesystem(folder), names
    except (StorageError, TransientError) as failure:
        return failure


def _find_in_folder(job: _FolderJob | Failure) -> list[FileFacts] | Failure:
    if isinstance(job, ClipesError):
        return job
    folder, fs, path, uris = job
    try:
        with _translate_all_errors(folder):
            return _files_in_folder(fs, path, uris)
    except (StorageError, TransientError) as failure:
        return failure


def _files_in_folder(fs: AbstractFileSystem, path: str, uris: Mapping[str, str]) -> list[FileFacts]:
    try:
        return list(_local_files(path, uris) if is_local(fs) else _listed_files(fs, path, uris))
    except OSError as exc:
        if exc.errno in NO_SUCH_PLACE or isinstance(exc, FileNotFoundError):
            return []
        raise
    except ValueError:  # the path is invalid, for example because it contains a NUL character
        return []


@contextmanager
def _translate_all_errors(folder: str) -> Iterator[None]:
    """Translate every error of the block, including errors that the package of a file system should not raise."""
    try:
        with translate_storage_errors(folder):
            yield
    except (StorageError, TransientError):
        raise
    except Exception as exc:
        reason = f"{type(exc).__name__}: {first_line(exc)}"
        raise StorageError(f"{folder}: cannot be listed ({reason}); use a path or URI that clipes can list") from exc


def _local_files(folder: str, uris: Mapping[str, str]) -> Iterator[FileFacts]:
    # fsspec's listing is not used, because it reports symbolic links as neither files nor folders, and rounds
    # times to floats.
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):  # removed since it was listed, or a circular link
                if entry.name in uris and entry.is_file():
                    yield _facts_of_stat(uris[entry.name], entry.stat())


def _local_files_starting(folder: str, path: str, prefix: str) -> Iterator[FileFacts]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                with suppress(FileNotFoundError):  # removed since it was listed, or a broken link
                    yield _facts_of_stat(posixpath.join(folder, entry.name), entry.stat())


def _local_files_below(folder: str, path: str) -> Iterator[FileFacts]:
    for place, _, names in os.walk(path):
        for name in names:
            file = posixpath.join(place, name)
            with suppress(OSError):  # removed since it was listed, or a broken link
                yield _facts_of_stat(posixpath.join(folder, posixpath.relpath(file, path)), Path(file).stat())


def _find(fs: AbstractFileSystem, folder: str, **options: Any) -> dict[str, Mapping[str, Any]]:
    """Return the path and the metadata of each file below a folder; `options` are those of fsspec's `find`."""
    found = fs.find(folder, detail=True, **options)
    # If there is no file below a folder, some file systems return the folder itself.
    return {path: entry for path, entry in found.items() if not path.endswith("/") and path != folder.rstrip("/")}


def _listed_files(fs: AbstractFileSystem, folder: str, uris: Mapping[str, str]) -> Iterator[FileFacts]:
    for entry in fs.ls(folder, detail=True):
        name = entry["name"].rpartition("/")[2]  # empty for a marker
        if entry["type"] == "file" and name in uris:
            # The listing of a web server is a page of links without sizes, so the size is requested separately.
            yield _facts_of_entry(uris[name], entry if entry["size"] is not None else fs.info(entry["name"]))


def _facts_of_stat(uri: str, stat: os.stat_result) -> FileFacts:
    return FileFacts(uri, stat.st_size, stat.st_mtime, fingerprint_of_stat(stat))


def _facts_of_entry(uri: str, entry: Mapping[str, Any]) -> FileFacts:
    time = _time(entry)
    modified = time.timestamp() if isinstance(time, datetime) else time
    seconds = modified if isinstance(modified, int | float) else None
    return FileFacts(uri, int(entry["size"] or 0), seconds, fingerprint_of_entry(entry))


def fingerprint_of_stat(stat: os.stat_result) -> str:
    """Return the fingerprint of a local file; see `FileFacts`."""
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def fingerprint_of_entry(entry: Mapping[str, Any]) -> str:
    """Return the fingerprint of a file that fsspec describes; see `FileFacts`."""
    etag = entry.get("ETag") or entry.get("etag")
    return f"etag:{str(etag).strip(chr(34))}" if etag else f"{entry['size']}-{_nanoseconds(_time(entry))}"


def _time(entry: Mapping[str, Any]) -> datetime | float | str | None:
    return next((entry[key] for key in MTIME_KEYS if entry.get(key)), None)


def _nanoseconds(time: datetime | float | str | None) -> str:
    if isinstance(time, datetime):
        return str(round(time.timestamp() * 1_000_000) * 1000)
    return str(round(time * 1_000_000_000)) if isinstance(time, int | float) else time or ""


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
