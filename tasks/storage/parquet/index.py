"""The index of an artifact: a copy of its small columns in the footer, which a reader gets in a single request.

The small columns of 1,000 masks take 40 kB in the footer. In the row groups they are spread over the whole file of
36 MB, among the columns with the masks.
"""

import base64
from collections.abc import Sequence

import pyarrow as pa

# The columns that tell which photos an artifact holds, which of them have no result and why, and the digests of rows.
INDEXED = ("image_id", "status", "error", "error_kind", "input_digest", "output_digest")


def indexed_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Return the columns of an artifact's index; empty if the rows do not stand for photos, so there is no index."""
    return INDEXED if set(INDEXED) <= set(schema.names) else ()


def encode_index(tables: Sequence[pa.Table]) -> str:
    """Encode an index as text for the footer: compressed Arrow IPC in base64.

    Args:
        tables: the indexed columns of each row group; at least one table.
    """
    table = pa.concat_tables(tables).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def decode_index(text: bytes) -> pa.Table:
    """Decode the result of `encode_index`. The seal of the footer has proved that the text is such a result."""
    with pa.ipc.open_stream(base64.b64decode(text, validate=True)) as stream:
        return stream.read_all()
