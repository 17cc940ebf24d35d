"""Data sets in PASCAL VOC's layout: the folders JPEGImages, Annotations, ImageSets and SegmentationClass."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import (
    PHOTO_EXTENSIONS,
    Entry,
    dataset_root,
    mask_place,
    path_inside,
    without_extension,
)
from clipes.tasks.inputs.datasets.guards import read_row, reading_list
from clipes.tasks.inputs.datasets.label_files.labels import LabelReader
from clipes.tasks.inputs.datasets.label_files.voc_xml import parse_annotation, unreadable
from clipes.tasks.inputs.datasets.reach import check_secrets
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.storage.listing import THREADS, FileFacts
from clipes.tasks.storage.user_files import absolute, exists, find_files, join, list_names, read_bytes, read_lines
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError
from clipes_core.vocabulary import Vocabulary

PRESENCE_FLAGS = (["-1"], ["0"], ["1"])  # second column of the files in ImageSets/Main: absent, difficult, present
SPLIT_FOLDERS = ("ImageSets/Segmentation", "ImageSets/Main")
MAX_XML_BYTES = 1 << 20  # ample: the largest annotation of VOC has 20 kB


@dataclass(frozen=True, slots=True)
class _Listed:
    """The photo to which one line of a split file refers, and the URIs of the photo's files."""

    image_id: str
    photo_uris: tuple[str, ...]
    xml_uri: str
    truth_uris: tuple[str, ...]


def read_voc(config: DatasetConfig, vocabulary: Vocabulary, labelled: bool = True) -> Iterator[Entry | Reject]:
    """List the photos of a split in VOC's layout.

    A photo's labels are the names of the top-level `<object>` elements in its annotation file.

    Args:
        config: its `split` is the name of a split file in ImageSets/Segmentation or ImageSets/Main, or the path or URI
            of such a file.
        vocabulary: classes of the data set. The name of each object must be the name or an alias of one of them.
        labelled: if True, a photo without an annotation file is rejected; if False, it is listed without labels.

    Yields:
        One `Entry` or `Reject` for each line of the split file, in the same order.

    Raises:
        ConfigError: `root` is not set.
        DatasetError: the split does not exist.

    Source: the program that the authors of CLIP-ES published. Difficult and truncated objects count as labels, but
    parts of objects do not.
    """
    root = dataset_root(config)
    truth = absolute(config.truth) if config.truth else join(root, "SegmentationClass")
    split_uri = _find_split(root, config.split)
    with reading_list(split_uri, "give a text file with one photo on each line"):
        lines = [
            read_row(partial(_parse_line, line, root, truth), f"line {number}", split_uri)
            for number, line in _split_lines(root, split_uri)
        ]
        annotations = find_files(line.xml_uri for line in lines if isinstance(line, _Listed))
        labels = LabelReader(vocabulary.known_names)
        read = partial(_read_entry, annotations=annotations, labels=labels, labelled=labelled)
        with ThreadPool(THREADS) as pool:
            yield from pool.imap(read, lines, chunksize=16)


def check_voc(config: DatasetConfig) -> None:
    """Check that the split file of a split exists.

    Raises:
        ConfigError: `root` is not set.
        DatasetError: there is no such file, or it cannot be accessed.
        TransientError: the network or the server fails.
    """
    _find_split(dataset_root(config), config.split)


FORMAT = DatasetFormat(
    name="voc", read=read_voc, read_unlabelled=partial(read_voc, labelled=False), check_split=check_voc
)


def _find_split(root: str, split: str) -> str:
    named = "/" not in split and not split.endswith(".txt")
    places = [join(root, f"{folder}/{split}.txt") for folder in SPLIT_FOLDERS] if named else [absolute(split)]
    for place in places:
        if exists(place):
            return place
    raise _no_split(root, *places)


def _split_lines(root: str, split_uri: str) -> list[tuple[int, str]]:
    try:
        return list(read_lines(split_uri))
    except FileNotFoundError as exc:
        raise _no_split(root, split_uri) from exc


def _no_split(root: str, *places: str) -> DatasetError:
    return DatasetError(f"dataset.split: no split file at {' or '.join(places)}; {_known_splits(root)}")


def _known_splits(root: str) -> str:
    files = [name for folder in SPLIT_FOLDERS for name in list_names(join(root, folder)) or ()]
    names = sorted({name.removesuffix(".txt") for name in files if name.endswith(".txt")})
    if names:
        return f"splits in {root}: {', '.join(names)}"
    return f"{root} has no ImageSets; set dataset.root to the folder that holds JPEGImages and ImageSets"


def _parse_line(line: str, root: str, truth_folder: str) -> _Listed:
    """Parse a line of a split file.

    A line is `ID`, `ID FLAG` (FLAG is -1, 0 or 1, as in ImageSets/Main), or
    `/JPEGImages/ID.jpg /SegmentationClassAug/ID.png`. Any other line that contains spaces is an id with spaces.

    Raises:
        PhotoError: NOT_PERMITTED; the line may contain a password. BAD_TRUTH; its mask is outside the root.
    """
    first, *others = line.split()
    check_secrets(root, (line.strip(), *others))
    try:
        masks = (join(root, path_inside(others[0].lstrip("/"))),) if others and others[0].endswith(".png") else ()
    except PhotoError as error:
        raise PhotoError(ErrorKind.BAD_TRUTH, error.reason) from error
    path = first if not others or masks or others in PRESENCE_FLAGS else line.strip()
    name = path.rstrip("/").rpartition("/")[2] or line.strip()
    image_id = without_extension(name) if name.lower().endswith(PHOTO_EXTENSIONS) else name
    named = posixpath.splitext(name)[1] if image_id != name else ""
    return _Listed(
        image_id,
        tuple(join(root, f"JPEGImages/{image_id}{extension}") for extension in _extensions(named)),
        join(root, f"Annotations/{image_id}.xml"),
        masks + mask_place(truth_folder, image_id),
    )


def _extensions(named: str) -> Iterable[str]:
    """Return the extensions that a photo may have; the one that the line names comes first."""
    return dict.fromkeys(extension for extension in (named, *PHOTO_EXTENSIONS) if extension)


def _read_entry(
    line: _Listed | Reject, annotations: Mapping[str, FileFacts], labels: LabelReader, labelled: bool
) -> Entry | Reject:
    if isinstance(line, Reject):
        return line
    return read_row(lambda: _entry(line, annotations, labels, labelled), line.image_id, line.photo_uris[0])


def _entry(line: _Listed, annotations: Mapping[str, FileFacts], labels: LabelReader, labelled: bool) -> Entry:
    if not labelled and line.xml_uri not in annotations:
        return Entry(line.image_id, line.photo_uris, (), line.truth_uris)
    annotation = parse_annotation(_read_annotation(line.xml_uri, annotations.get(line.xml_uri)))
    found = labels.read(annotation.names)
    return Entry(
        line.image_id,
        line.photo_uris,
        found.class_ids,
        line.truth_uris,
        stated_size=annotation.stated_size,
        notes=found.notes,
    )


def _read_annotation(uri: str, facts: FileFacts | None) -> bytes:
    if facts is None:
        raise unreadable(f"no annotation at {uri}")
    if facts.size_bytes > MAX_XML_BYTES:
        raise unreadable(f"{uri} has {facts.size_bytes} bytes, but an annotation may have at most {MAX_XML_BYTES}")
    try:
        return read_bytes(uri)
    except FileNotFoundError as exc:
        raise unreadable(f"no annotation at {uri}") from exc
    except DatasetError as exc:
        raise unreadable(str(exc)) from exc
