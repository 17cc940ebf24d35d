"""Photos in Parquet files, such as those that img2dataset writes: a column of keys, and a column of encoded photos."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from clipes.tasks.inputs.sources.archives import ArchiveSource, Index, Member, member_name
from clipes.tasks.inputs.sources.source import UNKNOWN, WholeFileTable
from clipes.tasks.machine.processes import ForkSafeLock
from clipes.tasks.storage.filesystem import first_line, is_storage_error
from clipes.tasks.storage.listing import FileFacts
from clipes_core.errors import ClipesError, ErrorKind, PhotoError

if TYPE_CHECKING:
    import pyarrow.parquet as pq

KEY = "key"
KEPT_BYTES = 256 << 20  # of row groups that a process keeps
LARGEST_GROUP = 2 << 30  # of photos in a row group [bytes]; a row group must be read as a whole
FOOTERS = 32  # that a process keeps
LOCKS = 16
ADVICE = "download or write it again"


class RowGroups:
    """Keeps the row groups that were used last, up to a number of bytes; the last one is always kept.

    Args:
        limit_bytes: how many bytes are kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[Any, Any] = OrderedDict()
        self._lock = ForkSafeLock()
        self._loading = [ForkSafeLock() for _ in range(LOCKS)]

    @property
    def size_bytes(self) -> int:
        """How many bytes are kept."""
        return sum(values.nbytes for values in self._kept.values())

    def get(self, key: object, load: Callable[[], Any]) -> Any:
        """Return the values of a row group; call `load` if they are not kept. Other threads wait for the same group."""
        with self._loading[hash(key) % LOCKS]:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            values = load()
            with self._lock:
                self._kept[key] = values
                while len(self._kept) > 1 and self.size_bytes > self._limit:
                    self._kept.popitem(last=False)
            return values


class ParquetArchives(ArchiveSource):
    """Photos in Parquet files with a column `key`. The photo `KEY.COLUMN` is in the row of its key and in this column.

    The place of a photo is `GROUP.ROW.COLUMN`, where ROW counts from the start of the row group.
    """

    name = "parquet"
    suffixes = (".parquet",)

    def __init__(self, whole: WholeFileTable) -> None:
        super().__init__(whole)
        self._groups = RowGroups(KEPT_BYTES)
        self._footer = lru_cache(FOOTERS)(self._read_footer)

    def index(self, archive: FileFacts) -> Index:
        """Read the keys of an archive; see the base class."""
        try:
            with self._opened(archive.uri, archive.fingerprint) as file:
                return read_index(file)
        except PhotoError as error:
            if error.kind is not ErrorKind.UNREADABLE:
                raise
            return Index({}, damage=error.reason.removeprefix(f"{archive.uri} "))

    def load(self, archive: str, version: str, place: str) -> bytes:
        """Read the row group of a photo; see the base class."""
        group, row, column = place.split(".", 2)

        def load() -> Any:
            return self._read_group(archive, version, int(group), column)

        values = load() if version == UNKNOWN else self._groups.get((archive, version, group, column), load)
        photo = values[int(row)].as_py()
        if photo is None:
            reason = f"{archive}: the row has no photo in its column {column}: it was not downloaded"
            raise PhotoError(ErrorKind.MISSING, reason)
        return photo

    def _read_group(self, archive: str, version: str, group: int, column: str) -> Any:
        footer = None if version == UNKNOWN else self._footer(archive, version)
        with self._opened(archive, version, footer) as file:
            chunks = file.metadata.row_group(group)
            sizes = {
                chunks.column(i).path_in_schema: chunks.column(i).total_uncompressed_size
                for i in range(chunks.num_columns)
            }
            if sizes[column] > LARGEST_GROUP:
                reason = f"{archive}: a row group has photos of {sizes[column]} bytes: write it with smaller row groups"
                raise PhotoError(ErrorKind.UNREADABLE, reason)
            return file.read_row_group(group, [column], use_threads=False).column(0)

    def _read_footer(self, archive: str, version: str) -> "pq.FileMetaData":
        with self._opened(archive, version) as file:
            return file.metadata

    @contextmanager
    def _opened(
        self, archive: str, version: str, footer: "pq.FileMetaData | None" = None
    ) -> "Iterator[pq.ParquetFile]":
        """Open an archive.

        Raises:
            PhotoError: UNREADABLE; the content is not Parquet. The other errors are those of `index`.
        """
        import pyarrow.parquet  # a slow import, which data sets without Parquet files do not need

        with self._whole.open(archive, version) as file:
            try:
                yield pyarrow.parquet.ParquetFile(
                    file, metadata=footer, pre_buffer=False, page_checksum_verification=True
                )
            except (pyarrow.ArrowException, OSError, KeyError) as exc:
                if isinstance(exc, ClipesError) or (
                    not isinstance(exc, pyarrow.ArrowException) and is_storage_error(exc)
                ):
                    raise
                reason = f"{archive} is not a readable Parquet file ({first_line(exc)}): {ADVICE}"
                raise PhotoError(ErrorKind.UNREADABLE, reason) from exc


def read_index(file: "pq.ParquetFile") -> Index:
    """Return the members of a Parquet file; only its footer and its column of keys are read."""
    import pyarrow

    names = file.schema_arrow.names
    binary = [name for name in names if _is_binary(file.schema_arrow.field(name).type)]
    if KEY not in names or not binary:
        lacking = "no column key" if KEY not in names else "no column of bytes"
        advice = "write a file with a column key, and a column of encoded photos such as jpg, as img2dataset does"
        return Index({}, damage=f"has {lacking}; its columns are {', '.join(names)}: {advice}")
    members: dict[str, Member] = {}
    faults: dict[str, str] = {}
    for group in range(file.num_row_groups):
        keys = file.read_row_group(group, [KEY], use_threads=False).column(0).cast(pyarrow.string()).to_pylist()
        for row, key in enumerate(keys):
            for name, column in ((member_name(f"{key}.{column}"), column) for column in binary):
                if name in members or name in faults:
                    members.pop(name, None)
                    faults[name] = "occurs more than once in its archive: give each row its own key"
                else:
                    members[name] = Member(f"{group}.{row}.{column}", 0)
    return Index(members, faults)


def _is_binary(kind: Any) -> bool:
    import pyarrow

    return pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)
