"""A store as the process sees it that plans a run: each folder of artifacts is listed only once."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

import pyarrow as pa
from typing_extensions import override

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import (
    ArtifactKey,
    artifacts_uri,
    is_part,
    parts_prefix,
    shard_of_name,
    without_part_id,
)
from clipes.tasks.storage.listing import FileFacts, find_file, list_prefix
from clipes.tasks.storage.parquet.footer import Footer, read_footer
from clipes.tasks.storage.parquet.reading import read_table
from clipes_core.config.execution import MOST_SHARDS
from clipes_core.errors import ReplacedError

EVERY_SHARD = range(MOST_SHARDS)
RECENT_FOOTERS = 64  # more than the number of shards that are looked up at the same time

Folder = tuple[str, str]  # stage and stage key
Files = dict[int, dict[str, FileFacts]]  # shard -> name of an artifact -> its metadata


class ListedStore(ArtifactStore):
    """An artifact store that lists each folder once, and that knows the artifacts of its own process from then on.

    Artifacts that other runs make later are not noticed, except with `find_new`. The store also keeps the footers that
    were read last, because several questions about an artifact follow each other. It forgets a footer when this run
    writes or discards the artifact, and when it finds that another run has replaced the artifact. All methods are
    thread-safe. A worker that receives the store gets a plain `ArtifactStore`.

    Every method that accesses the store raises StorageError if the store refuses access, and TransientError if the
    store does not answer.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._listing, self._listed = threading.Lock(), dict[Folder, Files]()
        self._parts: dict[str, list[str]] = {}  # URI of a part without its own id -> URIs
        self._reading, self._footers = threading.Lock(), OrderedDict[str, Footer]()

    def __reduce__(self) -> tuple[type[ArtifactStore], tuple[str]]:
        return ArtifactStore, (self.uri,)

    def shard_artifacts(self, stage: str, stage_key: str, shard: int) -> list[str]:
        """Return the URIs of all artifacts of a shard, newest first. Files with other names are left out.

        Artifacts with the same modification time are sorted by name, in descending order. Such artifacts occur because
        S3 reports times in whole seconds.
        """
        with self._listing:
            found = list(self._files(stage, stage_key).get(shard, {}).values())
        return [file.uri for file in sorted(found, key=lambda file: (file.modified or 0, file.name), reverse=True)]

    def listed_parts(self, key: ArtifactKey) -> list[str]:
        """Return the URIs of the parts of an artifact that were there when the folder was listed; see `shard_parts`."""
        with self._listing:
            self._files(key.stage, key.stage_key)
            return list(self._parts.get(artifacts_uri(self.uri, key.stage, key.stage_key, parts_prefix(key)), ()))

    def stored_shards(self, stage: str, stage_key: str, among: range = EVERY_SHARD) -> set[int]:
        """Return the numbers of the shards `among` some that have an artifact, which may be damaged or incomplete."""
        with self._listing:
            files = self._files(stage, stage_key)
            fewer = files if len(files) < len(among) else among
            return {shard for shard in fewer if shard in among and files.get(shard)}

    @override
    def is_complete(self, key: ArtifactKey, rows: int | None, whole: bool = False) -> bool:
        if not self._lists(key):
            return False
        try:
            return super().is_complete(key, rows, whole)
        except ReplacedError:
            self._forget(self.artifact_uri(key))
            return super().is_complete(key, rows, whole)

    @override
    def read(self, uri: str, columns: Sequence[str] | None = None) -> pa.Table:
        try:
            return read_table(uri, columns, self.footer(uri))
        except ReplacedError:
            self._forget(uri)
            return read_table(uri, columns, self.footer(uri))

    def find_new(self, key: ArtifactKey) -> bool:
        """Ask the store whether it has an artifact by now that it did not list; return False if it was listed."""
        if self._lists(key) or (found := find_file(self.artifact_uri(key))) is None:
            return False
        self._add(found)
        return True

    def add(self, uri: str) -> None:
        """Note that this run has written an artifact."""
        self._add(FileFacts(uri, size_bytes=0, modified=time.time(), fingerprint=""))

    @override
    def discard(self, uri: str) -> None:
        super().discard(uri)
        folder, shard, name = _place(uri)
        with self._listing:
            self._listed.get(folder, {}).get(shard, {}).pop(name, None)
        self._forget(uri)

    @override
    def footer(self, uri: str) -> Footer:
        with self._reading:
            footer = self._footers.get(uri)
        if footer is None:
            footer = read_footer(uri, self._listed_size(uri))
            with self._reading:
                self._footers[uri] = footer
                while len(self._footers) > RECENT_FOOTERS:
                    self._footers.popitem(last=False)
        return footer

    def _lists(self, key: ArtifactKey) -> bool:
        _, shard, name = _place(self.artifact_uri(key))
        with self._listing:
            return name in self._files(key.stage, key.stage_key).get(shard, {})

    def _listed_size(self, uri: str) -> int | None:
        """Return the size of an artifact as it was listed [bytes]; None if it is unknown."""
        folder, shard, name = _place(uri)
        with self._listing:
            listed = self._listed.get(folder, {}).get(shard, {}).get(name)
        return listed.size_bytes or None if listed else None

    def _add(self, file: FileFacts) -> None:
        folder, shard, name = _place(file.uri)
        with self._listing:
            if folder in self._listed:
                self._listed[folder].setdefault(shard, {})[name] = file
        self._forget(file.uri)

    def _forget(self, uri: str) -> None:
        with self._reading:
            self._footers.pop(uri, None)

    def _files(self, stage: str, stage_key: str) -> Files:
        """Return the artifacts in a folder, which is listed the first time. The caller holds the lock of listings."""
        if (stage, stage_key) not in self._listed:
            files: Files = {}
            for file in list_prefix(artifacts_uri(self.uri, stage, stage_key), ""):
                if (shard := shard_of_name(file.name)) is not None:
                    files.setdefault(shard, {})[file.name] = file
                elif is_part(file.uri):
                    self._parts.setdefault(without_part_id(file.uri), []).append(file.uri)
            self._listed[stage, stage_key] = files
        return self._listed[stage, stage_key]


def _place(uri: str) -> tuple[Folder, int, str]:
    """Return the folder, the shard and the name of an artifact; the shard is -1 for any other file."""
    stage, stage_key, name = uri.split("/")[-3:]
    shard = shard_of_name(name)
    return (stage, stage_key), -1 if shard is None else shard, name
