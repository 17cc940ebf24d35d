"""Read and write the files of one run, except the artifacts of the run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from clipes.tasks.storage.checksums.seals import BLANK_SEAL, add_seal, check_seal
from clipes.tasks.storage.files import read_file, remove, write_atomically, write_file
from clipes.tasks.storage.layout import (
    ABLATION_FILE,
    ARTIFACT_SUFFIX,
    ESTIMATE_FILE,
    EVALUATION_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    RUN_JSON,
    STATUS_FILE,
    run_uri,
    runs_uri,
    uri_in,
)
from clipes.tasks.storage.listing import FileFacts, find_file, list_names
from clipes.tasks.storage.parquet.errors import report_missing_as_broken
from clipes.tasks.storage.parquet.footer import Footer, read_footer, repeat_if_replaced
from clipes.tasks.storage.parquet.reading import check_whole, read_rows, read_table
from clipes.tasks.storage.parquet.writing import write_table
from clipes.tasks.storage.run_schemas.json_files import (
    ABLATION_SHAPE,
    ESTIMATE_SHAPE,
    METRICS_SHAPE,
    RUN_SHAPE,
    check_shape,
)
from clipes.tasks.storage.run_schemas.tables import STATUS_SCHEMA, TABLE_SCHEMAS, check_columns
from clipes_core.errors import BrokenArtifactError

NO_STATUS = dict.fromkeys(STATUS_SCHEMA.names)  # None for the columns that a file of an earlier version lacks
SEALED_FILES = (*TABLE_SCHEMAS, METRICS_FILE)  # run.json states the seals of these files at the end of the run
SEAL = "seal"  # name of the last entry of a JSON file


@contextmanager
def _advise_to_run_again() -> Iterator[None]:
    """Correct the advice of a BrokenArtifactError: a run writes all of its files again, so none must be deleted."""
    try:
        yield
    except BrokenArtifactError as broken:
        raise BrokenArtifactError(broken.uri, broken.reason, "run again") from broken


class RunFiles:
    """Reads and writes the files of one run. Each write is atomic. Instances can be pickled.

    Every method that accesses the store raises StorageError if the store refuses access, and TransientError if the
    store does not answer.

    Args:
        store_uri: fsspec URI of the store.
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

    def read_run(self) -> dict[str, Any] | None:
        """Read run.json, as `RunJson` describes it; return None if the run does not exist.

        Raises:
            BrokenArtifactError: the file is damaged, or lacks an entry.
        """
        return _read_json(self.uri(RUN_JSON), RUN_SHAPE)

    def read_metrics(self) -> dict[str, Any] | None:
        """Read metrics.json, as `MetricsJson` describes it; return None if the file does not exist.

        Raises:
            BrokenArtifactError: the file is damaged, or has unexpected entries.
        """
        return _read_json(self.uri(METRICS_FILE), METRICS_SHAPE)

    @_advise_to_run_again()
    def read_table(self, file: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read columns of a Parquet file (by default, all columns), and verify the checksums of the data that is read.

        Raises:
            BrokenArtifactError: the file is missing, does not open, fails a checksum, or has no such columns.
        """
        uri = self.uri(file)
        return repeat_if_replaced(lambda: read_table(uri, columns, _checked_footer(uri, file, columns)))

    def read_status(self) -> list[dict[str, Any]]:
        """Read the rows of status.parquet, with the URIs of the artifacts. The errors are those of `read_table`."""
        rows = [{**NO_STATUS, **row} for row in self.read_table(STATUS_FILE).to_pylist()]
        return [{**row, "artifact": uri_in(self.store_uri, row["artifact"]) if row["artifact"] else ""} for row in rows]

    def read_rows(self, file: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Stream the rows of a Parquet file as plain dicts. The errors are those of `read_table`."""
        with _advise_to_run_again():
            yield from read_rows(self.uri(file), columns, footer=_checked_footer(self.uri(file), file, columns))

    def input_uris(self) -> Iterator[str]:
        """Yield the URIs of the photos and true masks that the run reads. The errors are those of `read_table`."""
        for file in (MANIFEST_FILE, EVALUATION_FILE):
            if self.find(file) is not None:
                table = self.read_table(file, ["uri", "truth_uri"])
                yield from (uri for column in table.columns for uri in column.to_pylist() if uri is not None)

    @_advise_to_run_again()
    def seal(self, file: str) -> str | None:
        """Read the seal of metrics.json or of a table; return None if the file was not sealed.

        Raises:
            BrokenArtifactError: the file is missing or damaged.
        """
        uri = self.uri(file)
        if file.endswith(ARTIFACT_SUFFIX):
            return read_footer(uri).seal
        with report_missing_as_broken(uri):
            return check_seal(uri, read_file(uri))

    @_advise_to_run_again()
    def origin(self, file: str) -> tuple[str | None, str | None]:
        """Read which run wrote metrics.json or a table, as `run_identity` names it, and under which file name.

        Returns:
            The identity of the run, and the file name. None stands for what the file does not state.

        Raises:
            BrokenArtifactError: the file is missing or damaged.
        """
        if file.endswith(ARTIFACT_SUFFIX):
            stated = read_footer(self.uri(file)).metadata
            return stated.get("run"), stated.get("file")
        return (self.read_metrics() or {}).get("run"), None

    @_advise_to_run_again()
    def check(self, file: str) -> None:
        """Read a file completely to verify its checksums. Files that do not exist or have no checksums are skipped.

        Raises:
            BrokenArtifactError: the file is damaged.
        """
        if self.find(file) is None:
            return
        if file.endswith(ARTIFACT_SUFFIX):
            check_whole(self.uri(file))
        else:
            check_seal(self.uri(file), read_file(self.uri(file)))

    def write_json(self, file: str, value: Mapping[str, Any]) -> None:
        """Write a sealed JSON file; raise ValueError if a value is nan or infinity."""
        text = json.dumps({**value, SEAL: BLANK_SEAL}, indent=2, ensure_ascii=False, allow_nan=False)
        data = f"{text}\n".encode(errors="backslashreplace")  # writes lone surrogates as JSON escapes them
        self.write_bytes(file, add_seal(data))

    def write_table(self, file: str, table: pa.Table, identity: str | None = None) -> None:
        """Write a table as Parquet. The footer states the file name and, if it is given, `run_identity` of the run."""
        uri = self.uri(file)
        with write_atomically(uri) as temporary:
            write_table(uri, temporary, table, {"file": file, **({"run": identity} if identity else {})})

    def write_html(self, file: str, page: str) -> None:
        """Write a sealed HTML file. The seal is a comment at its end."""
        self.write_bytes(file, add_seal(f"{page}<!-- {BLANK_SEAL} -->\n".encode(errors="backslashreplace")))

    @_advise_to_run_again()
    def read_html(self, file: str) -> str:
        """Read a sealed HTML file.

        Raises:
            BrokenArtifactError: the file is missing or damaged.
        """
        with report_missing_as_broken(self.uri(file)):
            data = read_file(self.uri(file))
        check_seal(self.uri(file), data)
        return data.decode(errors="replace")

    def write_bytes(self, file: str, data: bytes) -> None:
        """Write bytes to a file."""
        write_file(self.uri(file), data)

    def remove(self, files: Sequence[str]) -> None:
        """Remove the given files. Files that do not exist are skipped."""
        for file in files:
            remove(self.uri(file))


def _checked_footer(uri: str, file: str, columns: Sequence[str] | None) -> Footer:
    """Read the footer of a table, and check the types of the given columns."""
    footer = read_footer(uri)
    check_columns(uri, file, footer.schema, columns)
    return footer


def run_identity(run: Mapping[str, Any]) -> str:
    """Return the text with which the files of a run state that they belong to it.

    Args:
        run: content of the run's run.json.
    """
    return f"{run['name']} {run['started']}"


def read_estimate(files: RunFiles) -> dict[str, Any] | None:
    """Read estimate.json, as `EstimateJson` describes it; return None if the file does not exist.

    Raises:
        BrokenArtifactError: the file is damaged, or has unexpected entries.
    """
    return _read_json(files.uri(ESTIMATE_FILE), ESTIMATE_SHAPE)


def read_ablation(files: RunFiles) -> dict[str, Any] | None:
    """Read ablation.json, as `AblationJson` describes it; return None if the file does not exist.

    Raises:
        BrokenArtifactError: the file is damaged, or has unexpected entries.
    """
    return _read_json(files.uri(ABLATION_FILE), ABLATION_SHAPE)


def read_seals(files: RunFiles) -> dict[str, str]:
    """Read the seals of metrics.json and of the tables of a run. Files that do not exist are skipped.

    Raises:
        BrokenArtifactError: a file is damaged.
    """
    found = {file: files.seal(file) for file in SEALED_FILES if files.find(file) is not None}
    return {file: seal for file, seal in found.items() if seal is not None}


def list_runs(store_uri: str) -> list[str]:
    """List the names of the runs in a store, sorted.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    return list_names(runs_uri(store_uri)) or []


@_advise_to_run_again()
def _read_json(uri: str, shape: TypeAdapter[Any]) -> dict[str, Any] | None:
    try:
        data = read_file(uri)
    except FileNotFoundError:
        return None
    check_seal(uri, data)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BrokenArtifactError(uri, f"is not JSON ({exc})") from exc
    check_shape(uri, content, shape)
    return {name: value for name, value in content.items() if name != SEAL}
