"""Annotation files of PASCAL VOC (.xml), in VOC's folders or anywhere else."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.layouts.layout import Found, LabelledPhoto, Layout
from clipes.tasks.commands.init.photo_folder import PhotoFolder, without_suffix
from clipes.tasks.inputs.datasets.label_files.voc_xml import Annotation, parse_annotation
from clipes.tasks.inputs.datasets.voc import PRESENCE_FLAGS, SPLIT_FOLDERS
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.storage.user_files import read_bytes, read_lines
from clipes_core.errors import DatasetError, PhotoError

FIRST_SPLITS = ("train_aug", "trainval", "train")  # in order of preference, before the split with most photos
EVALUATION_SPLIT = "val"
NO_ANNOTATION = "photos without an annotation file, which are left out"


def recognise_voc(folder: PhotoFolder) -> Found | None:
    """Return the photos that have an annotation file; in VOC's folders, those of one split."""
    doubts = Doubts()
    annotations = _annotations(folder, doubts)
    photos = _labelled(folder, annotations, doubts)
    if not photos:
        return None
    names = {label for photo in photos.values() for label in photo.labels}
    of_voc = tuple(load_vocabulary("voc12").ids)
    has_truth = bool(folder.masks) and names <= set(of_voc)
    if has_truth:
        photos = _with_truth(folder, photos)
    top, splits = _splits(folder)
    split = next(
        (name for name in FIRST_SPLITS if name in splits), max(splits, key=lambda name: len(splits[name]), default="")
    )
    chosen = photos if not split else _of_split(photos, splits[split], split, doubts)
    truth = f", true masks: {sum(bool(photo.truth) for photo in chosen.values())}" if has_truth else ""
    return Found(
        "voc",
        f"annotations of PASCAL VOC{f', split {split}' if split else ''}{truth}",
        tuple(chosen.values()),
        of_voc if has_truth else (),
        {"format": "voc", "root": top, "split": split} if split else {},
        EVALUATION_SPLIT if has_truth and EVALUATION_SPLIT in splits and split != EVALUATION_SPLIT else "",
        doubts,
    )


def _annotations(folder: PhotoFolder, doubts: Doubts) -> dict[str, Annotation | None]:
    """Return the path of each XML file -> its annotation; None if it is broken."""
    found: dict[str, Annotation | None] = {}
    for path in folder.others_with(".xml"):
        try:
            found[path] = parse_annotation(read_bytes(str(folder.root / path)))
        except (PhotoError, DatasetError) as exc:
            found[path] = None
            reason = exc.reason if isinstance(exc, PhotoError) else str(exc)
            doubts.add("annotation files that cannot be read, whose photos are left out", f"{path}: {reason}")
    return found


def _labelled(
    folder: PhotoFolder, annotations: Mapping[str, Annotation | None], doubts: Doubts
) -> dict[str, LabelledPhoto]:
    """Return photo -> its labels."""
    found: dict[str, LabelledPhoto] = {}
    named = set[str]()
    for path, annotation in annotations.items():
        similar = folder.find_similar(path)
        if len(similar) != 1:
            what = "several photos" if similar else "no photo"
            doubts.add(f"annotation files to which {what} belong{'' if similar else 's'}, which are not used", path)
            continue
        named.add(similar[0])
        if annotation is not None:
            found[similar[0]] = LabelledPhoto(similar[0], tuple(dict.fromkeys(annotation.names)))
    unnamed = sorted(folder.photo_set - named)
    if found and unnamed:
        doubts.add(NO_ANNOTATION, *unnamed)
    return {photo: found[photo] for photo in sorted(found)}


def _with_truth(folder: PhotoFolder, photos: Mapping[str, LabelledPhoto]) -> dict[str, LabelledPhoto]:
    classes = [path for path in folder.masks if "object" not in posixpath.dirname(path).casefold()]
    masks = {posixpath.basename(without_suffix(path)): path for path in classes}
    return {
        path: LabelledPhoto(path, photo.labels, masks.get(posixpath.basename(without_suffix(path)), ""))
        for path, photo in photos.items()
    }


def _splits(folder: PhotoFolder) -> tuple[str, dict[str, Sequence[str]]]:
    """Return the folder that holds VOC's folders, and name of each split -> ids; no splits without VOC's folders."""
    found: dict[str, Sequence[str]] = {}
    top = ""
    for path in folder.others_with(".txt"):
        place, name = posixpath.split(path)
        kind = next((each for each in SPLIT_FOLDERS if place == each or place.endswith(f"/{each}")), None)
        if kind is None:
            continue
        top = place.removesuffix(kind).rstrip("/")
        lines = [line.split() for _, line in read_lines(str(folder.root / path))]
        if any(line[1:] in PRESENCE_FLAGS for line in lines):  # the photos of one class
            continue
        found.setdefault(without_suffix(name), [line[0] for line in lines])
    return top, found


def _of_split(
    photos: Mapping[str, LabelledPhoto], lines: Iterable[str], split: str, doubts: Doubts
) -> dict[str, LabelledPhoto]:
    by_id = {posixpath.basename(without_suffix(path)): path for path in photos}
    chosen: dict[str, LabelledPhoto] = {}
    for line in lines:
        path = by_id.get(posixpath.basename(line)) or by_id.get(posixpath.basename(without_suffix(line)))
        if path is None:
            doubts.add(f"photos of the split {split} without a file or an annotation, which are left out", line)
        else:
            chosen[path] = photos[path]
    outside = [path for path in photos if path not in chosen]
    if outside:
        doubts.add(f"photos outside the split {split}, which are not used", *outside)
    return chosen


LAYOUT = Layout("voc", "photos and annotation files of PASCAL VOC (.xml)", recognise_voc)
