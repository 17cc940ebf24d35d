"""Parts of a shard: files with the rows that are finished while a worker still makes the shard.

If the worker is killed, the next attempt copies the rows of the parts and computes only the other rows. The artifact of
the shard replaces the parts. The name and the footer of a part state the key of this artifact.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from clipes.tasks.storage.artifact_store import ArtifactStore, key_metadata
from clipes.tasks.storage.files import remove, write_atomically
from clipes.tasks.storage.layout import ArtifactKey, artifacts_uri, is_part, new_part_uri, parts_prefix
from clipes.tasks.storage.listing import list_prefix
from clipes.tasks.storage.parquet.errors import MISSING
from clipes.tasks.storage.parquet.writing import write_table
from clipes_core.errors import BrokenArtifactError, TransientError

LONGEST_PAUSE_S = 60.0
PARTS_PER_TIME_LIMIT = 20
PART_BYTES = 1 << 26  # limits a worker's memory; larger than what most shards hold

logger = logging.getLogger(__name__)


def pause_between_parts(shard_timeout_s: float) -> float:
    """Return after how many seconds the finished rows are written.

    A killed attempt loses at most the rows that it has finished since: those of a minute, or of a twentieth of the time
    limit if that is less.

    Args:
        shard_timeout_s: time limit of a shard [s].
    """
    return min(LONGEST_PAUSE_S, shard_timeout_s / PARTS_PER_TIME_LIMIT)


class PartWriter:
    """Writes the finished rows of a shard to new parts: one part per pause, and earlier after PART_BYTES bytes.

    Most shards are made within a pause, and need no part.

    Args:
        store: store of the artifact.
        key: key of the artifact.
        schema: schema of its rows.
        pause_s: time between two parts [s].

    Attributes:
        written: number of parts that have been written.
    """

    def __init__(self, store: ArtifactStore, key: ArtifactKey, schema: pa.Schema, pause_s: float) -> None:
        self._store, self._key, self._schema, self._pause_s = store, key, schema, pause_s
        self._rows: list[dict[str, Any]] = []
        self.written = 0
        self._start_pause()

    def add(self, row: dict[str, Any]) -> None:
        """Add a finished row, and write a part if it is time to. If the store does not answer, try again later.

        Raises:
            StorageError: the store refuses access.
        """
        self._rows.append(row)
        self._bytes += sum(len(value) for value in row.values() if isinstance(value, bytes))
        if self._bytes >= PART_BYTES or time.monotonic() - self._since >= self._pause_s:
            self._write()
            self._start_pause()

    def _start_pause(self) -> None:
        self._since, self._bytes = time.monotonic(), 0

    def _write(self) -> None:
        uri, table = new_part_uri(self._store.uri, self._key), pa.Table.from_pylist(self._rows, schema=self._schema)
        try:
            with write_atomically(uri) as temporary:
                write_table(uri, temporary, table, key_metadata(self._key))
        except TransientError as exc:
            key = self._key
            logger.warning("cannot keep the finished rows of %s shard %d yet: %s", key.stage, key.shard, exc)
            return
        self._rows.clear()
        self.written += 1


def find_parts(store: ArtifactStore, key: ArtifactKey) -> list[str]:
    """List the URIs of the parts of an artifact, in any order.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    found = list_prefix(artifacts_uri(store.uri, key.stage, key.stage_key), parts_prefix(key))
    return sorted(file.uri for file in found if is_part(file.uri))


def remove_parts(store: ArtifactStore, key: ArtifactKey) -> None:
    """Remove the parts of an artifact.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    for uri in find_parts(store, key):
        remove(uri)


def without_damaged_parts(store: ArtifactStore, copies: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Read the parts that rows are copied from completely; remove damaged parts with a warning.

    Args:
        store: store of the parts.
        copies: URI of a part or of an earlier artifact -> ids of the photos whose rows are copied from it.

    Returns:
        The copies without those from damaged parts.

    Raises:
        BrokenArtifactError: a part does not exist any more, because another process has just finished the shard.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    intact = dict(copies)
    for uri in filter(is_part, copies):
        try:
            store.check_whole(uri)
        except BrokenArtifactError as broken:
            if broken.reason == MISSING:
                raise
            rows = len(intact.pop(uri))
            logger.warning("%s %s: removing this part of a shard and computing its %d rows", uri, broken.reason, rows)
            store.discard(uri)
    return intact
