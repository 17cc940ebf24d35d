"""Damage to Parquet files, as a faulty disk or network causes it."""

import pyarrow.parquet as pq


def flip(path, offset, bit=0):
    """Flip a bit of the byte at an offset; a negative offset counts from the end of the file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


def flip_in_page(path, group, column):
    """Flip a bit in the last byte of the last page of a column."""
    with pq.ParquetFile(path) as parquet:
        chunk = parquet.metadata.row_group(group).column(column)
    start = chunk.data_page_offset if chunk.dictionary_page_offset is None else chunk.dictionary_page_offset
    flip(path, start + chunk.total_compressed_size - 1)


def flip_in_footer(path):
    """Flip a bit in the footer, which holds the index of an artifact."""
    flip(path, -100)
