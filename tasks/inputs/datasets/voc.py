"""Data sets in PASCAL VOC's layout: the folders JPEGImages, Annotations, ImageSets and SegmentationClass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from xml.etree import ElementTree

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import (
    PHOTO_EXTENSIONS,
    Entry,
    dataset_root,
    find_class_ids,
    mask_place,
    rejected,
    without_extension,
)
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.storage.listing import THREADS, FileFacts
from clipes.tasks.storage.user_files import absolute, find_files, join, list_names, read_bytes, read_lines
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
    photo_uri: str
    xml_uri: str
    truth_uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Annotation:
    """The content of an annotation file.

    Attributes:
        names: class names of the objects, in the file's order, including repetitions. Parts of objects are left out.
        stated_size: width and height [px]; None if the file does not state both.
    """

    names: tuple[str, ...]
    stated_size: tuple[int, int] | None


def read_voc(config: DatasetConfig, vocabulary: Vocabulary, labelled: bool = True) -> Iterator[Entry | Reject]:
    """List the photos of a split in VOC's layout.

    A photo's labels are the names of the top-level `<object>` elements in its annotation file.

    Args:
        config: its `split` is the name of a split file in ImageSets/Segmentation or ImageSets/Main, or the path or URI
            of such a file.
        vocabulary: classes of the data set. Their names must match the names in the annotation files, including case.
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
    lines = [_parse_line(line, root, truth) for _, line in _split_lines(root, config.split)]
    annotations = find_files(line.xml_uri for line in lines)
    read = partial(_read_entry, annotations=annotations, known=vocabulary.ids, labelled=labelled)
    with ThreadPool(THREADS) as pool:
        yield from pool.imap(read, lines, chunksize=16)


FORMAT = DatasetFormat(name="voc", read=read_voc, read_unlabelled=partial(read_voc, labelled=False))


def parse_annotation(xml: bytes) -> Annotation:
    """Parse a VOC annotation file.

    Args:
        xml: content of the annotation file.

    Raises:
        PhotoError: UNREADABLE_LABELS; the XML is broken, is not a VOC annotation, has an object without a name, or has
            a DOCTYPE. A DOCTYPE is refused because it could declare entities that expand without limit.
    """
    try:
        root = ElementTree.fromstring(xml, ElementTree.XMLParser(target=_TreeWithoutDoctype()))
    except (ElementTree.ParseError, LookupError, ValueError) as exc:
        raise _unreadable(f"broken XML: {exc}") from exc
    if root.tag != "annotation":
        raise _unreadable(f"the XML's root is <{root.tag}>, expected <annotation>")
    names = tuple((thing.findtext("name") or "").strip() for thing in root.findall("object"))
    if "" in names:
        raise _unreadable(f"object {names.index('') + 1} has no name")
    return Annotation(names, _stated_size(root))


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    sides = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    if not all(side.isascii() and side.isdecimal() and len(side) < 10 for side in sides):
        return None
    width, height = map(int, sides)
    return (width, height) if width and height else None


class _TreeWithoutDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _unreadable(f"the XML has a DOCTYPE ({name}), which is not allowed in annotations")


def _split_lines(root: str, split: str) -> list[tuple[int, str]]:
    named = "/" not in split and not split.endswith(".txt")
    places = [join(root, f"{folder}/{split}.txt") for folder in SPLIT_FOLDERS] if named else [absolute(split)]
    for place in places:
        try:
            return list(read_lines(place))
        except FileNotFoundError:
            continue
    raise DatasetError(f"dataset.split: no split file at {' or '.join(places)}; {_known_splits(root)}")


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
    """
    first, *others = line.split()
    masks = (join(root, others[0].lstrip("/")),) if others and others[0].endswith(".png") else ()
    path = first if not others or masks or others in PRESENCE_FLAGS else line.strip()
    name = path.rstrip("/").rpartition("/")[2] or line.strip()
    image_id = without_extension(name) if name.lower().endswith(PHOTO_EXTENSIONS) else name
    return _Listed(
        image_id,
        join(root, f"JPEGImages/{image_id}.jpg"),
        join(root, f"Annotations/{image_id}.xml"),
        masks + mask_place(truth_folder, image_id),
    )


def _read_entry(
    line: _Listed, annotations: Mapping[str, FileFacts], known: Mapping[str, int], labelled: bool
) -> Entry | Reject:
    if not labelled and line.xml_uri not in annotations:
        return Entry(line.image_id, (line.photo_uri,), (), line.truth_uris)
    try:
        annotation = parse_annotation(_read_annotation(line.xml_uri, annotations.get(line.xml_uri)))
        class_ids = find_class_ids(annotation.names, known)
    except PhotoError as error:
        return rejected(line.image_id, line.photo_uri, error)
    return Entry(line.image_id, (line.photo_uri,), class_ids, line.truth_uris, stated_size=annotation.stated_size)


def _read_annotation(uri: str, facts: FileFacts | None) -> bytes:
    if facts is None:
        raise _unreadable(f"no annotation at {uri}")
    if facts.size_bytes > MAX_XML_BYTES:
        raise _unreadable(f"{uri} has {facts.size_bytes} bytes, but an annotation may have at most {MAX_XML_BYTES}")
    try:
        return read_bytes(uri)
    except FileNotFoundError as exc:
        raise _unreadable(f"no annotation at {uri}") from exc
    except DatasetError as exc:
        raise _unreadable(str(exc)) from exc


def _unreadable(reason: str) -> PhotoError:
    return PhotoError(ErrorKind.UNREADABLE_LABELS, reason)
