"""Damage to Parquet files, as a disk or a network does it."""

import pyarrow.parquet as pq


def flip(path, place, bit=0):
    """Flip a bit of a file; a negative place counts from its end."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def flip_in_page(path, group, column):
    """Flip the last bit of the last page of a column."""
    with pq.ParquetFile(path) as parquet:
        chunk = parquet.metadata.row_group(group).column(column)
    start = chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
    flip(path, start + chunk.total_compressed_size - 1)
