"""Read the artifacts of a run for its report; skip unreadable ones, and record why they are unreadable."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from clipes.tasks.storage.parquet import read_rows
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import ArtifactError, TransientError


class RunArtifacts:
    """Streams the rows of a run's artifacts, and of the tables in the run's folder.

    Args:
        files: files of the run.
        shards: rows of the run's status.parquet.

    Attributes:
        unreadable: URI of each file that could not be read so far -> the reason.
    """

    def __init__(self, files: RunFiles, shards: Sequence[Mapping[str, Any]]) -> None:
        self._files = files
        self._uris = {(row["stage"], row["shard"]): row["artifact"] for row in shards if row["artifact"]}
        self.unreadable: dict[str, str] = {}

    def rows(
        self, stage: str, columns: Sequence[str], shards: Collection[int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Stream the rows of a stage's artifacts, from all shards or only from the given ones."""
        for (made, shard), uri in self._uris.items():
            if made == stage and (shards is None or shard in shards):
                yield from self._read(uri, columns)

    def run_rows(self, file: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Stream the rows of a table in the run's folder; yield none if the table does not exist."""
        if self._files.find(file) is not None:
            yield from self._read(self._files.uri(file), columns)

    def _read(self, uri: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        try:
            yield from read_rows(uri, columns)
        except (ArtifactError, TransientError) as exc:
            self.unreadable[uri] = str(exc)
