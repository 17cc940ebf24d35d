"""Data sets whose photos and labels are listed in a single file (the list file): CSV, Parquet or plain text."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import (
    PHOTO_EXTENSIONS,
    Entry,
    find_class_ids,
    mask_place,
    path_inside,
    rejected,
    without_extension,
)
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.storage.user_files import (
    absolute,
    check_protocol,
    is_absolute,
    join,
    parent,
    read_bytes,
    read_lines,
    read_text,
)
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pyarrow

COLUMNS = "a list file needs the columns image and labels, and may have the column truth"


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a list file, with the paths and labels as the file spells them."""

    image: str
    labels: tuple[str, ...]
    truth: str = ""


def read_list(config: DatasetConfig, vocabulary: Vocabulary) -> Iterator[Entry | Reject]:
    """Yield the photos of a list file: a .csv file, a .parquet file, or a text file with any other suffix.

    Args:
        config: its `split` is the path or URI of the list file. Relative paths in the list file start at `root` or, if
            `root` is not set, at the folder of the list file.
        vocabulary: classes of the data set. Each label must be the name, an alias or the id (1..K) of a class.

    Yields:
        One `Entry` or `Reject` per row, in the order of the list file.

    Raises:
        DatasetError: the list file is missing or broken, or lacks a column.
    """
    list_uri = absolute(config.split)
    root = absolute(config.root) if config.root else parent(list_uri)
    truth_folder = absolute(config.truth) if config.truth else None
    known = {str(class_id): class_id for class_id in vocabulary.ids.values()} | vocabulary.known_names
    try:
        for number, row in enumerate(_rows(list_uri), start=1):
            yield row if isinstance(row, Reject) else _entry(number, row, root, truth_folder, known)
    except FileNotFoundError as exc:
        advice = "give the path or URI of a .csv, .parquet or text file"
        raise DatasetError(f"dataset.split: no list file at {list_uri}; {advice}") from exc


FORMAT = DatasetFormat(name="list", read=read_list, needs_root=False, split_is_a_path=True)


def _rows(list_uri: str) -> Iterator[_Row | Reject]:
    if list_uri.lower().endswith(".csv"):
        return _csv_rows(list_uri)
    return _parquet_rows(list_uri) if list_uri.lower().endswith(".parquet") else _text_rows(list_uri)


