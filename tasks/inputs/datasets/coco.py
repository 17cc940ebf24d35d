"""Data sets in MS COCO's layout: annotations/instances_SPLIT.json and a folder of photos per split."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import (
    PHOTO_EXTENSIONS,
    Entry,
    Remark,
    dataset_root,
    mask_place,
    path_inside,
    rejected,
    spellings,
    without_extension,
)
from clipes.tasks.inputs.datasets.guards import read_row, reading_list
from clipes.tasks.inputs.datasets.label_files.coco_json import AnnotationFile, CocoImage, read_annotation_file
from clipes.tasks.inputs.datasets.label_files.coco_outlines import CocoOutlines, remark_on_outlines
from clipes.tasks.inputs.datasets.label_files.labels import LabelReader
from clipes.tasks.inputs.datasets.reach import check_secrets
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.storage.user_files import absolute, exists, join, list_names, read_lines
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.uri import is_uri
from clipes_core.errors import DatasetError, ErrorKind, PhotoError
from clipes_core.vocabulary import Vocabulary

PUBLISHED_SPLITS = ("train2014", "val2014", "train2017", "val2017")
ADVICE = "give a .json file in COCO's layout, or a .txt file with a photo and its class ids on each line"
NAME_PREFIXES = ("", "COCO_train2014_", "COCO_val2014_")
PUBLISHED_NAME = re.compile(r"(?P<folder>(?:.*/)?)(?:COCO_(?:train|val)2014_)?(?P<number>\d{12}\.jpg)")
DOWNLOAD = "download the photo, and write its path below dataset.root instead"


def read_coco(config: DatasetConfig, vocabulary: Vocabulary) -> Iterator[Entry | Reject | Remark]:
    """List the photos of a split in COCO's layout.

    A photo's labels are the categories of all its annotations, including annotations of crowds. The true masks are
    drawn from the outlines in the .json file of the split, or in the .json file that `config.truth` names, unless
    `config.truth` is a folder.

    Args:
        config: settings of the data set. `split` is the name of a split, or the path or URI of a .json or .txt file.
            The name of a split SPLIT stands for the file annotations/instances_SPLIT.json. Each line of a .txt file has
            a file name and class ids, `FILE ID ID`. The class ids start at 0, as in the files that the authors of
            CLIP-ES published.
        vocabulary: classes of the data set. The name of each category must be the name or an alias of one of them.

    Yields:
        One `Entry` or `Reject` for each image of the .json file or each line of the .txt file, in the file's order;
        then remarks about the file.

    Raises:
        ConfigError: `root` is not set.
        DatasetError: the split does not exist, or its annotation file is broken.
    """
    root = dataset_root(config)
    split_uri = _split_uri(root, config.split)
    try:
        with reading_list(split_uri, ADVICE):
            yield from _read_split(split_uri, config, vocabulary)
    except FileNotFoundError as exc:
        raise _no_split(root, split_uri) from exc


def check_coco(config: DatasetConfig) -> None:
    """Check that the annotation file or list of a split exists.

    Raises:
        ConfigError: `root` is not set.
        DatasetError: there is no such file, or it cannot be accessed.
        TransientError: the network or the server fails.
    """
    root = dataset_root(config)
    split_uri = _split_uri(root, config.split)
    if not exists(split_uri):
        raise _no_split(root, split_uri)


FORMAT = DatasetFormat(name="coco", read=read_coco, check_split=check_coco)


def _split_uri(root: str, split: str) -> str:
    named = "/" not in split and not split.endswith((".json", ".txt"))
    return join(root, f"annotations/instances_{split}.json") if named else absolute(split)


def other_names(file_name: str) -> tuple[str, ...]:
    """Return the other names that COCO gave a photo: those of 2014 have a prefix, those of 2017 have none."""
    found = PUBLISHED_NAME.fullmatch(file_name)
    if found is None:
        return ()
    names = [f"{prefix}{found['number']}" for prefix in NAME_PREFIXES]
    return tuple(f"{found['folder']}{name}" for name in names if f"{found['folder']}{name}" != file_name)


def _split_name(split_uri: str) -> str:
    return without_extension(split_uri.rpartition("/")[2]).removeprefix("instances_")


def _no_split(root: str, split_uri: str) -> DatasetError:
    return DatasetError(f"dataset.split: no file {split_uri}; {_known_splits(root)}")


def _known_splits(root: str) -> str:
    folder = join(root, "annotations")
    files = [name for name in list_names(folder) or () if name.startswith("instances_") and name.endswith(".json")]
    if files:
        return f"splits in {folder}: {', '.join(_split_name(name) for name in files)}"
    return f"{folder} has no instances_*.json; set dataset.root to the folder that contains annotations/"


def _photo_folders(root: str, split: str) -> list[str]:
    """Return the folders to search for photos, in order.

    The order is: the folders of this split, the folders of the splits that COCO published, `images`, and the root.
    """
    images = join(root, "images")
    present = {folder: list_names(folder) or () for folder in (root, images)}
    own = [join(root, split), join(images, split)]
    published = [join(folder, name) for folder in present for name in PUBLISHED_SPLITS if name in present[folder]]
    return list(dict.fromkeys([*own, *published, images, root]))


def _read_split(split_uri: str, config: DatasetConfig, vocabulary: Vocabulary) -> Iterator[Entry | Reject | Remark]:
    is_text = split_uri.endswith(".txt")
    content = None if is_text else read_annotation_file(split_uri)
    truth = absolute(config.truth) if config.truth else None
    named = truth is not None and truth.endswith(".json")
    outlined = _read_truth(str(truth)) if named else content if truth is None else None
    ids = {str(class_id - 1): class_id for class_id in vocabulary.ids.values()}
    reader = _RowReader(
        root=dataset_root(config),
        folders=tuple(_photo_folders(dataset_root(config), _split_name(split_uri))),
        truth_folder=None if named else truth,
        labels=LabelReader(ids if is_text else vocabulary.known_names, lists=is_text),
        outlines=CocoOutlines.of_file(outlined, vocabulary, by_name=named) if outlined is not None else None,
    )
    if content is None:
        lines = list(read_lines(split_uri))
        yield from _check_first_id(split_uri, [line for _, line in lines], vocabulary)
        for number, line in lines:
            yield read_row(partial(reader.of_line, line), f"line {number}", split_uri)
    else:
        for number in range(len(content.images)):
            yield read_row(partial(reader.of_image, content, number), f"images[{number}]", split_uri)
        yield from content.remarks()
    if outlined is not None:
        yield from remark_on_outlines(outlined)


def _read_truth(uri: str) -> AnnotationFile:
    try:
        return read_annotation_file(uri)
    except FileNotFoundError as exc:
        raise DatasetError(
            f"dataset.truth: no file {uri}; give a folder of PNGs or an annotation file of COCO"
        ) from exc


def _check_first_id(uri: str, lines: Iterable[str], vocabulary: Vocabulary) -> Iterator[Remark]:
    """Yield a remark if it is not certain whether the class ids of a text list start at 0.

    Raises:
        DatasetError: they start at 1.
    """
    ids = {int(label) for line in lines for label in line.split()[1:] if label.isdecimal() and len(label) < 4}
    if not ids or 0 in ids:
        return
    count, first = len(vocabulary.classes), vocabulary.classes[0].name
    if count in ids:
        raise DatasetError(
            f"{uri}: its class ids start at 1, because {count} occurs and 0 does not; with dataset.format=coco, ids "
            f"start at 0 ({first}), as in the lists of CLIP-ES: subtract 1 from each id, or use dataset.format=list"
        )
    yield Remark(
        f"clipes assumed that the class ids of the list start at 0 ({first}), as in the lists of CLIP-ES, but no line "
        f"has the id 0: if {first} has the id 1 in this list, subtract 1 from each id"
    )


@dataclass(frozen=True)
class _RowReader:
    """Turns images and lines into entries.

    Attributes:
        root: root of the data set.
        folders: folders in which photos are searched, in order.
        truth_folder: folder of the true masks; None if there is none.
        labels: finds the classes of labels.
        outlines: the file from whose outlines the true masks are drawn; None if they are not drawn.
    """

    root: str
    folders: tuple[str, ...]
    truth_folder: str | None
    labels: LabelReader
    outlines: CocoOutlines | None = None

    def of_line(self, line: str) -> Entry | Reject:
        """Return the entry of a line of a .txt file."""
        name, *labels = line.split()
        file_name = name if name.lower().endswith(PHOTO_EXTENSIONS) else f"{name}.jpg"
        return self._entry(CocoImage(file_name, tuple(labels)), other_names(file_name))

    def of_image(self, file: AnnotationFile, number: int) -> Entry | Reject:
        """Return the entry of an image of a .json file."""
        try:
            image = file.image(number)
        except PhotoError as error:
            name = file.file_name(number)
            if name is None:
                raise
            if is_uri(name):
                return self._reject_uri(CocoImage(name, ()))
            check_secrets(self.root, (name,))
            return rejected(without_extension(name), join(self.folders[0], name), error)
        return self._entry(image)

    def _entry(self, image: CocoImage, others: tuple[str, ...] = ()) -> Entry | Reject:
        if is_uri(image.file_name):
            return self._reject_uri(image)
        check_secrets(self.root, (image.file_name,), image.labels)
        try:
            paths = (*spellings(path_inside(image.file_name)), *others)
            labels = self.labels.read(image.labels)
        except PhotoError as error:
            return rejected(without_extension(image.file_name), join(self.folders[0], image.file_name), error)
        image_ids = tuple(map(without_extension, paths))
        drawn = self.outlines.image(image, image_ids) if self.outlines else None
        return Entry(
            image_ids[0],
            tuple(join(folder, path) for path in paths for folder in self.folders),
            labels.class_ids,
            tuple(uri for image_id in image_ids for uri in mask_place(self.truth_folder, image_id)),
            stated_size=drawn.stated_size if drawn else image.stated_size,
            annotations=self.outlines.annotations(drawn) if self.outlines and drawn else None,
            notes=labels.notes,
        )

    def _reject_uri(self, image: CocoImage) -> Reject:
        """Reject an image whose file name is a URI. The `Reject` repeats nothing of a URI that may have a password.

        Raises:
            PhotoError: NOT_PERMITTED; the file name may contain a password, so it must not be the id of a `Reject`.
        """
        name = image.file_name
        try:
            check_secrets(self.root, (name,), image.labels)
        except PhotoError as error:
            raise PhotoError(error.kind, f"the file name is a URL; {DOWNLOAD}") from error
        return rejected(without_extension(name), name, PhotoError(ErrorKind.MISSING, f"{name!r} is a URL; {DOWNLOAD}"))
