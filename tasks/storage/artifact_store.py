"""Where artifacts and run files live: the only module that knows their URIs.

<store>/artifacts/<stage>/<stage_key>/<shard>-<content_key>.parquet
beside a segmenter's: <shard>-<content_key>.safetensors and <shard>-<content_key>.checkpoints/<step>.pt
<store>/runs/<name>/{run.json, manifest.parquet, rejects.parquet, status.parquet, metrics.json, report.html}
"""

import hashlib
import json
import logging
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.storage.files import move, read_file, remove, write_atomically, write_file
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors, translate_write_errors
from clipes.tasks.storage.listing import FileFacts, find_file, list_below, list_names, list_prefix
from clipes.tasks.storage.parquet import MISSING, PREFIX, ROWS_AT_ONCE, ArtifactWriter, Footer, check_columns, opened
from clipes_core.errors import ArtifactError, BrokenArtifactError

MIB = 1 << 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtifactKey:
    """Which artifact: the name of the file follows from it."""

    stage: str
    stage_key: str
    shard: int
    content_key: str


def weights_uri(artifact_uri: str) -> str:
    """Of the weights beside a segmenter's artifact."""
    return f"{artifact_uri.removesuffix('.parquet')}.safetensors"


def checkpoints_uri(artifact_uri: str) -> str:
    """Of the folder with the checkpoints of a segmenter's training."""
    return f"{artifact_uri.removesuffix('.parquet')}.checkpoints"


