"""The artifacts of a run as its report reads them: what cannot be read is noted and passed over."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import ArtifactError, TransientError


class RunArtifacts:
    """Streams the rows that a run's shards and files hold.

    Args:
        store: of the run.
        name: of the run.
        shards: rows of its status.parquet.

    Attributes:
        unreadable: URI -> why it could not be read, so far.
    """

    def __init__(self, store: ArtifactStore, name: str, shards: Sequence[Mapping[str, Any]]) -> None:
        self._store, self._name = store, name
        self._uris = {(row["stage"], row["shard"]): row["artifact"] for row in shards if row["artifact"]}
        self.unreadable: dict[str, str] = {}

    def rows(
        self, stage: str, columns: Sequence[str], shards: Collection[int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Rows of a stage, of all its shards that were made or of some."""
        for (made, shard), uri in self._uris.items():
            if made == stage and (shards is None or shard in shards):
                yield from self._read(uri, columns)

    def run_rows(self, file: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows of a table beside run.json; none where it is not there."""
        if self._store.run_file(self._name, file) is not None:
            yield from self._read(self._store.run_uri(self._name, file), columns)

    def _read(self, uri: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        try:
            yield from self._store.read_rows(uri, columns)
        except (ArtifactError, TransientError) as exc:
            self.unreadable[uri] = str(exc)
