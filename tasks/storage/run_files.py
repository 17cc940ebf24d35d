"""Read and write the files of one run, except the artifacts of the run."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from clipes.tasks.storage import parquet
from clipes.tasks.storage.files import move, read_file, remove, write_atomically, write_file
from clipes.tasks.storage.layout import EVALUATION_FILE, MANIFEST_FILE, history_folder, run_uri, runs_uri
from clipes.tasks.storage.listing import FileFacts, find_file, list_names
from clipes_core.errors import ArtifactError


class RunFiles:
    """Reads and writes the files of one run. Each write is atomic. Instances can be pickled.

    Every method that accesses the store raises StorageError if the store refuses access, and TransientError if the
    store does not answer.

    Args:
        store_uri: fsspec URI of the store.
        name: name of the run.

    Attributes:
        store_uri: URI of the store.
        name: name of the run.
    """

    def __init__(self, store_uri: str, name: str) -> None:
        self.store_uri, self.name = store_uri, name

    @property
    def folder(self) -> str:
        """URI of the run's folder."""
        return run_uri(self.store_uri, self.name)

    def uri(self, file: str) -> str:
        """Return the URI of a file. The file need not exist."""
        return run_uri(self.store_uri, self.name, file)

    def find(self, file: str) -> FileFacts | None:
        """Look up the metadata of a file; return None if the file does not exist."""
        return find_file(self.uri(file))

    def read_json(self, file: str) -> Any | None:
        """Read a JSON file; return None if the file does not exist.

        Raises:
            ArtifactError: the file is not JSON.
        """
        try:
            data = read_file(self.uri(file))
        except FileNotFoundError:
            return None
        try:
            return json.loads(data)
        except ValueError as exc:
            raise ArtifactError(f"{self.uri(file)} is not JSON ({exc}): delete this file and run again") from exc

    def read_table(self, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns of a Parquet file (by default, all columns), and verify the checksums of the data that is read.

        Raises:
            BrokenArtifactError: the file is missing, does not open, fails a checksum or lacks a column.
        """
        return parquet.read_table(self.uri(file), columns)

    def read_rows(self, file: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Stream the rows of a Parquet file as plain dicts. The errors are those of `read_table`."""
        return parquet.read_rows(self.uri(file), columns)

    def input_uris(self) -> Iterator[str]:
        """Yield the URIs of the photos and true masks that the run reads. The errors are those of `read_table`."""
        for file in (MANIFEST_FILE, EVALUATION_FILE):
            if self.find(file) is not None:
                table = self.read_table(file, ["uri", "truth_uri"])
                yield from (uri for column in table.columns for uri in column.to_pylist() if uri is not None)

    def write_json(self, file: str, value: Any) -> None:
        """Write a value as JSON; raise ValueError if the value contains nan or infinity."""
        self.write_text(file, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_table(self, file: str, table: pa.Table) -> None:
        """Write a table as Parquet."""
        uri = self.uri(file)
        with write_atomically(uri) as temporary:
            parquet.write_table(uri, temporary, table)

    def write_text(self, file: str, text: str) -> None:
        """Write text as UTF-8."""
        self.write_bytes(file, text.encode())

    def write_bytes(self, file: str, data: bytes) -> None:
        """Write bytes to a file."""
        write_file(self.uri(file), data)

    def remove(self, files: Sequence[str]) -> None:
        """Remove the given files. Files that do not exist are skipped."""
        for file in files:
            remove(self.uri(file))

    def archive(self, started: str, files: Sequence[str]) -> str:
        """Move the files of an earlier run of the same name to the history. Files that do not exist are skipped.

        Args:
            started: start time of the earlier run, as written in run.json.
            files: names of the files.

        Returns:
            The folder that now contains the files, as a path relative to the run's folder.
        """
        folder = history_folder(started)
        for file in files:
            if self.find(file) is not None:
                move(self.uri(file), self.uri(f"{folder}/{file}"))
        return folder


def list_runs(store_uri: str) -> list[str]:
    """List the names of the runs in a store, sorted.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    return list_names(runs_uri(store_uri)) or []
