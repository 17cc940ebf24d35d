"""Generated photos, labels and true masks in VOC's layout and with VOC's classes, for tests without real photos."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from clipes.tasks.inputs.pngs import palette_png
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.demo.scenes import CLASS_NAMES, scene_of_seed

SEED = 1  # three of the first nine scenes show one class and six show several, as in the nine golden photos
# Width and height [px]; the sides of the last size are not multiples of the patch size 16.
SIZES = ((160, 112), (112, 160), (150, 100))
NINE = tuple(f"scene_{number:02}" for number in range(9))
THREE_MORE = tuple(f"scene_{number:02}" for number in range(9, 12))


def write_voc_scenes(root: Path, image_ids: tuple[str, ...], scale: int = 1) -> None:
    """Write scenes below a folder as JPEGs, annotations and true masks.

    Args:
        root: root of the data set; created if it does not exist.
        image_ids: an id for each scene.
        scale: factor by which the sides of the scenes are multiplied.
    """
    vocabulary = load_vocabulary("voc12")
    palette = np.array(vocabulary.palette, np.uint8)
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for image_id, (image, truth) in zip(image_ids, voc_scenes(scale), strict=False):
        image.save(root / "JPEGImages" / f"{image_id}.jpg", quality=95)
        (root / "SegmentationClass" / f"{image_id}.png").write_bytes(palette_png(truth, palette))
        names = [vocabulary.classes[class_id - 1].name for class_id in labels_of(truth)]
        objects = "".join(f"<object><name>{name}</name></object>" for name in names)
        (root / "Annotations" / f"{image_id}.xml").write_text(f"<annotation>{objects}</annotation>")


def write_split(root: Path, name: str, image_ids: tuple[str, ...]) -> None:
    """Write a split of a data set, which lists photos by id."""
    (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("".join(f"{image_id}\n" for image_id in image_ids))


def voc_scenes(scale: int = 1) -> Iterator[tuple[Image.Image, np.ndarray]]:
    """Yield scenes whose objects all have VOC classes: RGB photo, and ids with VOC's border of 255 around objects."""
    known = load_vocabulary("voc12").known_names
    ids = np.array([0, *(known.get(name, 255) for name in CLASS_NAMES)], np.uint8)
    found = 0
    for number in count():
        width, height = (scale * side for side in SIZES[found % len(SIZES)])
        scene = scene_of_seed((SEED, number), max(width, height))
        truth = np.ascontiguousarray(ids[scene.truth][:height, :width])
        if truth.max() in (0, 255):
            continue
        found += 1
        kernel = np.ones((3, 3), np.uint8)
        truth[cv2.dilate(truth, kernel) != cv2.erode(truth, kernel)] = 255
        yield Image.fromarray(scene.image_rgb[:height, :width]), truth


def labels_of(truth: np.ndarray) -> list[int]:
    """Return the class ids of a true mask in ascending order."""
    return [int(class_id) for class_id in np.unique(truth) if class_id not in (0, 255)]


def first_voc_scene(scale: int = 1) -> Image.Image:
    """Return the photo of the first scene."""
    return next(islice(voc_scenes(scale), 1))[0]
