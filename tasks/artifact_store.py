"""Where artifacts and run files live: the only module that knows their URIs.

<store>/artifacts/<stage>/<stage_key>/<shard>-<content_key>.parquet
<store>/runs/<name>/{run.json, manifest.parquet, rejects.parquet, status.parquet, metrics.json, report.html}
"""

import json
import logging
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clipes_core.errors import ArtifactError, BrokenArtifactError
from tasks.filesystems import appears_whole, explained, filesystem, move, remove

ROWS_AT_ONCE = 64  # a row group; bounds a worker's memory however large its shard is
PREFIX = "clipes."
MISSING = "is missing"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtifactKey:
    """Which artifact: the name of the file follows from it."""

    stage: str
    stage_key: str
    shard: int
    content_key: str


class ArtifactStore:
    """Reads and writes artifacts and run files under one fsspec URI; picklable."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @property
    def folders(self) -> tuple[str, str]:
        """URIs of the folders of artifacts and of runs."""
        return self._under("artifacts"), self._under("runs")

    def artifact_uri(self, key: ArtifactKey) -> str:
        """Full URI of an artifact, there or not."""
        return self._under("artifacts", key.stage, key.stage_key, f"{key.shard:03d}-{key.content_key}.parquet")

    def shard_artifacts(self, stage: str, stage_key: str, shard: int) -> list[str]:
        """URIs of all artifacts of a shard, newest first.

        Raises:
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        entries = _listed(self._under("artifacts", stage, stage_key))
        found = sorted(((modified(entry) or 0, _name(entry)) for entry in entries), reverse=True)
        return [
            self._under("artifacts", stage, stage_key, name) for _, name in found if name.startswith(f"{shard:03d}-")
        ]

    def is_complete(self, key: ArtifactKey, rows: int, whole: bool = False) -> bool:
        """Whether the artifact is there and has a result for all rows; a broken or foreign one is warned of.

        Args:
            key: of the artifact.
            rows: how many it must have.
            whole: read all of it; else the cheap check of a resume: it opens, and its footer says so.
        """
        uri = self.artifact_uri(key)
        try:
            complete = self._own_footer(key, rows).metadata.get("complete") == "true"
            if complete and whole:
                self.check_pages(uri)
        except BrokenArtifactError as broken:
            if broken.reason != MISSING:
                logger.warning("%s %s: it does not count and is made again", uri, broken.reason)
            return False
        return complete

    def check_pages(self, uri: str) -> None:
        """Read all of an artifact, page by page, and keep nothing of it.

        Raises:
            BrokenArtifactError: it is missing, does not open or fails a checksum.
        """
        with _opened(uri) as parquet:
            for _ in parquet.iter_batches(batch_size=ROWS_AT_ONCE):
                pass

    def discard(self, uri: str) -> None:
        """Remove an artifact; one that is not there is passed over."""
        remove(uri)

    def footer(self, uri: str) -> "Footer":
        """Row count and metadata of an artifact.

        Raises:
            BrokenArtifactError: it is missing or does not open.
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        with _opened(uri) as parquet:
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
        with _opened(uri) as parquet:
            _check_columns(uri, parquet, columns)
            return parquet.read(columns=columns)

    def read_rows(self, uri: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Stream an artifact's rows as plain dicts, a row group at a time.

        Raises:
            BrokenArtifactError: it is missing, does not open, fails a checksum or lacks a column.
            StorageError: the store refuses.
            TransientError: it does not answer.
        """
        with _opened(uri) as parquet:
            _check_columns(uri, parquet, columns)
            for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
                yield from batch.to_pylist()

    @contextmanager
    def writer(self, key: ArtifactKey, schema: pa.Schema, metadata: Mapping[str, str]) -> Iterator["ArtifactWriter"]:
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
        with appears_whole(uri) as temporary:
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
            with explained(uri):
                fs, path = filesystem(uri)
                data = fs.cat_file(path)
        except FileNotFoundError:
            return None
        try:
            return json.loads(data)
        except ValueError as exc:
            raise ArtifactError(f"{uri} is not JSON ({exc}): delete it and run again") from exc

    def write_run_table(self, name: str, file: str, table: pa.Table) -> None:
        """Write a Parquet file of a run, whole or not at all."""
        with self._run_file(name, file) as temporary:
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)

    def write_run_text(self, name: str, file: str, text: str) -> None:
        """Write a text file of a run in UTF-8, whole or not at all."""
        self.write_run_bytes(name, file, text.encode())

    def write_run_bytes(self, name: str, file: str, data: bytes) -> None:
        """Write any other file of a run, whole or not at all."""
        with self._run_file(name, file) as temporary:
            temporary.write_bytes(data)

    def has_run_file(self, name: str, file: str) -> bool:
        """Whether a run has this file."""
        return _is_there(self.run_uri(name, file))

    def run_names(self) -> list[str]:
        """Names of the runs in the store."""
        return sorted(map(_name, _listed(self._under("runs"))))

    def remove_run_files(self, name: str, files: Sequence[str]) -> None:
        """Remove files of a run; those that are not there are passed over."""
        for file in files:
            remove(self.run_uri(name, file))

    def archive_run(self, name: str, folder: str, files: Sequence[str]) -> None:
        """Move files of a run to runs/<name>/history/<folder>; those that are not there are passed over."""
        for file in files:
            uri = self.run_uri(name, file)
            if _is_there(uri):
                move(uri, self.run_uri(name, "history", folder, file))

    @contextmanager
    def _run_file(self, name: str, file: str) -> Iterator[Path]:
        uri = self.run_uri(name, file)
        with explained(uri), appears_whole(uri) as temporary:
            yield temporary

    def _own_footer(self, key: ArtifactKey, rows: int) -> "Footer":
        uri = self.artifact_uri(key)
        footer = self.footer(uri)
        own = {"stage": key.stage, "stage_key": key.stage_key, "content_key": key.content_key}
        if not own.items() <= footer.metadata.items():
            raise BrokenArtifactError(uri, "says of itself that it is another artifact")
        if footer.rows != rows:
            raise BrokenArtifactError(uri, f"has {footer.rows} rows, not {rows}")
        return footer

    def _under(self, *parts: str) -> str:
        return posixpath.join(self.uri.rstrip("/"), *parts)


