"""Read the images and labels of an annotation file of COCO, instances_SPLIT.json."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from clipes.tasks.inputs.datasets.entries import Remark
from clipes.tasks.inputs.datasets.label_files.image_annotations import ImageAnnotations, Outlines
from clipes.tasks.inputs.datasets.label_files.json_stream import JsonLists
from clipes.tasks.inputs.sources.table import find_whole, open_listed
from clipes.tasks.storage.listing import FileFacts
from clipes_core.config.uri import without_secrets
from clipes_core.errors import DatasetError, ErrorKind, PhotoError, StorageError, TransientError

REQUIRED_FIELDS = {
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id"),
    "categories": ("id", "name"),
}
SECTIONS = ("categories", "annotations", "images")  # in the order in which they are checked
SIZE_FIELDS = ("width", "height")
OUTLINE_FIELDS = ("segmentation", "counts")  # most of an annotation file; only whether they are empty is kept
FIELDS_READ = {
    *OUTLINE_FIELDS,
    *REQUIRED_FIELDS,
    *SIZE_FIELDS,
    *(field for fields in REQUIRED_FIELDS.values() for field in fields),
}
LARGEST_SIDE = 10**9  # px

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of an annotation file.

    Attributes:
        file_name: path of the photo, as the file spells it.
        labels: names of the categories of its annotations, unique, in order of first appearance.
        stated_size: width and height [px]; None if the file states no valid size.
        outlines: outlines of its objects; None if the file has no outlines, or if one of the objects has none.
    """

    file_name: str
    labels: tuple[str, ...]
    stated_size: tuple[int, int] | None = None
    outlines: Outlines | None = None


@dataclass(frozen=True)
class AnnotationFile:
    """The content of an annotation file. The outlines of objects, which are most of the file, stay in the file.

    Attributes:
        uri: path or URI of the file.
        fingerprint: fingerprint of the file when it was read.
        images: records of the section `images`; they are not checked yet.
        names: image id -> file names of the images with this id.
        category_names: category id -> name.
        annotations: what is kept of the annotations.
    """

    uri: str
    fingerprint: str
    images: Sequence[Any]
    names: Mapping[Any, Sequence[str]]
    category_names: Mapping[Any, str]
    annotations: ImageAnnotations

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the categories, unique, in the file's order."""
        return tuple(dict.fromkeys(self.category_names.values()))

    def image(self, number: int) -> CocoImage:
        """Return an image.

        Raises:
            PhotoError: the record of the image is broken, or another image has the same id.
        """
        record = self.images[number]
        problem = _problem(record, "images")
        if problem:
            raise PhotoError(ErrorKind.UNREADABLE_LABELS, f"images[{number}] {problem}")
        image_id = record["id"]
        names = self.names[image_id]
        if len(names) > 1:
            raise PhotoError(
                ErrorKind.UNREADABLE_LABELS,
                f"{len(names)} images have the id {image_id!r}, so their annotations cannot be told apart "
                f"({names[0]} and {names[1]}); give each image its own id, also in its annotations",
            )
        categories = self.annotations.categories.get(image_id, ())
        labels = dict.fromkeys(self.category_names.get(each, f"category_id {each}") for each in categories)
        size, outlines = _stated_size(record), self.annotations.outlines(image_id)
        return CocoImage(str(record["file_name"]), tuple(labels), size, outlines)

    def file_name(self, number: int) -> str | None:
        """Return the file name of an image, whose record may be broken; None if it has none."""
        record = self.images[number]
        name = record.get("file_name") if isinstance(record, dict) else None
        return name if isinstance(name, str) and name else None

    def remarks(self) -> Iterator[Remark]:
        """Yield a remark if annotations belong to no image."""
        unknown = self.annotations.categories.keys() - self.names.keys()
        if unknown:
            yield Remark(
                f"{len(unknown)} image_ids in the annotations match no image (the first is "
                f"{without_secrets(repr(min(unknown, key=str)))}); photos may lack their labels"
            )


