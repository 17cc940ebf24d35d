"""Content-addressed artifacts: written atomically, checked before reuse, and read with verified checksums."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa

from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.storage.checksums.weights import check_weights
from clipes.tasks.storage.files import remove, write_atomically
from clipes.tasks.storage.layout import ArtifactKey, artifact_uri
from clipes.tasks.storage.parquet.errors import MISSING
from clipes.tasks.storage.parquet.footer import Footer, notice_replacement, read_footer
from clipes.tasks.storage.parquet.reading import check_whole, read_rows, read_table
from clipes.tasks.storage.parquet.writing import ArtifactWriter
from clipes_core.errors import BrokenArtifactError

logger = logging.getLogger(__name__)


class ArtifactStore:
    """Reads and writes the artifacts under one fsspec URI. A store object can be pickled."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def artifact_uri(self, key: ArtifactKey) -> str:
        """Return the full URI of an artifact, whether or not it exists."""
        return artifact_uri(self.uri, key)

    def is_complete(self, key: ArtifactKey, rows: int | None, whole: bool = False) -> bool:
        """Return whether an artifact exists, is intact and is marked as complete.

        A shard's artifact is marked as complete unless a photo failed for a transient cause. If the artifact is broken,
        or carries the key of a different artifact, a warning is logged, and the artifact counts as missing.

        Args:
            key: key of the artifact.
            rows: number of rows that the artifact must have; None for any number.
            whole: if True, read all bytes of the artifact and of its weights file, and verify the checksums.
                If False, read only the footer of the artifact, and check only the size of its weights file. Only a
                segmenter's artifact has a weights file.

        Raises:
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        uri = self.artifact_uri(key)
        try:
            footer = self._own_footer(key, rows)
            complete = footer.metadata.get("complete") == "true"
            if complete and "weights" in footer.metadata:
                with notice_replacement(uri, footer.content):
                    check_weights(uri, footer.metadata["weights"], whole)
            if complete and whole:
                self.check_whole(uri)
        except BrokenArtifactError as broken:
            if broken.reason != MISSING:
                logger.warning("%s %s: clipes ignores it and rebuilds it", uri, broken.reason)
            return False
        return complete

    def check_whole(self, uri: str) -> None:
        """Read an artifact completely to verify all of its checksums, without keeping it in memory.

        Raises:
            BrokenArtifactError: the artifact is missing, does not open or fails a checksum.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        check_whole(uri)

    def discard(self, uri: str) -> None:
        """Remove an artifact if it exists.

        Raises:
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        remove(uri)

    def footer(self, uri: str) -> Footer:
        """Read the row count and the metadata of an artifact.

        Raises:
            BrokenArtifactError: the artifact is missing or does not open.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        return read_footer(uri)

    def read(self, uri: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read some columns of an artifact (by default, all), and verify the checksums of what is read.

        Raises:
            BrokenArtifactError: the artifact is missing, does not open, fails a checksum or lacks a column.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        return read_table(uri, columns)

    def read_all(self, uris: Iterable[str], columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read some columns of many artifacts, many at the same time; yield them in order. Errors are those of `read`.

        Args:
            uris: URIs of the artifacts.
            columns: names of the columns.
        """
        return map_in_threads(partial(self.read, columns=columns), uris)

    def read_rows(self, uri: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Stream an artifact's rows as plain dicts, a few row groups at a time.

        Raises:
            BrokenArtifactError: the artifact is missing, does not open, fails a checksum or lacks a column.
            ReplacedError: another run has replaced the artifact since its footer was read.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        return read_rows(uri, columns)

    @contextmanager
    def writer(self, key: ArtifactKey, schema: pa.Schema, metadata: Mapping[str, str]) -> Iterator[ArtifactWriter]:
        """Write an artifact atomically.

        Args:
            key: key of the artifact.
            schema: schema of its rows.
            metadata: further entries for the footer, which always holds the key; each name gets the prefix `clipes.`.

        Yields:
            A writer that takes the rows. The artifact appears when the block ends without an error.

        Raises:
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        uri = self.artifact_uri(key)
        with write_atomically(uri) as temporary:
            writer = ArtifactWriter(uri, temporary, schema, {**key_metadata(key), **metadata})
            try:
                yield writer
                writer.close()
            except BaseException:
                writer.abandon()
                raise

    def _own_footer(self, key: ArtifactKey, rows: int | None) -> Footer:
        uri = self.artifact_uri(key)
        footer = self.footer(uri)
        if not key_metadata(key).items() <= footer.metadata.items():
            raise BrokenArtifactError(uri, "carries the key of a different artifact")
        if rows is not None and footer.rows != rows:
            raise BrokenArtifactError(uri, f"has {footer.rows} rows, expected {rows}")
        return footer


def key_metadata(key: ArtifactKey) -> dict[str, str]:
    """Return the entries of a footer that state the key of an artifact."""
    return {"stage": key.stage, "stage_key": key.stage_key, "content_key": key.content_key}
