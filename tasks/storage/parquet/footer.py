"""Read the footer of a sealed Parquet file.

The footer contains checksums of the rest of the file in blocks, and a seal of itself. Files of earlier versions of
clipes have only the checksums of their pages, which do not cover the footer and the headers of the pages.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.storage.checksums.blocks import Blocks
from clipes.tasks.storage.checksums.seals import check_seal
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.layout import ARTIFACT_SUFFIX, artifact_of
from clipes.tasks.storage.parquet.errors import MISSING, report_missing_as_broken, translate_parquet_errors
from clipes.tasks.storage.parquet.index import decode_index
from clipes_core.errors import BrokenArtifactError, ReplacedError

PREFIX = "clipes."
BLOCKS, SEAL, INDEX = f"{PREFIX}blocks", f"{PREFIX}seal", f"{PREFIX}index"  # names of entries that clipes itself needs
MAGIC = b"PAR1"  # at the start and at the end of every Parquet file
TAIL = 8  # bytes after the footer: its length, and MAGIC
PARSED = 64  # footers that are kept parsed
READ_FIRST = 1 << 17  # bytes to read from the end of a file, to get the whole footer of most files

Result = TypeVar("Result")


@dataclass(frozen=True)
class Footer:
    """The content of a file's footer.

    Attributes:
        rows: number of rows in the file.
        metadata: name -> value of each entry that has the prefix `clipes.`, except the checksums and the index. The
            prefix is removed from the name.
        seal: seal of the file; None if it was not sealed.
        content: bytes of the whole footer, for `parse`.
    """

    rows: int
    metadata: dict[str, str]
    seal: str | None
    content: bytes = field(repr=False, compare=False)

    @property
    def parsed(self) -> pq.FileMetaData:
        """The whole footer, which locates the row groups."""
        return parse(self.content)

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the file."""
        return self.parsed.schema.to_arrow_schema()

    @cached_property
    def index(self) -> pa.Table | None:
        """The file's index, see `clipes.tasks.storage.parquet.index`; None if it has none, or if it was not sealed.

        In a file that was not sealed, nothing proves that the index belongs to the rows.
        """
        text = (self.parsed.metadata or {}).get(INDEX.encode())
        return None if text is None or self.seal is None else decode_index(text)


def read_footer(uri: str, size_bytes: int | None = None) -> Footer:
    """Read the footer of a file.

    Args:
        uri: path or URI of the file.
        size_bytes: size of the file as the store has listed it, which saves a request; None if it is unknown. If the
            file does not have this size any more, its current size is requested.

    Raises:
        BrokenArtifactError: the file is missing, does not open or fails a checksum.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    try:
        return _read_footer(uri, size_bytes)
    except BrokenArtifactError as broken:
        if broken.reason == MISSING:
            raise
    # Another process may have replaced the file since it was listed, or between the requests for its size and footer.
    return _read_footer(uri, None)


@contextmanager
def notice_replacement(uri: str, content: bytes) -> Iterator[None]:
    """If the block finds a file broken, check whether another process has replaced the file since its footer was read.

    Args:
        uri: path or URI of the file.
        content: bytes of the footer that was read before the block.

    Raises:
        ReplacedError: the block has raised a BrokenArtifactError, and the file now has another intact footer.
    """
    try:
        yield
    except BrokenArtifactError as broken:
        if _has_other_footer(uri, content):
            raise ReplacedError(f"{uri} was replaced by another run while it was being read: run again") from broken
        raise


def repeat_if_replaced(read: Callable[[], Result]) -> Result:
    """Return what a function reads from a file; call it once more if another run replaces the file meanwhile.

    Args:
        read: function that begins with the footer of the file, and raises ReplacedError if the rest does not fit.
    """
    try:
        return read()
    except ReplacedError:
        return read()


def _has_other_footer(uri: str, content: bytes) -> bool:
    try:
        return read_footer(uri).content != content
    except BrokenArtifactError:
        return False


def blocks_of(footer: pq.FileMetaData) -> Blocks | None:
    """Return the checksums of a file's blocks, as its footer states them; None if it was not sealed.

    Raises:
        ValueError: the footer states something else.
    """
    stated = (footer.metadata or {}).get(BLOCKS.encode())
    return None if stated is None else Blocks.parse(stated.decode())


def _read_footer(uri: str, size_bytes: int | None) -> Footer:
    with report_missing_as_broken(uri), translate_storage_errors(uri), translate_parquet_errors(uri):
        start, content = _footer_bytes(uri, size_bytes)
        seal = check_seal(uri, content)
        parsed = parse(content)
        blocks = blocks_of(parsed)
        _check_identity(uri, parsed)
        if blocks is not None and blocks.length != start:
            raise BrokenArtifactError(uri, "cannot be read (its size differs from the size in its footer)")
        pairs = {name.decode(): value for name, value in (parsed.metadata or {}).items()}
        own = {name for name in pairs if name.startswith(PREFIX)} - {BLOCKS, SEAL, INDEX}
        metadata = {name.removeprefix(PREFIX): pairs[name].decode() for name in sorted(own)}
        return Footer(parsed.num_rows, metadata, seal, content)


@lru_cache(maxsize=PARSED)
def parse(content: bytes) -> pq.FileMetaData:
    """Parse the bytes of a footer. To keep many footers, keep their bytes: parsed, they need four times the memory.

    Args:
        content: the footer with its length and MAGIC after it.
    """
    return pq.read_metadata(io.BytesIO(MAGIC + content))


def _check_identity(uri: str, footer: pq.FileMetaData) -> None:
    """Raise BrokenArtifactError if an artifact carries the key of a different artifact."""
    own, stated = artifact_of(uri), footer.metadata or {}
    if own is None or f"{PREFIX}content_key".encode() not in stated:  # is_complete refuses artifacts without a key
        return
    found = [stated.get(f"{PREFIX}{name}".encode(), b"").decode() for name in ("stage", "stage_key", "content_key")]
    if found != [own.stage, own.stage_key, own.file.partition("-")[2].removesuffix(ARTIFACT_SUFFIX)]:
        raise BrokenArtifactError(uri, "carries the key of a different artifact")


def _footer_bytes(uri: str, size_bytes: int | None) -> tuple[int, bytes]:
    """Return the position and the bytes of a file's footer. The bytes include its length and MAGIC after it.

    Raises:
        BrokenArtifactError: the file does not end as a Parquet file.
    """
    fs, path = filesystem(uri)
    size = int(fs.info(path)["size"] or 0) if size_bytes is None else size_bytes
    first = min(size, READ_FIRST)
    end = fs.cat_file(path, start=size - first, end=size) if first else b""
    length = TAIL + int.from_bytes(end[-TAIL : -len(MAGIC)], "little")
    if len(end) != first or not end.endswith(MAGIC) or length > size - len(MAGIC):
        raise BrokenArtifactError(uri, "cannot be read (it does not end as a Parquet file)")
    if length > len(end):
        end = fs.cat_file(path, start=size - length, end=size - first) + end
    return size - length, end[-length:]
