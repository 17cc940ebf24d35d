"""Data sets in PASCAL VOC's layout: JPEGImages, Annotations, ImageSets, SegmentationClass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from xml.etree import ElementTree

from clipes_core.config import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError
from clipes_core.vocabulary import Vocabulary
from tasks.datasets.entries import (
    PHOTO_EXTENSIONS,
    Entry,
    dataset_root,
    find_class_ids,
    mask_place,
    rejected,
    without_extension,
)
from tasks.folders import THREADS, FileFacts, absolute, find_files, join, list_names, read_bytes, read_lines
from tasks.photos import Reject

SPLIT_FOLDERS = ("ImageSets/Segmentation", "ImageSets/Main")
MAX_XML_BYTES = 1 << 20  # VOC's largest annotation has 20 kB


@dataclass(frozen=True, slots=True)
class _Listed:
    """One line of a split: the places of a photo's files."""

    image_id: str
    photo_uri: str
    xml_uri: str
    truth_uris: tuple[str, ...]


def read_voc(config: DatasetConfig, vocabulary: Vocabulary) -> Iterator[Entry | Reject]:
    """List a split in VOC's layout; labels are the names of the annotations' direct objects.

    Args:
        config: `split` is a name under ImageSets/Segmentation or ImageSets/Main, or a list's path or URI.
        vocabulary: names as the annotations spell them; case counts.

    Yields:
        One entry or reject per line, in the split's order.

    Raises:
        DatasetError: there is no such split.

    Source: CLIP-ES, the published program: difficult and truncated objects count, parts do not.
    """
    root = dataset_root(config)
    truth = absolute(config.truth) if config.truth else join(root, "SegmentationClass")
    lines = [_parse_line(line, root, truth) for _, line in _split_lines(root, config.split)]
    annotations = find_files(line.xml_uri for line in lines)
    read = partial(_read_entry, annotations=annotations, known=vocabulary.ids)
    with ThreadPool(THREADS) as pool:
        yield from pool.imap(read, lines, chunksize=16)


def object_names(xml: bytes) -> tuple[str, ...]:
    """Names of the direct objects of a VOC annotation, in its order, repeated ones too.

    Args:
        xml: an annotation file's content.

    Raises:
        PhotoError: UNREADABLE_LABELS: broken XML, another document, an object without a name, or a DOCTYPE,
            which could declare entities that expand without bound.
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
    return names


class _TreeWithoutDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise _unreadable(f"the XML has a DOCTYPE ({name}), which annotations have no use for")


def _split_lines(root: str, split: str) -> list[tuple[int, str]]:
    named = "/" not in split and not split.endswith(".txt")
    places = [join(root, f"{folder}/{split}.txt") for folder in SPLIT_FOLDERS] if named else [absolute(split)]
    for place in places:
        try:
            return list(read_lines(place))
        except FileNotFoundError:
            continue
    raise DatasetError(f"dataset.split: no list at {' or '.join(places)}; {_known_splits(root)}")


def _known_splits(root: str) -> str:
    files = [name for folder in SPLIT_FOLDERS for name in list_names(join(root, folder)) or ()]
    names = sorted({name.removesuffix(".txt") for name in files if name.endswith(".txt")})
    if names:
        return f"splits in {root}: {', '.join(names)}"
    return f"{root} has no ImageSets; set dataset.root to the folder that holds JPEGImages and ImageSets"


def _parse_line(line: str, root: str, truth_folder: str) -> _Listed:
    """Take `ID`, `ID 1` as in ImageSets/Main, or `/JPEGImages/ID.jpg /SegmentationClassAug/ID.png`."""
    first, *others = line.split()
    name = first.rpartition("/")[2]
    image_id = without_extension(name) if name.lower().endswith(PHOTO_EXTENSIONS) else name
    masks = (join(root, others[0].lstrip("/")),) if others and others[0].endswith(".png") else ()
    return _Listed(
        image_id,
        join(root, f"JPEGImages/{image_id}.jpg"),
        join(root, f"Annotations/{image_id}.xml"),
        masks + mask_place(truth_folder, image_id),
    )


def _read_entry(line: _Listed, annotations: Mapping[str, FileFacts], known: Mapping[str, int]) -> Entry | Reject:
    try:
        names = object_names(_read_annotation(line.xml_uri, annotations.get(line.xml_uri)))
        return Entry(line.image_id, (line.photo_uri,), find_class_ids(names, known), line.truth_uris)
    except PhotoError as error:
        return rejected(line.image_id, line.photo_uri, error)


def _read_annotation(uri: str, facts: FileFacts | None) -> bytes:
    if facts is None:
        raise _unreadable(f"no annotation at {uri}")
    if facts.size_bytes > MAX_XML_BYTES:
        raise _unreadable(f"{uri} has {facts.size_bytes} bytes, at most {MAX_XML_BYTES} are read")
    try:
        return read_bytes(uri)
    except FileNotFoundError as exc:
        raise _unreadable(f"no annotation at {uri}") from exc


def _unreadable(reason: str) -> PhotoError:
    return PhotoError(ErrorKind.UNREADABLE_LABELS, reason)
