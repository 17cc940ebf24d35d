"""Tar archives and Parquet files as img2dataset and webdataset write them, and damaged ones."""

import io
import tarfile
from collections.abc import Iterable, Mapping

import pyarrow
import pyarrow.parquet
from PIL import Image

BLOCK = tarfile.BLOCKSIZE


def jpeg(shade: int = 0, size: tuple[int, int] = (8, 6)) -> bytes:
    """Return a small grey photo."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(buffer, "JPEG")
    return buffer.getvalue()


def member(name: str, **fields: object) -> tarfile.TarInfo:
    """Return the header of a member with some fields, such as `type` and `linkname`."""
    header = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(header, field, value)
    return header


def tar(
    members: Mapping[str, bytes] | Iterable[tuple[str | tarfile.TarInfo, bytes]],
    mode: str = "w",
    format: int = tarfile.GNU_FORMAT,
) -> bytes:
    """Return a tar archive with members in the given order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=format) as archive:
        for each, content in members.items() if isinstance(members, Mapping) else members:
            header = tarfile.TarInfo(each) if isinstance(each, str) else each
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def shard(photos: Mapping[str, bytes]) -> bytes:
    """Return a tar shard: for each key, a photo, its metadata and its caption."""
    return tar(
        [
            (f"{key}.{extension}", content)
            for key, photo in photos.items()
            for extension, content in (("jpg", photo), ("json", b'{"key": "' + key.encode() + b'"}'), ("txt", b"a dog"))
        ]
    )


def parquet(
    photos: Mapping[str, bytes | None] | Iterable[tuple[str, bytes | None]] = (),
    rows_per_group: int | None = None,
    columns: Mapping[str, list] | None = None,
) -> bytes:
    """Return a Parquet file with the columns key, txt and jpg as img2dataset writes it, or with other columns."""
    rows = list(photos.items() if isinstance(photos, Mapping) else photos)
    keys, contents = [key for key, _ in rows], [content for _, content in rows]
    own = {"key": keys, "txt": ["a dog"] * len(rows), "jpg": pyarrow.array(contents, pyarrow.binary())}
    sink = pyarrow.BufferOutputStream()
    table = pyarrow.table(columns or own)
    pyarrow.parquet.write_table(
        table, sink, row_group_size=rows_per_group, compression="none", write_page_checksum=True
    )
    return sink.getvalue().to_pybytes()
