"""A cache on the local disk for files, or parts of files, from other hosts."""

import fcntl
import hashlib
import logging
import math
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

from diskcache import UNKNOWN, Cache, Disk, Timeout
from diskcache.core import MODE_BINARY

from clipes.tasks.inputs.sources.table import read_listed, retries
from clipes.tasks.storage.files import read_file
from clipes.tasks.storage.filesystem import filesystem, is_local, translate_storage_errors
from clipes.tasks.storage.retry_policy import ONE_MINUTE
from clipes_core.errors import StorageError

logger = logging.getLogger(__name__)

GB = 10**9
INDEX_TIMEOUT_S = 10.0  # longest wait for the lock of the cache's index, which is normally held for milliseconds
PAUSE_S = 60.0  # how long the cache is bypassed after a failure
LOCK_FILES = 256
DIGEST = 32  # bytes of the SHA-256 in front of each cached file

Source = Literal["local", "hit", "fetched"]
Span = tuple[int, int]
Result = TypeVar("Result")


@dataclass(frozen=True)
class FileRead:
    """One read of a file, or of a part of a file.

    Attributes:
        source: origin of the bytes. local: a file on this host; hit: the cache; fetched: the remote store of the file.
        size_bytes: number of bytes read.
        seconds: duration of the read [s].
    """

    source: Source
    size_bytes: int
    seconds: float


