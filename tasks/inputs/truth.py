"""Read the true masks of photos, or draw them from annotations."""

import io
import json
from collections.abc import Iterable
from typing import cast

import numpy as np

from clipes.tasks.inputs.decoding import open_image, read_bytes, translate_photo_errors
from clipes.tasks.inputs.photos import AnnotationSource, Photo
from clipes.tasks.inputs.sources.read_ahead import ReadAhead
from clipes.tasks.inputs.sources.source import ABSENT, UNKNOWN
from clipes.tasks.inputs.sources.table import open_listed
from clipes.tasks.storage.filesystem import filesystem, is_local
from clipes.tasks.storage.layout import row_of
from clipes_core.errors import BrokenArtifactError, ErrorKind, PhotoError


def load_truth(photo: Photo, size_hw: tuple[int, int]) -> np.ndarray:
    """Read the true mask of a photo.

    Args:
        photo: photo with a `truth_uri`.
        size_hw: height and width of the photo [px].

    Returns:
        (H, W) uint8 ids.

    Raises:
        PhotoError: an error of `load_ids`, or BAD_TRUTH if the mask and the photo differ in size.
    """
    truth = listed_ids(photo)
    if truth.shape != size_hw:
        raise PhotoError(
            ErrorKind.BAD_TRUTH,
            f"the true mask is {truth.shape[1]}x{truth.shape[0]} and the photo is {size_hw[1]}x{size_hw[0]}: "
            "they must have the same size",
        )
    return truth


def listed_ids(photo: Photo) -> np.ndarray:
    """Read the true mask of a photo, whatever its size, or draw it from annotations; return (H, W) uint8 ids.

    Raises:
        PhotoError: an error of `load_ids`, `read_annotations` or `draw_truth`.
    """
    if photo.truth_uri is None:
        return draw_truth(photo, read_annotations([photo])[photo.image_id])
    return load_ids(photo.truth_uri, photo.truth_fingerprint or ABSENT)


def load_ids(uri: str, fingerprint: str = UNKNOWN) -> np.ndarray:
    """Read an image whose pixel values are ids, such as a true mask.

    Args:
        uri: URI of the image, or that of a row of the stage `true_masks` (`row_uri`).
        fingerprint: fingerprint of the image when it was listed, as for `read_listed`.

    Returns:
        (H, W) uint8 ids.

    Raises:
        PhotoError: MISSING, CHANGED, UNREADABLE, UNDECODABLE, TIMEOUT or NETWORK; BAD_TRUTH if the file is a JPEG, or
            is neither a palette image nor a grey image; UPSTREAM if the row has no mask.
        BrokenArtifactError: the artifact of the row is missing or damaged.
    """
    row = row_of(uri)
    with open_image(uri, read_bytes(uri, fingerprint) if row is None else _stored_png(*row)) as image:
        if image.mode not in ("P", "L"):
            raise PhotoError(
                ErrorKind.BAD_TRUTH,
                f"the true mask has mode {image.mode}: it must be a palette or grey PNG of ids",
            )
        if image.format == "JPEG":
            raise PhotoError(ErrorKind.BAD_TRUTH, "the true mask is a JPEG, whose compression changes ids: use a PNG")
        return np.array(image)


def _stored_png(artifact_uri: str, image_id: str) -> bytes:
    from clipes.tasks.storage.parquet.reading import read_table  # imports pyarrow

    rows = read_table(artifact_uri, ("error", "mask_png"), image_ids=[image_id]).to_pylist()
    if not rows:
        raise BrokenArtifactError(artifact_uri, f"has no row for the photo {image_id}")
    if rows[0]["error"] is not None:
        raise PhotoError(ErrorKind.UPSTREAM, f"no true mask: {rows[0]['error']}")
    return rows[0]["mask_png"]


def read_annotations(photos: Iterable[Photo]) -> dict[str, list[bytes]]:
    """Read the annotations of photos from their annotation file. The file is opened once, and read from start to end.

    Returns:
        image_id -> JSON text of each annotation, in the order of the file.

    Raises:
        PhotoError: MISSING, UNREADABLE, or CHANGED (the file has changed since it was listed).
        TransientError: the store does not answer.
    """
    found: dict[str, list[bytes]] = {}
    spans: dict[AnnotationSource, list[tuple[int, int, str]]] = {}
    for photo in photos:
        assert photo.annotations is not None
        found[photo.image_id], own = [], spans.setdefault(photo.annotations.source, [])
        pairs = np.frombuffer(photo.annotations.spans, "<i8").reshape(-1, 2).tolist()
        own += [(offset, size, photo.image_id) for offset, size in pairs]
    for source, wanted in spans.items():
        is_remote = not is_local(filesystem(source.uri)[0])
        with translate_photo_errors(source.uri), open_listed(source.uri, source.fingerprint) as file:
            # In a large file, the annotations of a shard are so near to each other that a few large requests get them.
            reader = io.BufferedReader(cast(io.RawIOBase, ReadAhead(file))) if is_remote else file
            for offset, size, image_id in sorted(wanted):
                reader.seek(offset)
                found[image_id].append(reader.read(size))
    return found


def draw_truth(photo: Photo, annotations: Iterable[bytes]) -> np.ndarray:
    """Draw the true mask of a photo.

    Args:
        photo: photo with annotations and with the size that the annotation file states.
        annotations: JSON text of each annotation of the photo, in the order of the file.

    Returns:
        (H, W) uint8 ids, where 255 stands for crowds; see `draw_objects`.

    Raises:
        PhotoError: BAD_TRUTH; an annotation is invalid.
    """
    from clipes_core.encodings.coco_objects import CocoObject, draw_objects

    assert photo.annotations is not None
    assert photo.stated_size is not None
    class_ids, (width, height) = dict(photo.annotations.source.class_ids), photo.stated_size
    objects = []
    for record in map(json.loads, annotations):
        name, class_id = f"annotation {record.get('id')!r}", class_ids.get(record["category_id"])
        if class_id is None:
            reason = f"{name}: no class of the vocabulary is its category {record['category_id']!r}"
            raise PhotoError(ErrorKind.BAD_TRUTH, reason)
        objects.append(CocoObject(class_id, record.get("segmentation"), bool(record.get("iscrowd")), name))
    return draw_objects(objects, (height, width))