def read_annotation_file(json_uri: str) -> AnnotationFile:
    """Read an annotation file.

    Raises:
        FileNotFoundError: `json_uri` does not exist.
        DatasetError: the file is broken, an annotation or a category is broken, two categories have the same id, or no
            annotation belongs to an image.
    """
    found = _look_up(json_uri)
    images: list[Any] = []
    annotations = ImageAnnotations()
    categories: list[Record] = []
    problems: dict[str, str] = {}
    with _opened(json_uri, found.fingerprint) as file:
        lists, counts = JsonLists(file, _fields_read), Counter[str]()
        for section, item in lists.items():
            number, problem = counts[section], _problem(item.value, section)
            counts[section] += 1
            if section == "images":
                images.append(item.value)
            elif problem:
                problems.setdefault(section, f"{section}[{number}] {problem}")
            elif section == "annotations":
                annotations.add(item)
            elif section == "categories":
                categories.append(item.value)
    category_names = _category_names(json_uri, categories)
    _check_sections(json_uri, lists.names, problems)
    names: dict[Any, dict[str, None]] = defaultdict(dict)
    for image in images:
        if _problem(image, "images") is None:
            names[image["id"]][str(image["file_name"])] = None
    _check_image_ids(json_uri, annotations.categories.keys(), names.keys())
    unique = {key: tuple(group) for key, group in names.items()}
    return AnnotationFile(json_uri, found.fingerprint, images, unique, category_names, annotations)


def _look_up(json_uri: str) -> FileFacts:
    with _translate_file_errors():
        found = find_whole(json_uri)
    if found is None:
        raise FileNotFoundError(json_uri)
    return found


@contextmanager
def _opened(json_uri: str, fingerprint: str) -> Iterator[BinaryIO]:
    """Open a file, and translate the errors of the block, which reads the file.

    Raises:
        DatasetError: the file is broken, or cannot be read.
        TransientError: the file has changed; or the network or the server fails.
    """
    with _translate_file_errors(), open_listed(json_uri, fingerprint) as file, _translate_json_errors(json_uri):
        yield file


@contextmanager
def _translate_file_errors() -> Iterator[None]:
    try:
        yield
    except PhotoError as exc:
        if exc.kind.transient:
            raise TransientError(exc.reason) from exc
        raise DatasetError(exc.reason) from exc
    except StorageError as exc:
        raise DatasetError(str(exc)) from exc


@contextmanager
def _translate_json_errors(json_uri: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{json_uri}: not UTF-8 text ({exc}); save the file as UTF-8") from exc
    except (ValueError, RecursionError) as exc:  # also if a number is too long, or the nesting too deep
        raise DatasetError(f"{json_uri}: broken JSON ({exc}); correct the file or download it again") from exc


def _fields_read(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object without its outlines, which make up most of an annotation file and would need much memory."""
    kept = [(key, bool(value) if key in OUTLINE_FIELDS else value) for key, value in pairs if key in FIELDS_READ]
    record = dict(kept)
    if len(record) < len(kept):
        raise ValueError(f"an object has a key twice; its keys are {', '.join(key for key, _ in kept)}")
    return record


def _check_sections(json_uri: str, present: Collection[str], problems: Mapping[str, str]) -> None:
    for section in SECTIONS:
        if section not in present:
            raise DatasetError(
                f"{json_uri}: no list named {section}; COCO's files have images, annotations and categories"
            )
        if section in problems:
            raise DatasetError(f"{json_uri}: {problems[section]}")


def _problem(record: Any, section: str) -> str | None:
    """Return what is wrong with a record; None if it has all fields that clipes needs."""
    found = record if isinstance(record, dict) else {}
    missing = [field for field in REQUIRED_FIELDS.get(section, ()) if not _is_value(found.get(field))]
    return f"has no {' and no '.join(missing)}, which must be text or a finite number" if missing else None


def _is_value(value: Any) -> bool:
    """Return whether a value can be an id or a name."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int | str) and not isinstance(value, bool)


def _category_names(json_uri: str, categories: Sequence[Record]) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for record in categories:
        name = str(record["name"])
        if names.setdefault(record["id"], name) != name:
            raise DatasetError(
                f"{json_uri}: two categories have the id {record['id']!r}: {names[record['id']]} and {name}; "
                "give each category its own id, also in the annotations"
            )
    return names


def _check_image_ids(json_uri: str, in_annotations: Collection[Any], in_images: Collection[Any]) -> None:
    """Check that at least one annotation belongs to an image.

    Raises:
        DatasetError: there are images and annotations, but no annotation belongs to an image.
    """
    if in_annotations and in_images and set(in_annotations).isdisjoint(in_images):
        annotated = without_secrets(repr(next(iter(in_annotations))))
        raise DatasetError(
            f"{json_uri}: no annotation belongs to an image: the first image_id of an annotation is {annotated}, and "
            f"the first id of an image is {next(iter(in_images))!r}; correct the ids in one of the sections"
        )


def _stated_size(record: Record) -> tuple[int, int] | None:
    width, height = (_side(record.get(side)) for side in SIZE_FIELDS)
    return (width, height) if width and height else None


def _side(side: Any) -> int | None:
    return side if isinstance(side, int) and not isinstance(side, bool) and 0 < side < LARGEST_SIDE else None
