"""Generated scenes as a data set: written once in VOC's layout, then read as one."""

import io
import logging
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from xml.etree import ElementTree

import numpy as np
from fsspec.core import url_to_fs
from PIL import Image

from clipes_core.config import DatasetConfig
from clipes_core.demo.scenes import Scene, scene_of_seed
from clipes_core.vocabulary import Vocabulary
from tasks.datasets.entries import Entry, dataset_root
from tasks.datasets.voc import read_voc
from tasks.folders import THREADS, join
from tasks.photos import Reject

VERSION = 1  # of the generator; raised when the same seed gives other scenes
SCENE_SIZE = 160  # [px]
SPLIT = "all"
SPLIT_FILE = f"ImageSets/Segmentation/{SPLIT}.txt"  # written last: where it is, all scenes are
JPEG_QUALITY = 95

logger = logging.getLogger(__name__)


def scenes_folder(config: DatasetConfig) -> str:
    """Where in the store scenes of a seed and count are kept."""
    return f"scenes/v{VERSION}-seed{config.seed}-count{config.count}"


def read_scenes(config: DatasetConfig, vocabulary: Vocabulary) -> Iterator[Entry | Reject]:
    """List generated scenes with their truth; those that are not there yet are made first.

    Args:
        config: `root` is the folder they are made in, `seed` and `count` say which and how many.
        vocabulary: names of the classes that are known.

    Yields:
        One entry or reject per scene.

    Raises:
        DatasetError: root is not set or cannot be read.
    """
    root = dataset_root(config)
    fs, path = url_to_fs(join(root, SPLIT_FILE))
    if not fs.exists(path):
        logger.info("making %d scenes of seed %d in %s", config.count, config.seed, root)
        write_scenes(root, config.seed, config.count, vocabulary)
    yield from read_voc(config.model_copy(update={"split": SPLIT}), vocabulary)


def write_scenes(root: str, seed: int, count: int, vocabulary: Vocabulary) -> None:
    """Make scenes and write them in VOC's layout: photos, annotations, true masks, and last the list of them.

    Args:
        root: folder or URI; made where it is not there.
        seed: of the scenes; scene i depends on the seed and i alone.
        count: how many.
        vocabulary: whose colours the true masks have.
    """
    palette = np.asarray(vocabulary.palette, dtype=np.uint8).tobytes()

    def write(index: int) -> str:
        image_id = f"scene_{seed}_{index:05d}"
        for place, data in _files(image_id, scene_of_seed((seed, index), SCENE_SIZE), palette).items():
            _write(join(root, place), data)
        return image_id

    with ThreadPool(THREADS) as threads:
        image_ids = threads.map(write, range(count))
    _write(join(root, SPLIT_FILE), "".join(f"{image_id}\n" for image_id in image_ids).encode())


def _files(image_id: str, scene: Scene, palette: bytes) -> dict[str, bytes]:
    """Place below the root -> content, of one scene."""
    truth = Image.fromarray(scene.truth)
    truth.putpalette(palette)
    return {
        f"JPEGImages/{image_id}.jpg": _encoded(
            Image.fromarray(scene.image_rgb), "JPEG", quality=JPEG_QUALITY, subsampling=0
        ),
        f"SegmentationClass/{image_id}.png": _encoded(truth, "PNG"),
        f"Annotations/{image_id}.xml": _annotation(image_id, scene),
    }


def _encoded(image: Image.Image, image_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _annotation(image_id: str, scene: Scene) -> bytes:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{image_id}.jpg"
    size = ElementTree.SubElement(root, "size")
    for name, length in zip(("height", "width", "depth"), scene.image_rgb.shape, strict=True):
        ElementTree.SubElement(size, name).text = str(length)
    for one in scene.objects:
        ElementTree.SubElement(ElementTree.SubElement(root, "object"), "name").text = one.name
    ElementTree.indent(root)
    return ElementTree.tostring(root)


def _write(uri: str, data: bytes) -> None:
    fs, path = url_to_fs(uri)
    fs.makedirs(fs._parent(path), exist_ok=True)
    fs.pipe_file(path, data)
