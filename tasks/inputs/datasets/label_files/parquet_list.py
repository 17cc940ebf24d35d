"""Read the rows of a list in Parquet."""

from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from clipes.tasks.inputs.datasets.label_files.list_rows import COLUMNS, ListRow, check_columns, split_labels, stripped
from clipes.tasks.storage.user_files import read_bytes
from clipes_core.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow


def parquet_rows(list_uri: str) -> Iterator[tuple[str, Callable[[], ListRow]]]:
    """Yield the location of each row, and a function that reads the row.

    Raises:
        FileNotFoundError: `list_uri` does not exist.
        DatasetError: the file is not readable Parquet, or lacks a column.
    """
    import pyarrow.parquet  # imported here, because the import is slow and few data sets need it

    source, number = BytesIO(read_bytes(list_uri)), 0
    try:
        with pyarrow.parquet.ParquetFile(source, pre_buffer=False, page_checksum_verification=True) as file:
            check_columns(list_uri, file.schema_arrow.names)
            _check_types(file.schema_arrow)
            columns = [name for name in ("image", "labels", "truth") if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=columns, use_threads=False):
                for cells in zip(*(batch.column(name) for name in columns), strict=True):
                    number += 1
                    yield f"row {number}", partial(_row, *cells)
    except (pyarrow.ArrowException, OSError) as exc:
        raise DatasetError(f"{list_uri}: not a readable Parquet file ({exc}); {COLUMNS}") from exc


def _check_types(schema: "pyarrow.Schema") -> None:
    """Check that the columns of paths can be read as text.

    Raises:
        ArrowException: a column has another type, for example a nested one.
    """
    import pyarrow

    for name in ("image", "truth"):
        if name in schema.names:
            pyarrow.array([], schema.field(name).type).cast(pyarrow.string())


def _row(image: "pyarrow.Scalar", labels: "pyarrow.Scalar", truth: "pyarrow.Scalar | None" = None) -> ListRow:
    return ListRow(_text(image), _labels(labels.as_py()), "" if truth is None else _text(truth))


def _text(cell: "pyarrow.Scalar") -> str:
    import pyarrow

    value = cell.as_py()
    if isinstance(value, bytes):
        value = value.decode()
    return ((value if isinstance(value, str) else cell.cast(pyarrow.string()).as_py()) or "").strip()


def _labels(cell: Any) -> tuple[str, ...]:
    """Return the labels in a cell: a list of labels, a string as in a CSV file, a single id, or None."""
    if cell is None:
        return ()
    return stripped(str(label) for label in cell) if isinstance(cell, list) else split_labels(str(cell))
