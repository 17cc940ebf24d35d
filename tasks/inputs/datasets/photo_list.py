"""Data sets whose photos and labels are listed in a single file (the list file): CSV, Parquet or plain text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import (
    PHOTO_EXTENSIONS,
    Entry,
    mask_place,
    path_inside,
    rejected,
    spellings,
    unwritable,
    without_extension,
)
from clipes.tasks.inputs.datasets.guards import read_row, reading_list
from clipes.tasks.inputs.datasets.label_files.labels import LabelReader
from clipes.tasks.inputs.datasets.label_files.list_rows import COLUMNS, ListRow, csv_rows, text_rows
from clipes.tasks.inputs.datasets.label_files.parquet_list import parquet_rows
from clipes.tasks.inputs.datasets.reach import Reach, check_secrets, list_reach
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.inputs.sources.table import SOURCES
from clipes.tasks.storage.user_files import (
    absolute,
    check_openable,
    check_protocol,
    exists,
    is_absolute,
    join,
    parent,
)
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError, TransientError
from clipes_core.vocabulary import Vocabulary


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
    reader = _RowReader(
        root=root,
        reach=list_reach(config, list_uri, root),
        truth_folder=absolute(config.truth) if config.truth else None,
        labels=LabelReader(_known_labels(vocabulary), lists=True),
    )
    try:
        with reading_list(list_uri, COLUMNS):
            for where, read in _rows(list_uri):
                yield read_row(partial(reader.entry, where, read), where, list_uri)
    except FileNotFoundError as exc:
        raise _no_list(list_uri) from exc


def check_list(config: DatasetConfig) -> None:
    """Check that the list file of a data set exists.

    Raises:
        DatasetError: there is no such file, or it cannot be accessed.
        TransientError: the network or the server fails.
    """
    list_uri = absolute(config.split)
    if not exists(list_uri):
        raise _no_list(list_uri)


def _no_list(list_uri: str) -> DatasetError:
    advice = "give the path or URI of a .csv, .parquet or text file"
    return DatasetError(f"dataset.split: no list file at {list_uri}; {advice}")


FORMAT = DatasetFormat(name="list", read=read_list, check_split=check_list, needs_root=False, split_is_a_path=True)


def _rows(list_uri: str) -> Iterator[tuple[str, Callable[[], ListRow]]]:
    if list_uri.lower().endswith(".csv"):
        return csv_rows(list_uri)
    return parquet_rows(list_uri) if list_uri.lower().endswith(".parquet") else text_rows(list_uri)


def _known_labels(vocabulary: Vocabulary) -> dict[str, int]:
    return {str(class_id): class_id for class_id in vocabulary.ids.values()} | vocabulary.known_names


@dataclass(frozen=True)
class _RowReader:
    """Turns the rows of a list into entries.

    Attributes:
        root: folder from which relative paths start.
        reach: places that the list may name.
        truth_folder: folder of the true masks; None if there is none.
        labels: finds the classes of labels.
    """

    root: str
    reach: Reach
    truth_folder: str | None
    labels: LabelReader

    def entry(self, where: str, read: Callable[[], ListRow]) -> Entry | Reject:
        """Read a row, and return its entry. The argument `where` is the location of the row in the list."""
        row = read()
        check_secrets(self.root, (row.image, row.truth), row.labels)
        try:
            image_ids, uris = _places(row.image, self.root, self.reach)
        except PhotoError as error:
            return rejected(row.image or where, row.image, error)
        try:
            found = self.labels.read(row.labels)
        except PhotoError as error:
            return rejected(image_ids[0], uris[0], _hint_at_spaces(row, error))
        try:
            named_truth = _usable(_resolve(row.truth, self.root), self.reach) if row.truth else None
        except PhotoError as error:
            return rejected(image_ids[0], uris[0], PhotoError(ErrorKind.BAD_TRUTH, error.reason))
        truths = tuple(uri for image_id in image_ids for uri in mask_place(self.truth_folder, image_id))
        return Entry(image_ids[0], uris, found.class_ids, truths, named_truth, notes=found.notes)


def _hint_at_spaces(row: ListRow, error: PhotoError) -> PhotoError:
    """Add a hint to an error if one of the labels looks like the end of a path that contains spaces."""
    if any(label.lower().endswith(PHOTO_EXTENSIONS) for label in row.labels):
        return PhotoError(error.kind, f"{error.reason}; a path with spaces needs a TAB before its labels")
    return error


def _usable(uri: str, reach: Reach) -> str:
    """Return an absolute path or URI that a line names, after checking that clipes may and can open it.

    Raises:
        PhotoError: NOT_PERMITTED; the URI is not in the list's reach. MISSING; no installed package can open the URI,
            or the URI contains a character that names cannot contain. NETWORK; its server does not answer.
    """
    if unwritable(uri):
        raise PhotoError(ErrorKind.MISSING, f"{uri!r} contains a character that names of files cannot contain")
    try:
        check_protocol(uri)
        reach.check(uri)
        check_openable(uri)
    except DatasetError as exc:
        raise PhotoError(ErrorKind.MISSING, str(exc)) from exc
    except TransientError as exc:
        raise PhotoError(ErrorKind.NETWORK, str(exc)) from exc
    return uri


def _places(image: str, root: str, reach: Reach) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the spellings of a photo's id, and the URIs at which the photo may be found.

    Args:
        image: URI, absolute path, or path relative to `root`.
        root: folder from which relative paths start.
        reach: places that the list may name.
    """
    if not is_absolute(image):
        paths = spellings(path_inside(image))
        return tuple(map(_image_id, paths)), tuple(join(root, path) for path in paths)
    uri = _usable(absolute(image), reach)
    beneath = uri.removeprefix(join(root, "")).rpartition("://")[2].lstrip("/")
    return (_image_id(path_inside(beneath)),), (uri,)


def _image_id(path: str) -> str:
    return without_extension(SOURCES.key_path(path))


def _resolve(path: str, root: str) -> str:
    return absolute(path if is_absolute(path) else join(root, path))