def _csv_rows(list_uri: str) -> Iterator[_Row | Reject]:
    reader = csv.reader(StringIO(read_text(list_uri), newline=""), strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        _check_columns(list_uri, header)
        image, labels = header.index("image"), header.index("labels")
        truth = header.index("truth") if "truth" in header else None
        for cells in reader:
            if len(cells) == len(header):
                mask = "" if truth is None else cells[truth].strip()
                yield _Row(cells[image].strip(), _split_labels(cells[labels]), mask)
            elif cells:
                yield _wrong_cell_count(list_uri, reader.line_num, len(cells), len(header))
    except csv.Error as exc:
        raise DatasetError(f"{list_uri}: line {reader.line_num}: {exc}; save the file as plain CSV") from exc


def _wrong_cell_count(list_uri: str, number: int, cells: int, columns: int) -> Reject:
    reason = f"line {number} has {cells} cells, but the header has {columns}: separate labels by ;"
    error = PhotoError(ErrorKind.UNREADABLE_LABELS, reason)
    return rejected(f"line {number}", list_uri, error)


def _parquet_rows(list_uri: str) -> Iterator[_Row]:
    import pyarrow.parquet  # imported here, because the import is slow and few data sets need it

    source = BytesIO(read_bytes(list_uri))
    try:
        with pyarrow.parquet.ParquetFile(source, pre_buffer=False) as file:
            _check_columns(list_uri, file.schema_arrow.names)
            columns = [name for name in ("image", "labels", "truth") if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=columns, use_threads=False):
                yield from _batch_rows(batch)
    except (pyarrow.ArrowException, OSError) as exc:
        raise DatasetError(f"{list_uri}: not a readable Parquet file ({exc}); {COLUMNS}") from exc


def _batch_rows(batch: "pyarrow.RecordBatch") -> Iterator[_Row]:
    import pyarrow

    images = batch.column("image").cast(pyarrow.string()).to_pylist()
    labels = batch.column("labels").to_pylist()
    has_truth = "truth" in batch.schema.names
    truths = batch.column("truth").cast(pyarrow.string()).to_pylist() if has_truth else [None] * len(images)
    for image, label, truth in zip(images, labels, truths, strict=True):
        yield _Row((image or "").strip(), _label_cell(label), (truth or "").strip())


def _text_rows(list_uri: str) -> Iterator[_Row]:
    for _, line in read_lines(list_uri):
        path, tab, labels = line.partition("\t")
        if tab:
            yield _Row(path.strip(), _split_labels(labels))
        else:
            path, *names = line.split()
            yield _Row(path, tuple(names))


def _check_columns(list_uri: str, header: list[str]) -> None:
    missing = [column for column in ("image", "labels") if column not in header]
    if missing:
        found = ", ".join(header) or "none"
        raise DatasetError(f"{list_uri}: no column {' and no column '.join(missing)}; found: {found}; {COLUMNS}")


def _split_labels(cell: str) -> tuple[str, ...]:
    return _stripped(cell.split(";"))


def _label_cell(cell: Any) -> tuple[str, ...]:
    """Return the labels in a Parquet cell: a list of labels, a string as in a CSV file, a single id, or None."""
    if cell is None:
        return ()
    return _stripped(str(label) for label in cell) if isinstance(cell, list) else _split_labels(str(cell))


def _stripped(labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(label.strip() for label in labels if label.strip())


def _entry(number: int, row: _Row, root: str, truth_folder: str | None, known: Mapping[str, int]) -> Entry | Reject:
    try:
        image_id, uri = _place(row.image, root)
    except PhotoError as error:
        return rejected(row.image or f"row {number}", row.image, error)
    try:
        class_ids = find_class_ids(row.labels, known)
    except PhotoError as error:
        return rejected(image_id, uri, _hint_at_spaces(row, error))
    try:
        named_truth = _check_openable(_resolve(row.truth, root)) if row.truth else None
    except PhotoError as error:
        return rejected(image_id, uri, PhotoError(ErrorKind.BAD_TRUTH, error.reason))
    return Entry(image_id, (uri,), class_ids, mask_place(truth_folder, image_id), named_truth)


def _hint_at_spaces(row: _Row, error: PhotoError) -> PhotoError:
    """Add a hint to an error if one of the labels looks like the end of a path that contains spaces."""
    if any(label.lower().endswith(PHOTO_EXTENSIONS) for label in row.labels):
        return PhotoError(error.kind, f"{error.reason}; a path with spaces needs a TAB before its labels")
    return error


def _check_openable(uri: str) -> str:
    """Check that an installed package can open a URI, and return the URI.

    Raises:
        PhotoError: MISSING; no installed package knows the protocol of the URI, or the URI contains credentials.
    """
    try:
        check_protocol(uri)
    except DatasetError as exc:
        raise PhotoError(ErrorKind.MISSING, str(exc)) from exc
    return uri


def _place(image: str, root: str) -> tuple[str, str]:
    """Return the id and the URI of a photo; `image` is a URI, an absolute path, or a path relative to `root`."""
    if not is_absolute(image):
        inside = path_inside(image)
        return without_extension(inside), join(root, inside)
    uri = _check_openable(absolute(image))
    beneath = uri.removeprefix(join(root, "")).rpartition("://")[2].lstrip("/")
    return without_extension(path_inside(beneath)), uri


def _resolve(path: str, root: str) -> str:
    return absolute(path if is_absolute(path) else join(root, path))