class ArtifactStore:
    """Reads and writes artifacts and run files under one fsspec URI; picklable."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def artifact_uri(self, key: ArtifactKey) -> str:
        """Full URI of an artifact, there or not."""
        return self._under("artifacts", key.stage, key.stage_key, f"{key.shard:03d}-{key.content_key}.parquet")

    def shard_artifacts(self, stage: str, stage_key: str, shard: int) -> list[str]:
        """URIs of all artifacts of a shard, newest first, as far as the store tells: S3 does to the second.

        Raises:
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        own = list_prefix(self._under("artifacts", stage, stage_key), f"{shard:03d}-")
        return [file.uri for file in sorted(own, key=lambda file: (file.modified or 0, file.name), reverse=True)]

    def is_complete(self, key: ArtifactKey, rows: int | None, whole: bool = False) -> bool:
        """Whether the artifact is there and has a result for all rows; a broken or foreign one is warned of.

        Args:
            key: of the artifact.
            rows: how many it must have, None for any.
            whole: read all of it; else the cheap check of a resume: it opens, and its footer says so. The weights that
                it states are looked at, too.
        """
        uri = self.artifact_uri(key)
        try:
            footer = self._own_footer(key, rows)
            complete = footer.metadata.get("complete") == "true"
            if complete and "weights" in footer.metadata:
                self._check_weights(uri, footer.metadata["weights"], whole)
            if complete and whole:
                self.check_pages(uri)
        except BrokenArtifactError as broken:
            if broken.reason != MISSING:
                logger.warning("%s %s: it does not count and is made again", uri, broken.reason)
            return False
        return complete

    def weights_statement(self, uri: str) -> str:
        """What the footer of a segmenter's artifact says of the weights beside it: their size and SHA-256.

        Raises:
            FileNotFoundError: there are none.
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        size, digest = 0, hashlib.sha256()
        with translate_storage_errors(weights_uri(uri)):
            fs, path = filesystem(weights_uri(uri))
            with fs.open(path, "rb") as file:
                while part := file.read(MIB):
                    size += len(part)
                    digest.update(part)
        return f"{size} {digest.hexdigest()}"

    def check_pages(self, uri: str) -> None:
        """Read all of an artifact, page by page, and keep nothing of it.

        Raises:
            BrokenArtifactError: it is missing, does not open or fails a checksum.
        """
        with opened(uri) as parquet:
            for _ in parquet.iter_batches(batch_size=ROWS_AT_ONCE, use_threads=False):
                pass

    def discard(self, uri: str) -> None:
        """Remove an artifact; one that is not there is passed over."""
        remove(uri)

    def footer(self, uri: str) -> Footer:
        """Row count and metadata of an artifact.

        Raises:
            BrokenArtifactError: it is missing or does not open.
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        with opened(uri) as parquet:
            pairs = (parquet.metadata.metadata or {}).items()
            metadata = {
                name.decode().removeprefix(PREFIX): value.decode()
                for name, value in pairs
                if name.decode().startswith(PREFIX)
            }
            return Footer(parquet.metadata.num_rows, metadata)

    def read(self, uri: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns (default all) of an artifact or run table, page checksums verified.

        Raises:
            BrokenArtifactError: it is missing, does not open, fails a checksum or lacks a column.
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        with opened(uri) as parquet:
            check_columns(uri, parquet, columns)
            return parquet.read(columns=columns, use_threads=False)

    def read_rows(self, uri: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Stream an artifact's rows as plain dicts, a row group at a time.

        Raises:
            BrokenArtifactError: it is missing, does not open, fails a checksum or lacks a column.
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        with opened(uri) as parquet:
            check_columns(uri, parquet, columns)
            for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns, use_threads=False):
                yield from batch.to_pylist()

    @contextmanager
    def writer(self, key: ArtifactKey, schema: pa.Schema, metadata: Mapping[str, str]) -> Iterator[ArtifactWriter]:
        """Write an artifact whole or not at all.

        Args:
            key: the artifact.
            schema: of its rows.
            metadata: goes into the footer beside the key, under `clipes.`.

        Yields:
            A writer to hand rows to. The artifact appears when the block ends without an error.

        Raises:
            StorageError: the store cannot be written.
            TransientError: it does not answer.
        """
        stated = {"stage": key.stage, "stage_key": key.stage_key, "content_key": key.content_key, **metadata}
        uri = self.artifact_uri(key)
        with write_atomically(uri) as temporary:
            writer = ArtifactWriter(uri, temporary, schema, stated)
            try:
                yield writer
                writer.close()
            except BaseException:
                writer.abandon()
                raise

    def run_uri(self, name: str, *parts: str) -> str:
        """URI of a run's folder or of a file in it."""
        return self._under("runs", name, *parts)

    def write_run_json(self, name: str, file: str, value: Any) -> None:
        """Write a JSON file of a run, whole or not at all."""
        self.write_run_text(name, file, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def read_run_json(self, name: str, file: str) -> Any | None:
        """Read a JSON file of a run; None where there is none.

        Raises:
            ArtifactError: it is not JSON.
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        uri = self.run_uri(name, file)
        try:
            data = read_file(uri)
        except FileNotFoundError:
            return None
        try:
            return json.loads(data)
        except ValueError as exc:
            raise ArtifactError(f"{uri} is not JSON ({exc}): delete it and run again") from exc

    def write_run_table(self, name: str, file: str, table: pa.Table) -> None:
        """Write a Parquet file of a run, whole or not at all."""
        uri = self.run_uri(name, file)
        with write_atomically(uri) as temporary, translate_write_errors(uri):
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)

    def write_run_text(self, name: str, file: str, text: str) -> None:
        """Write a text file of a run in UTF-8, whole or not at all."""
        self.write_run_bytes(name, file, text.encode())

    def write_run_bytes(self, name: str, file: str, data: bytes) -> None:
        """Write any other file of a run, whole or not at all."""
        write_file(self.run_uri(name, file), data)

    def run_file(self, name: str, file: str) -> FileFacts | None:
        """A file of a run, None where there is none."""
        return find_file(self.run_uri(name, file))

    def run_names(self) -> list[str]:
        """Names of the runs in the store."""
        return list_names(self._under("runs")) or []

    def files(self) -> list[FileFacts]:
        """All files of artifacts and runs, half-written ones too.

        Raises:
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        return [*list_below(self._under("artifacts")), *list_below(self._under("runs"))]

    def remove_run_files(self, name: str, files: Sequence[str]) -> None:
        """Remove files of a run; those that are not there are passed over."""
        for file in files:
            remove(self.run_uri(name, file))

    def archive_run(self, name: str, folder: str, files: Sequence[str]) -> None:
        """Move files of a run to runs/<name>/history/<folder>; those that are not there are passed over."""
        for file in files:
            uri = self.run_uri(name, file)
            if find_file(uri) is not None:
                move(uri, self.run_uri(name, "history", folder, file))

    def _check_weights(self, uri: str, stated: str, whole: bool) -> None:
        weights = weights_uri(uri)
        file = find_file(weights)
        if file is None or f"{file.size_bytes}" != stated.partition(" ")[0]:
            raise BrokenArtifactError(uri, "has no whole weights beside it")
        if whole and self.weights_statement(uri) != stated:
            raise BrokenArtifactError(uri, "has damaged weights beside it")

    def _own_footer(self, key: ArtifactKey, rows: int | None) -> Footer:
        uri = self.artifact_uri(key)
        footer = self.footer(uri)
        own = {"stage": key.stage, "stage_key": key.stage_key, "content_key": key.content_key}
        if not own.items() <= footer.metadata.items():
            raise BrokenArtifactError(uri, "says of itself that it is another artifact")
        if rows is not None and footer.rows != rows:
            raise BrokenArtifactError(uri, f"has {footer.rows} rows, not {rows}")
        return footer

    def _under(self, *parts: str) -> str:
        return posixpath.join(self.uri.rstrip("/"), *parts)
