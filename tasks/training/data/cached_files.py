"""Files of any store, or parts of them, through a cache on a local disk: fetched once, then read from there."""

import fcntl
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

from clipes.tasks.storage.files import read_file
from clipes.tasks.storage.filesystem import filesystem, is_local, translate_storage_errors
from clipes.tasks.storage.retry import ONE_MINUTE
from clipes_core.errors import StorageError

logger = logging.getLogger(__name__)

GB = 10**9
LOCKED_S = 10.0  # the cache's index is held for milliseconds; longer, and its disk is not fit for it
REST_S = 60.0  # until a cache that failed is tried again
TURNS = 256

Source = Literal["local", "hit", "fetched"]
Span = tuple[int, int]
Result = TypeVar("Result")


@dataclass(frozen=True)
class FileRead:
    """How a file, or a part of it, came.

    Attributes:
        source: from a disk of this machine, out of the cache, or from its store.
        size_bytes: that were read.
        seconds: waited for it.
    """

    source: Source
    size_bytes: int
    seconds: float


class CachedFiles:
    """Reads files, or parts of them; those of other machines are kept in a folder, the ones used last, up to a size.

    Any number of processes may share the folder; one file is fetched by one of them at a time. A folder that cannot
    be used (full, read-only) is warned of once and does without; after a minute it is tried again. Picklable.

    Args:
        folder: on a local disk, for nobody but this user; None: beside what other programs keep for the user.
        size_gb: bound of what is kept [10^9 bytes]; 0 keeps nothing.
    """

    def __init__(self, folder: str | Path | None = None, size_gb: float = 10.0) -> None:
        self.folder, self.size_gb = Path(folder or _users_folder()).absolute(), size_gb
        self._rests_until = 0.0 if size_gb else math.inf
        self._said: set[str] = set()

    def __reduce__(self) -> tuple[type["CachedFiles"], tuple[Path, float]]:
        return type(self), (self.folder, self.size_gb)

    def read(self, uri: str, version: str, span: Span | None = None) -> tuple[bytes, FileRead]:
        """Read a file, or some bytes of it.

        Args:
            uri: path or URI.
            version: changes when the file's content does.
            span: the bytes, from and to; None: all of them.

        Raises:
            FileNotFoundError: there is no such file.
            StorageError: its store refuses.
            TransientError: it did not answer in any attempt.
        """
        began = time.monotonic()
        source: Source = "local"
        with translate_storage_errors(uri):
            fs, _ = filesystem(uri)
            if is_local(fs):
                data = read_file(uri, *(span or ()))
            else:
                data, source = self._kept_or_fetched(uri, _key(uri, version, span), span)
        return data, FileRead(source, len(data), time.monotonic() - began)

    def forget(self, uri: str, version: str, span: Span | None = None) -> bool:
        """Drop what is kept of what `read` was given the same for; whether there was something."""
        fs, _ = filesystem(uri)
        return not is_local(fs) and bool(self._tried(lambda: self._cache.delete(_key(uri, version, span))))

    def kept_bytes(self) -> int:
        """Size of what is kept, and of its index."""
        return self._cache.volume()

    def _kept_or_fetched(self, uri: str, key: str, span: Span | None) -> tuple[bytes, Source]:
        with ExitStack() as turn:
            data = self._tried(lambda: self._kept(key))
            if data is None:
                self._tried(lambda: turn.enter_context(self._turn(key)))
                data = self._tried(lambda: self._kept(key))  # whoever had the turn may have fetched it
            if data is not None:
                return data, "hit"
            fetched = ONE_MINUTE.call(read_file, uri, *(span or ()))  # then whoever runs the training decides
            self._tried(lambda: self._keep(key, fetched))
            return fetched, "fetched"

    @cached_property
    def _cache(self) -> Cache:
        _make_private(self.folder)
        settings = {"size_limit": int(self.size_gb * GB), "eviction_policy": "least-recently-used", "cull_limit": 1}
        return Cache(str(self.folder), timeout=LOCKED_S, disk=_RawDisk, **settings)

    def _kept(self, key: str) -> bytes | None:
        # By a handle: the index is locked while it is made, and it stays readable when another process evicts the file.
        file = self._cache.get(key, read=True)
        if file is None:
            return None
        with file:
            return file.read()

    def _keep(self, key: str, data: bytes) -> None:
        if len(data) > self._cache.size_limit:
            size, bound = len(data) / GB, self.size_gb
            self._warn("a file of %.3g GB is larger than the cache of %g GB: it is fetched each time", size, bound)
            return
        self._cache.set(key, data)
        if self._cache.volume() > self._cache.size_limit:
            self._cache.cull()

    @contextmanager
    def _turn(self, key: str) -> Iterator[None]:
        """Wait until no other process fetches this file; the system ends the turn of one that dies."""
        turns = self.folder / "turns"
        turns.mkdir(exist_ok=True)
        with (turns / str(zlib.crc32(key.encode()) % TURNS)).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _tried(self, act: Callable[[], Result]) -> Result | None:
        """What the cache gives; None while it rests, or where it fails."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            return act()
        except (OSError, sqlite3.Error, Timeout, StorageError) as exc:
            self._rests_until = time.monotonic() + REST_S
            self._warn("the cache %s cannot be used (%s): files are fetched each time meanwhile", self.folder, exc)
            return None

    def _warn(self, message: str, *values: object) -> None:
        if message not in self._said:
            logger.warning(message, *values)
            self._said.add(message)


class _RawDisk(Disk):
    """Bytes in files, as they are. Nothing is unpickled, whatever the index says; a file half written is removed."""

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


def _key(uri: str, version: str, span: Span | None) -> str:
    return f"{uri}\n{version}" if span is None else f"{uri}\n{version}\n{span[0]}-{span[1]}"


def _users_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clipes" / "files"


def _make_private(folder: Path) -> None:
    """Make a folder that only this user can enter; photos may be nobody else's business.

    Raises:
        StorageError: it is, or was, open to the writing of others.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.stat()
    if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise StorageError(f"{folder}: others may write there; name a folder that is yours alone")
    folder.chmod(0o700)