class CachedFiles:
    """Reads files or parts of files. Data from other hosts is cached in a folder on the local disk.

    A full cache evicts its least recently used entries. A damaged entry is fetched again. Several processes may share
    the folder: a file is fetched by one process at a time. If the folder cannot be used, for example because the disk
    is full or read-only, the instance reads from the stores directly, and tries the folder again after a minute. A
    warning is logged only the first time. Instances can be pickled.

    Args:
        folder: folder of the cache. It must be on a local disk, and writable only by this user. None:
            clipes/files in $XDG_CACHE_HOME, or in ~/.cache if this variable is not set.
        size_gb: maximum size of the cache [10^9 bytes]; 0 turns the cache off.
    """

    def __init__(self, folder: str | Path | None = None, size_gb: float = 10.0) -> None:
        self.folder, self.size_gb = Path(folder or _users_folder()).absolute(), size_gb
        self._paused_until = 0.0 if size_gb else math.inf
        self._warned: set[str] = set()

    def __reduce__(self) -> tuple[type["CachedFiles"], tuple[Path, float]]:
        return type(self), (self.folder, self.size_gb)

    def read(self, uri: str, version: str, span: Span | None = None) -> tuple[bytes, FileRead]:
        """Read a file, or a range of bytes of a file.

        Args:
            uri: path or URI of the file.
            version: text that changes whenever the content of the file changes. If the whole file is read, this is its
                fingerprint when it was listed, as for `read_listed`.
            span: range of bytes [start, end) to read; None: the whole file.

        Raises:
            FileNotFoundError: the file does not exist.
            PhotoError: CHANGED; the file has changed since it was listed.
            StorageError: the store of the file refuses access.
            TransientError: the store did not answer in any attempt.
        """
        began = time.monotonic()
        source: Source = "local"
        with translate_storage_errors(uri):
            fs, _ = filesystem(uri)
            if is_local(fs):
                data = _read(uri, version, span)
            else:
                data, source = self._cached_or_fetched(uri, version, span)
        return data, FileRead(source, len(data), time.monotonic() - began)

    def evict(self, uri: str, version: str, span: Span | None = None) -> bool:
        """Remove from the cache what `read` stored for the same arguments; return whether the cache contained it."""
        fs, _ = filesystem(uri)
        return not is_local(fs) and bool(self._try(lambda: self._cache.delete(_key(uri, version, span))))

    def _cached_or_fetched(self, uri: str, version: str, span: Span | None) -> tuple[bytes, Source]:
        key = _key(uri, version, span)
        with ExitStack() as lock:
            data = self._try(lambda: self._cached(key))
            if data is None:
                self._try(lambda: lock.enter_context(self._locked(key)))
                data = self._try(lambda: self._cached(key))  # another process may have fetched it meanwhile
            if data is not None:
                return data, "hit"
            fetched = _fetch(uri, version, span)  # not in _try: the caller must see these errors
            self._try(lambda: self._insert(key, fetched))
            return fetched, "fetched"

    @cached_property
    def _cache(self) -> Cache:
        _make_private(self.folder)
        settings = {"size_limit": int(self.size_gb * GB), "eviction_policy": "least-recently-used", "cull_limit": 1}
        return Cache(str(self.folder), timeout=INDEX_TIMEOUT_S, disk=_RawDisk, **settings)

    def _cached(self, key: str) -> bytes | None:
        # diskcache opens the file while it holds the index's lock, so the file stays readable even if it is evicted.
        file = self._cache.get(key, read=True)
        if file is None:
            return None
        with file:
            digest, data = file.read(DIGEST), file.read()
        return data if digest == _digest(data) else None  # a damaged file is fetched again

    def _insert(self, key: str, data: bytes) -> None:
        if len(data) > self._cache.size_limit:
            size, limit = len(data) / GB, self.size_gb
            self._warn(
                "a file of %.3g GB exceeds the cache of %g GB and is fetched each time: raise execution.cache_gb",
                size,
                limit,
            )
            return
        self._cache.set(key, _digest(data) + data)
        if self._cache.volume() > self._cache.size_limit:
            self._cache.cull()

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Prevent other processes from fetching the same file during the block. If this process dies, the lock ends."""
        locks = self.folder / "locks"
        locks.mkdir(exist_ok=True)
        with (locks / str(zlib.crc32(key.encode()) % LOCK_FILES)).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _try(self, act: Callable[[], Result]) -> Result | None:
        """Call `act`, which uses the cache, and return its result. Return None if the call fails.

        For `PAUSE_S` seconds after a failure, return None without calling `act`.
        """
        if time.monotonic() < self._paused_until:
            return None
        try:
            return act()
        except (OSError, sqlite3.Error, Timeout, StorageError) as exc:
            self._paused_until = time.monotonic() + PAUSE_S
            self._warn("the cache %s cannot be used (%s): files are fetched each time until it works", self.folder, exc)
            return None

    def _warn(self, message: str, *values: object) -> None:
        if message not in self._warned:
            logger.warning(message, *values)
            self._warned.add(message)


class _RawDisk(Disk):
    """Stores each value of the cache as unchanged bytes in a file of its own.

    Values are never unpickled, even if the index marks a value as a pickle. A file that could not be written completely
    is removed.
    """

    def store(self, value: bytes, _read: bool, key: Any = UNKNOWN) -> tuple[int, int, str, None]:
        name, path = self.filename(key, value)
        try:
            self._write(path, [value], "xb")
        except OSError:
            Path(path).unlink(missing_ok=True)
            raise
        return len(value), MODE_BINARY, name, None

    def fetch(self, _mode: int, filename: str, _value: Any, _read: bool) -> BinaryIO:
        return (Path(self._directory) / filename).open("rb")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _fetch(uri: str, version: str, span: Span | None) -> bytes:
    if span is None and retries(uri):
        return _read(uri, version, span)
    return ONE_MINUTE.call(_read, uri, version, span)


def _read(uri: str, version: str, span: Span | None) -> bytes:
    return read_listed(uri, version) if span is None else read_file(uri, *span)


def _key(uri: str, version: str, span: Span | None) -> str:
    return f"{uri}\n{version}" if span is None else f"{uri}\n{version}\n{span[0]}-{span[1]}"


def _users_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clipes" / "files"


def _make_private(folder: Path) -> None:
    """Create a folder if necessary, and let only this user access it, because photos may be confidential.

    Raises:
        StorageError: the folder belongs to another user, or other users can write to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.stat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise StorageError(f"other users can write to {folder}: choose a folder that only you can write to")
    folder.chmod(0o700)
