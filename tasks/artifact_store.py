"""Where artifacts and run files live: the only module that knows their URIs.

<store>/artifacts/<stage>/<stage_key>/<shard>-<content_key>.parquet
<store>/runs/<name>/{run.json, manifest.parquet, rejects.parquet, status.parquet, metrics.json, report.html}
"""

import json
import logging
import os
import posixpath
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from clipes_core.errors import ArtifactError, BrokenArtifactError, TransientError

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

    def artifact_uri(self, key: ArtifactKey) -> str:
        """Full URI of an artifact, there or not."""
        return self._under("artifacts", key.stage, key.stage_key, f"{key.shard:03d}-{key.content_key}.parquet")

    def shard_artifacts(self, stage: str, stage_key: str, shard: int) -> list[str]:
        """URIs of all artifacts of a shard, newest first."""
        fs, folder = url_to_fs(self._under("artifacts", stage, stage_key))
        if not fs.isdir(folder):
            return []
        found = [
            (_modified(entry), entry["name"])
            for entry in fs.ls(folder, detail=True, refresh=True)
            if posixpath.basename(entry["name"]).startswith(f"{shard:03d}-")
        ]
        return [fs.unstrip_protocol(name) for _, name in sorted(found, reverse=True)]

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
        fs, path = url_to_fs(uri)
        if fs.exists(path):
            fs.rm_file(path)

    def footer(self, uri: str) -> "Footer":
        """Row count and metadata of an artifact.

        Raises:
            BrokenArtifactError: it is missing or does not open.
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
            ArtifactError: it is missing, does not open, fails a checksum or lacks a column.
        """
        with _opened(uri) as parquet:
            _check_columns(uri, parquet, columns)
            return parquet.read(columns=columns)

    def read_rows(self, uri: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Stream an artifact's rows as plain dicts, a row group at a time.

        Raises:
            ArtifactError: it is missing, does not open, fails a checksum or lacks a column.
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
            ArtifactError: the store cannot be written.
        """
        stated = {"stage": key.stage, "stage_key": key.stage_key, "content_key": key.content_key, **metadata}
        named = {f"{PREFIX}{name}": value for name, value in stated.items()}
        with _appears_whole(self.artifact_uri(key)) as temporary:
            parquet = pq.ParquetWriter(
                temporary, schema.with_metadata(named), compression="zstd", write_page_checksum=True
            )
            with parquet:
                writer = ArtifactWriter(parquet, schema)
                yield writer
                writer.flush()
                parquet.add_key_value_metadata({f"{PREFIX}complete": str(writer.complete).lower()})

    def run_uri(self, name: str, *parts: str) -> str:
        """URI of a run's folder or of a file in it."""
        return self._under("runs", name, *parts)

    def write_run_json(self, name: str, file: str, value: Any) -> None:
        """Write a JSON file of a run, whole or not at all."""
        with _appears_whole(self.run_uri(name, file)) as temporary:
            temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def read_run_json(self, name: str, file: str) -> Any | None:
        """Read a JSON file of a run; None where there is none.

        Raises:
            ArtifactError: it cannot be read, or is not JSON.
        """
        uri = self.run_uri(name, file)
        fs, path = url_to_fs(uri)
        try:
            return json.loads(fs.cat_file(path))
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise ArtifactError(f"{uri} cannot be read ({exc}): mend the store, or name another with --store") from exc
        except ValueError as exc:
            raise ArtifactError(f"{uri} is not JSON ({exc}): delete it and run again") from exc

    def write_run_table(self, name: str, file: str, table: pa.Table) -> None:
        """Write a Parquet file of a run, whole or not at all."""
        with _appears_whole(self.run_uri(name, file)) as temporary:
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)

    def write_run_text(self, name: str, file: str, text: str) -> None:
        """Write a text file of a run in UTF-8, whole or not at all."""
        with _appears_whole(self.run_uri(name, file)) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write_run_bytes(self, name: str, file: str, data: bytes) -> None:
        """Write any other file of a run, whole or not at all."""
        with _appears_whole(self.run_uri(name, file)) as temporary:
            temporary.write_bytes(data)

    def has_run_file(self, name: str, file: str) -> bool:
        """Whether a run has this file."""
        fs, path = url_to_fs(self.run_uri(name, file))
        return fs.exists(path)

    def run_names(self) -> list[str]:
        """Names of the runs in the store."""
        fs, folder = url_to_fs(self._under("runs"))
        if not fs.isdir(folder):
            return []
        return sorted(posixpath.basename(path.rstrip("/")) for path in fs.ls(folder, detail=False))

    def remove_run_files(self, name: str, files: Sequence[str]) -> None:
        """Remove files of a run; those that are not there are passed over."""
        for file in files:
            fs, path = url_to_fs(self.run_uri(name, file))
            if fs.exists(path):
                fs.rm_file(path)

    def archive_run(self, name: str, folder: str, files: Sequence[str]) -> None:
        """Move files of a run to runs/<name>/history/<folder>; those that are not there are passed over."""
        for file in files:
            fs, source = url_to_fs(self.run_uri(name, file))
            _, target = url_to_fs(self.run_uri(name, "history", folder, file))
            if fs.exists(source):
                fs.makedirs(posixpath.dirname(target), exist_ok=True)
                fs.mv(source, target)

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
    """Collects rows and writes them a row group at a time."""

    def __init__(self, parquet: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._parquet, self._schema = parquet, schema
        self._rows: list[dict[str, Any]] = []
        self.complete = True

    def write(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self._rows.append(row)
        if len(self._rows) == ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what has been collected."""
        if self._rows:
            self._parquet.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


@contextmanager
def _opened(uri: str) -> Iterator[pq.ParquetFile]:
    fs, path = url_to_fs(uri)
    try:
        with fs.open(path, "rb") as file:
            yield pq.ParquetFile(file, page_checksum_verification=True)
    except FileNotFoundError as exc:
        raise BrokenArtifactError(uri, MISSING, "run again") from exc
    except (PermissionError, NotADirectoryError, IsADirectoryError) as exc:
        raise ArtifactError(f"{uri} cannot be read ({exc}): mend the store, or name another with --store") from exc
    except (pa.ArrowException, OSError, UnicodeDecodeError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:  # the system's or the network's, not pyarrow's own
            raise TransientError(f"{uri} could not be read: {exc}") from exc
        raise BrokenArtifactError(uri, f"cannot be read ({exc})") from exc


def _check_columns(uri: str, parquet: pq.ParquetFile, columns: Sequence[str] | None) -> None:
    missing = sorted(set(columns or ()) - set(parquet.schema_arrow.names))
    if missing:
        raise BrokenArtifactError(uri, f"lacks the columns {missing}")


@contextmanager
def _appears_whole(uri: str) -> Iterator[Path]:
    """A temporary file that becomes `uri` when the block ends without an error, and vanishes otherwise."""
    fs, path = url_to_fs(uri)
    local = isinstance(fs, LocalFileSystem)
    folder = Path(path).parent if local else Path(tempfile.gettempdir())
    temporary = folder / f".{posixpath.basename(path)}.{uuid.uuid4().hex}.tmp"
    with _writable(uri):
        folder.mkdir(parents=True, exist_ok=True)
        temporary.touch()
    try:
        yield temporary
        with _writable(uri):
            if local:
                os.replace(temporary, path)  # noqa: PTH105 - one call, atomic, as the name says
            else:
                fs.put_file(str(temporary), path)
                fs.invalidate_cache()
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _writable(uri: str) -> Iterator[None]:
    try:
        yield
    except (PermissionError, FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as exc:
        raise ArtifactError(f"{uri} cannot be written ({exc}): mend the store, or name another with --store") from exc


def _modified(entry: Mapping[str, Any]) -> str:
    stamp = entry.get("mtime") or entry.get("LastModified") or entry.get("created") or 0
    return f"{stamp:020.6f}" if isinstance(stamp, int | float) else str(stamp)
