"""Read, write, move and remove files on any file system, or copy them to the local disk. Writes are atomic."""

import errno
import os
import posixpath
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipes.tasks.storage.filesystem import (
    filesystem,
    is_already_there,
    is_local,
    lacks_conditional_put,
    translate_storage_errors,
    translate_write_errors,
)
from clipes.tasks.storage.layout import temporary_name
from clipes.tasks.storage.listing import find_file
from clipes_core.errors import StorageError, TransientError

NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def read_file(uri: str, start: int | None = None, end: int | None = None) -> bytes:
    """Read a file, or its bytes from `start` (inclusive) to `end` (exclusive).

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the store refuses access, or `uri` is a device, a pipe or a socket.
        TransientError: the store does not answer.
    """
    with translate_storage_errors(uri):
        fs, path = filesystem(uri)
        if is_local(fs):
            refuse_endless(path)
        return fs.cat_file(path, start=start, end=end)


def refuse_endless(path: str) -> None:
    """Refuse devices, pipes and sockets: some never end, and a pipe can be read by one process only once.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: `path` is a device, a pipe or a socket.
    """
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise StorageError(f"{path} is a device, a pipe or a socket: copy its content to a file, and name that file")


def write_file(uri: str, data: bytes) -> None:
    """Write a file atomically; missing local folders are created.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    with write_atomically(uri) as temporary, translate_write_errors(uri):
        temporary.write_bytes(data)


def create_file(uri: str, data: bytes) -> bool:
    """Write a file whole, unless it exists. If several processes try this at the same time, only one succeeds.

    This holds for the local disk and for stores with S3's conditional PUT. Other stores are asked first whether the
    file exists, so two processes may both succeed. Missing local folders are created.

    Returns:
        Whether this call created the file.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    fs, path = filesystem(uri)
    if is_local(fs):
        with translate_write_errors(uri):
            return _create_local_file(Path(path), data)
    try:
        with translate_write_errors(uri):
            fs.pipe_file(path, data, mode="create")
    except (FileExistsError, StorageError, TransientError, TypeError) as exc:
        if is_already_there(exc):
            return False
        if not lacks_conditional_put(exc):
            raise
        if find_file(uri) is not None:
            return False
        write_file(uri, data)
    return True


def _create_local_file(path: Path, data: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name(path.name)
    try:
        temporary.write_bytes(data)
        path.hardlink_to(temporary)  # unlike a rename, this fails if the file exists
    except FileExistsError:
        return False
    except OSError as exc:
        if exc.errno not in NO_HARD_LINKS:
            raise
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


@contextmanager
def write_atomically(uri: str) -> Iterator[Path]:
    """Yield a temporary file that becomes `uri` if the block ends without an error, and is removed otherwise.

    On a local disk, the file appears by a single rename. In an object store, it appears by a single upload. Missing
    local folders are created.

    Raises:
        StorageError: the store refuses access. Errors that the block raises are not translated.
        TransientError: the store does not answer.
    """
    fs, path = filesystem(uri)
    folder = Path(path).parent if is_local(fs) else Path(tempfile.gettempdir())
    temporary = folder / temporary_name(posixpath.basename(path))
    with translate_write_errors(uri):
        folder.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    try:
        yield temporary
        with translate_write_errors(uri):
            if is_local(fs):
                temporary.replace(path)
            else:
                fs.put_file(str(temporary), path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def on_local_disk(uri: str) -> Iterator[Path]:
    """Yield a local path to the content of a file, for libraries that cannot open a URI.

    For a local file, this is the file's own path. For any other file, it is the path of a temporary copy.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        with translate_storage_errors(uri):
            fs, path = filesystem(uri)
            if not is_local(fs):
                copy = posixpath.join(folder, posixpath.basename(path))
                fs.get_file(path, copy)
                path = copy
        yield Path(path)


def check_place(folder: str) -> None:
    """Check that no local file is in the place of a folder, or of a folder above it. Nothing is written.

    Raises:
        StorageError: a file or a broken link is in its place, or a folder above it cannot be accessed.
    """
    with translate_write_errors(folder):
        fs, path = filesystem(folder)
        if is_local(fs) and not (found := _closest(path)).is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(found))


def check_writable(folder: str) -> None:
    """Write a small file to a folder, and remove it. If a local folder is missing, use the closest folder above it.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    check_place(folder)
    with translate_write_errors(folder):
        fs, path = filesystem(folder)
        trial = f"{_closest(path) if is_local(fs) else folder.rstrip('/')}/{temporary_name('trial')}"
        with suppress(FileNotFoundError):
            read_file(trial)  # if a bucket does not exist, some servers say so only in answer to a read request
        write_file(trial, b"clipes")
        remove(trial)


def free_bytes(folder: str) -> int | None:
    """Return the free space on the disk of a folder, which need not exist yet [bytes]; None for an object store.

    Raises:
        StorageError: no installed package can open the URI, or the disk cannot be accessed.
    """
    with translate_storage_errors(folder):
        fs, path = filesystem(folder)
        return shutil.disk_usage(_closest(path)).free if is_local(fs) else None


def _closest(path: str) -> Path:
    """Return the path itself if something is there, and otherwise the closest existing path above it."""
    absolute = Path(path).absolute()
    return next(each for each in (absolute, *absolute.parents) if each.exists() or each.is_symlink())


def remove(uri: str) -> None:
    """Remove a file if it exists.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    with suppress(FileNotFoundError), translate_storage_errors(uri):
        fs, path = filesystem(uri)
        fs.rm_file(path)


def remove_empty_folders(*uris: str) -> None:
    """Remove folders of the local disk, in the given order; keep a folder that is not empty. Stores have no folders."""
    for uri in uris:
        fs, path = filesystem(uri)
        if is_local(fs):
            with suppress(OSError):  # an empty folder that stays does no harm
                Path(path).rmdir()


def move(uri: str, target_uri: str) -> None:
    """Move a file within one store; missing local folders are created.

    fsspec's own `mv` is not used, because it takes `*`, `?` and `[` in the name of a file for a pattern.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    fs, path = filesystem(uri)
    if not is_local(fs):
        write_file(target_uri, read_file(uri))
        remove(uri)
        return
    with translate_storage_errors(uri):
        target = Path(filesystem(target_uri)[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        Path(path).replace(target)