@dataclass(frozen=True)
class Footer:
    """What the end of an artifact says of it.

    Attributes:
        rows: how many.
        metadata: the `clipes.` entries, prefix removed.
    """

    rows: int
    metadata: dict[str, str]


class ArtifactWriter:
    """Collects rows and writes them a row group at a time.

    Args:
        uri: what the artifact will be.
        path: where it is written meanwhile.
        schema: of the rows.
        metadata: for the footer, under `clipes.`.
    """

    def __init__(self, uri: str, path: Path, schema: pa.Schema, metadata: Mapping[str, str]) -> None:
        self._uri, self._schema = uri, schema
        self._rows: list[dict[str, Any]] = []
        self.complete = True
        named = schema.with_metadata({f"{PREFIX}{name}": value for name, value in metadata.items()})
        with explained(uri):
            self._parquet = pq.ParquetWriter(path, named, compression="zstd", write_page_checksum=True)

    def write(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) == ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write what has been collected, and the footer."""
        self._flush()
        with explained(self._uri):
            self._parquet.add_key_value_metadata({f"{PREFIX}complete": str(self.complete).lower()})
            self._parquet.close()

    def abandon(self) -> None:
        """Let go of a file that is thrown away: on a full disk its footer has no place either."""
        with suppress(OSError):
            self._parquet.close()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self._schema)
            with explained(self._uri):
                self._parquet.write_table(table)
            self._rows.clear()


@contextmanager
def _opened(uri: str) -> Iterator[pq.ParquetFile]:
    try:
        with explained(uri):
            fs, path = filesystem(uri)
            with _parsed(uri), fs.open(path, "rb") as file:
                yield pq.ParquetFile(file, page_checksum_verification=True)
    except FileNotFoundError as exc:
        raise BrokenArtifactError(uri, MISSING, "run again") from exc


@contextmanager
def _parsed(uri: str) -> Iterator[None]:
    """Errors of the content; those of the disk or the network go through."""
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as exc:
        raise BrokenArtifactError(uri, f"cannot be read ({exc})") from exc
    except OSError as exc:
        if type(exc) is not OSError or exc.errno is not None:
            raise
        raise BrokenArtifactError(uri, f"cannot be read ({exc})") from exc  # pyarrow's own, as for a checksum


def _check_columns(uri: str, parquet: pq.ParquetFile, columns: Sequence[str] | None) -> None:
    missing = sorted(set(columns or ()) - set(parquet.schema_arrow.names))
    if missing:
        raise BrokenArtifactError(uri, f"lacks the columns {missing}")


def _listed(folder_uri: str) -> list[dict[str, Any]]:
    """What lies directly in a folder; nothing where there is no such folder."""
    try:
        with explained(folder_uri):
            fs, folder = filesystem(folder_uri)
            return fs.ls(folder, detail=True)
    except FileNotFoundError:
        return []


def _is_there(uri: str) -> bool:
    try:
        with explained(uri):
            fs, path = filesystem(uri)
            fs.info(path)
    except FileNotFoundError:
        return False
    return True


def _name(entry: Mapping[str, Any]) -> str:
    return posixpath.basename(entry["name"].rstrip("/"))


def modified(entry: Mapping[str, Any]) -> float | None:
    """When a listed file was written [s since 1970]; None where the store does not tell."""
    stamp = entry.get("mtime") or entry.get("LastModified") or entry.get("created")
    return stamp.timestamp() if isinstance(stamp, datetime) else stamp
