"""Read the rows of a run's artifacts. Unreadable artifacts are skipped, and the reasons are recorded."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.storage.parquet.reading import read_table, rows_of
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import ArtifactError, ClipesError, TransientError

T = TypeVar("T")


class RunArtifacts:
    """Reads the rows of a run's artifacts, and of the tables in the run's folder, a few rows at a time.

    Args:
        files: files of the run.
        shards: rows of the run's status.parquet; each row gives the artifact of one shard.

    Attributes:
        unreadable: URI of a file -> reason why the file could not be read. Each failed read adds an entry.
    """

    def __init__(self, files: RunFiles, shards: Sequence[Mapping[str, Any]]) -> None:
        self._files = files
        self._uris = {(row["stage"], row["shard"]): row["artifact"] for row in shards if row["artifact"]}
        self.unreadable: dict[str, str] = {}

    @property
    def store_uri(self) -> str:
        """URI of the store of the run."""
        return self._files.store_uri

    def rows(
        self,
        stage: str,
        columns: Sequence[str],
        shards: Collection[int] | None = None,
        image_ids: Collection[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of a stage's artifacts.

        Args:
            stage: name of the stage.
            columns: columns to read.
            shards: shards whose rows are wanted; None for all.
            image_ids: ids of the photos whose rows are wanted; None for all.
        """
        for table in self.each(stage, partial(read_table, columns=columns, image_ids=image_ids), shards):
            yield from rows_of(table)

    def each(self, stage: str, read: Callable[[str], T], shards: Collection[int] | None = None) -> Iterator[T]:
        """Yield what a function reads from each artifact of a stage; it is called in threads.

        Args:
            stage: name of the stage.
            read: function of the URI of an artifact.
            shards: shards whose artifacts are wanted; None for all.
        """

        def result(uri: str) -> T | ClipesError:
            try:
                return read(uri)
            except (ArtifactError, TransientError) as exc:
                return exc

        wanted = [
            uri for (made, shard), uri in self._uris.items() if made == stage and (shards is None or shard in shards)
        ]
        for uri, found in zip(wanted, map_in_threads(result, wanted), strict=True):
            if isinstance(found, ClipesError):
                self.unreadable[uri] = str(found)
            else:
                yield found

    def facts(self, stage: str, read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """Return what a function reads from an artifact of a stage.

        Args:
            stage: name of the stage.
            read: function of the URI of the artifact.

        Returns:
            The result of the function; empty if the stage has no artifact that can be read.
        """
        for uri in (uri for (made, _), uri in self._uris.items() if made == stage):
            try:
                return read(uri)
            except (ArtifactError, TransientError) as exc:
                self.unreadable[uri] = str(exc)
        return {}

    def run_rows(self, file: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the rows of a table in the run's folder. If the table does not exist, yield no rows."""
        if self._files.find(file) is not None:
            try:
                yield from self._files.read_rows(file, columns)
            except (ArtifactError, TransientError) as exc:
                self.unreadable[self._files.uri(file)] = str(exc)
