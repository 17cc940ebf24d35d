"""A data set of generated photos (scenes), which clipes writes and reads in VOC's layout."""

import io
import logging
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import Entry, dataset_root
from clipes.tasks.inputs.datasets.voc import read_voc
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.storage.listing import THREADS
from clipes.tasks.storage.user_files import find_files, join, read_bytes, write_bytes
from clipes_core.config.dataset import DatasetConfig
from clipes_core.demo.scenes import CLASS_NAMES, Scene, scene_of_seed
from clipes_core.errors import DatasetError
from clipes_core.vocabulary import Vocabulary

VERSION = 1  # version of the generator; increment it if a code change alters the scenes of a seed
SCENE_SIZE = 160  # [px]
SPLIT_FOLDER = "ImageSets/Segmentation"
JPEG_QUALITY = 95

logger = logging.getLogger(__name__)


def read_scenes(config: DatasetConfig, vocabulary: Vocabulary) -> Iterator[Entry | Reject]:
    """Generate the scenes that do not exist yet, then list all scenes of the data set with their true masks.

    A split file that has changed is written again, because it would select other scenes.

    Args:
        config: its `seed` and `count` determine the scenes. The scenes of each seed have their own folder in `root`.
        vocabulary: must have exactly the classes of the generator, in the same order.

    Yields:
        One `Entry` or `Reject` per scene.

    Raises:
        ConfigError: `root` is not set.
        DatasetError: the vocabulary has different classes, or files below `root` cannot be read or written.
    """
    names = tuple(entry.name for entry in vocabulary.classes)
    if names != CLASS_NAMES:
        raise DatasetError(
            f"dataset.classes: generated scenes show {', '.join(CLASS_NAMES)}; set dataset.classes to scenes"
        )
    root = join(dataset_root(config), f"v{VERSION}-seed{config.seed}")
    split = f"first{config.count}"
    listed = join(root, f"{SPLIT_FOLDER}/{split}.txt")
    try:
        intact = read_bytes(listed) == _split_file(config)
        if not intact:
            logger.warning("%s has changed since clipes wrote it: clipes writes it again", listed)
    except FileNotFoundError:
        intact = False
        logger.info("generating %d scenes of seed %d in %s", config.count, config.seed, root)
    if not intact:
        write_scenes(root, split, config, vocabulary)
    yield from read_voc(config.model_copy(update={"root": root, "split": split}), vocabulary)


FORMAT = DatasetFormat(name="scenes", read=read_scenes, needs_root=False, folder_in_store="scenes")


def write_scenes(root: str, split: str, config: DatasetConfig, vocabulary: Vocabulary) -> None:
    """Generate scenes, and write their photos, annotations and true masks in VOC's layout, then a split file.

    Files that already exist are kept.

    Args:
        root: path or URI of the folder for the scenes of a seed; created if it does not exist.
        split: name of the split file, without its extension. The file lists the scenes. It is written last, so that it
            never lists a scene that does not exist.
        config: its `seed` and `count` determine the scenes. Scene i depends only on the seed and on i.
        vocabulary: defines the palette of the true masks.
    """
    palette = np.asarray(vocabulary.palette, dtype=np.uint8).tobytes()
    image_ids = _image_ids(config)
    places = {image_id: [join(root, place) for place in _places(image_id)] for image_id in image_ids}
    existing = find_files(place for scene in places.values() for place in scene)

    def write(index: int) -> None:
        image_id = image_ids[index]
        if all(place in existing for place in places[image_id]):
            return
        scene = scene_of_seed(scene_seed(config.seed, index), SCENE_SIZE)
        for place, data in zip(places[image_id], _contents(image_id, scene, palette), strict=True):
            if place not in existing:
                write_bytes(place, data)

    with ThreadPool(THREADS) as threads:
        threads.map(write, range(config.count))
    write_bytes(join(root, f"{SPLIT_FOLDER}/{split}.txt"), _split_file(config))


def scene_seed(seed: int, index: int) -> tuple[int, ...]:
    """Return the seed of one scene of a data set.

    This seed has four numbers. The demo's CLIP was trained on scenes whose seeds have three numbers. A data set
    therefore never contains a scene from that training.
    """
    return seed, index, 0, 1


def _image_ids(config: DatasetConfig) -> list[str]:
    return [f"scene_{config.seed}_{index:05d}" for index in range(config.count)]


def _split_file(config: DatasetConfig) -> bytes:
    return "".join(f"{image_id}\n" for image_id in _image_ids(config)).encode()


def _places(image_id: str) -> tuple[str, str, str]:
    return f"JPEGImages/{image_id}.jpg", f"SegmentationClass/{image_id}.png", f"Annotations/{image_id}.xml"


def _contents(image_id: str, scene: Scene, palette: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the contents of the files of one scene, in the order of `_places`."""
    photo, truth = Image.fromarray(scene.image_rgb), Image.fromarray(scene.truth)
    truth.putpalette(palette)
    return (
        _encode(photo, "JPEG", quality=JPEG_QUALITY, subsampling=0),
        _encode(truth, "PNG"),
        _annotation(image_id, scene),
    )


def _encode(image: Image.Image, image_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _annotation(image_id: str, scene: Scene) -> bytes:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = f"{image_id}.jpg"
    size = ElementTree.SubElement(root, "size")
    for name, length in zip(("height", "width", "depth"), scene.image_rgb.shape, strict=True):
        ElementTree.SubElement(size, name).text = str(length)
    for shape in scene.objects:
        ElementTree.SubElement(ElementTree.SubElement(root, "object"), "name").text = shape.name
    ElementTree.indent(root)
    return ElementTree.tostring(root)
