"""Annotation files of MS COCO, such as those of CVAT, Roboflow and Label Studio."""

import posixpath

from clipes.tasks.commands.init.doubts import Doubts
from clipes.tasks.commands.init.layouts.layout import Found, LabelledPhoto, Layout
from clipes.tasks.commands.init.matching import match_photos
from clipes.tasks.commands.init.photo_folder import PhotoFolder
from clipes.tasks.inputs.datasets.label_files.coco_json import AnnotationFile, CocoImage, read_annotation_file
from clipes_core.errors import DatasetError, PhotoError

OTHER_TASKS = ("captions_", "person_keypoints_", "panoptic_", "stuff_", "image_info_")  # files of COCO without classes


def recognise_coco(folder: PhotoFolder) -> Found | None:
    """Return the photos of the annotation file that names most photos of the folder."""
    files: dict[str, AnnotationFile] = {}
    broken = Doubts()
    for path in folder.others_with(".json"):
        if posixpath.basename(path).startswith(OTHER_TASKS):
            continue
        try:
            files[path] = read_annotation_file(str(folder.root / path))
        except DatasetError as exc:
            broken.add("JSON files that are no annotation files of COCO, which are not used", f"{path} ({exc})")
    found = {path: _read(folder, path, content) for path, content in files.items()}
    chosen = max(found, key=lambda path: len(found[path].photos), default="")
    if not chosen or not found[chosen].photos:
        return None
    best = found.pop(chosen)
    if found:
        best.doubts.add("other annotation files, which are not used (a run reads one of them)", *found)
    for doubt in broken.found():
        best.doubts.add(doubt.text, *doubt.examples)
    return best


def _read(folder: PhotoFolder, path: str, content: AnnotationFile) -> Found:
    doubts = Doubts()
    images: dict[str, CocoImage] = {}
    for number in range(len(content.images)):
        try:
            image = content.image(number)
        except PhotoError as error:
            doubts.add(f"{path} has broken records of images, whose photos are left out", error.reason)
            continue
        if images.setdefault(image.file_name, image) is not image:
            doubts.add(f"{path} has several images with the same file name; only the first is used", image.file_name)
    base, source = posixpath.dirname(path), posixpath.basename(path)
    places = dict.fromkeys(images, "images")
    matches = match_photos(folder, places, base, source, doubts)
    photos = {
        matches[name]: LabelledPhoto(matches[name], image.labels) for name, image in images.items() if name in matches
    }
    for remark in content.remarks():
        doubts.add(remark.text)
    return Found(
        "coco",
        f"{path}: COCO's annotations ({len(content.categories)} categories{_outlines(content)})",
        tuple(photos.values()),
        content.categories,
        _settings(path),
        doubts=doubts,
    )


def _outlines(content: AnnotationFile) -> str:
    return ", with outlines, from which clipes draws true masks" if content.annotations.any_outlined else ""


def _settings(path: str) -> dict[str, str]:
    base, source = posixpath.split(path)
    root = posixpath.dirname(base) if posixpath.basename(base) == "annotations" else base
    in_place = posixpath.join(root, "annotations") == base and source.startswith("instances_")
    split = source.removeprefix("instances_").removesuffix(".json") if in_place else path
    return {"format": "coco", "root": root, "split": split}


LAYOUT = Layout("coco", "photos and an annotation file of COCO (.json)", recognise_coco)
