"""Masks of any photos, with the segmenter of a run."""

import io
import logging
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from clipes.tasks.inputs.datasets.entries import PHOTO_EXTENSIONS, without_extension
from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.inputs.pngs import palette_png, resized_ids
from clipes.tasks.machine.devices import available_devices
from clipes.tasks.models.segmenter_file import load_segmenter, predict_ids
from clipes.tasks.storage.filesystem import filesystem, translate_storage_errors
from clipes.tasks.storage.layout import weights_uri
from clipes.tasks.storage.run_status import read_run
from clipes.tasks.storage.user_files import absolute, join, write_bytes
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.errors import PhotoError, StorageError, TransientError, UsageError
from clipes_core.pictures.overlay import ids_on_photo

IN_FOLDERS = (*PHOTO_EXTENSIONS, ".webp", ".bmp", ".tif", ".tiff")  # what is taken for a photo there
OVERLAY_QUALITY = 90

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictionRequest:
    """Which photos are asked for, and what is made of them.

    Attributes:
        images: paths or URIs of photos, and of folders, which stand for all photos below them.
        to: folder or URI that the masks go to.
        overlay: whether each photo under its mask is written, too.
        device: auto, cpu, cuda, cuda:N or mps.
    """

    images: tuple[str, ...]
    to: str
    overlay: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class Prediction:
    """What became of a photo.

    Attributes:
        uri: of the photo.
        reason: why it has no mask, with its URI; None where it has one.
    """

    uri: str
    reason: str | None = None


def predict(store_uri: str, name: str, request: PredictionRequest) -> Iterator[Prediction]:
    """Write the masks of photos as `<to>/<name of the photo>.png`, one after the other.

    The run's settings of the evaluation hold, and those of its data set for reading a photo.

    Args:
        store_uri: of the run.
        name: of the run whose segmenter predicts.
        request: what is asked for.

    Yields:
        What became of each photo. One that cannot be used does not stop the rest.

    Raises:
        UsageError: no such run, it has no segmenter, a folder holds no photo, a mask would replace a photo, the
            device is not there, or the target cannot be written.
        ArtifactError: the segmenter's file is missing or broken.
        StorageError: a store refuses.
        TransientError: it does not answer.
    """
    config, weights = _trained(store_uri, name)
    (device, *_) = available_devices(request.device, "--device")
    photos = _photos(request)
    segmenter = load_segmenter(weights, device)
    palette = np.asarray(segmenter.palette, dtype=np.uint8)
    for photo, loaded in load_photos(photos, config.dataset):
        try:
            if isinstance(loaded, PhotoError):
                raise loaded
            ids = predict_ids(segmenter, photo, loaded, config.evaluation)
            _write(request, photo, loaded, ids, palette)
            yield Prediction(photo.uri)
        except PhotoError as error:
            named = photo.uri in error.reason
            yield Prediction(photo.uri, error.reason if named else f"{photo.uri}: {error.reason}")


def _trained(store_uri: str, name: str) -> tuple[RunConfig, str]:
    """The config of a run and the URI of its segmenter's weights."""
    status = read_run(store_uri, name)
    artifacts = [row["artifact"] for row in status.shards if row["stage"] == "segmenter" and row["artifact"]]
    if not artifacts:
        raise UsageError(
            f"run {name} has no segmenter: let it train one, with train.enabled=true and --until segmenter or later"
        )
    return parse_config(status.run["config"]), weights_uri(artifacts[0])


def _photos(request: PredictionRequest) -> list[Photo]:
    """The photos that are asked for, each once; `image_id` is the name of its mask, which no other has."""
    places: dict[str, str] = {}
    for image in request.images:
        places |= {uri: name for uri, name in _places(absolute(image), absolute(request.to)) if uri not in places}
    photos, taken = [], set[str]()
    for uri, name in places.items():
        own = _free(name, taken)
        if own != name:
            logger.info("%s: its mask is %s.png, for another photo is named %s too", uri, own, name)
        taken.add(own)
        photos.append(Photo(own, uri, size_bytes=0, fingerprint="", class_ids=()))
    for photo in photos:
        for target in _targets(request, photo):
            if absolute(target) in places:
                raise UsageError(f"--to: {target} would replace a photo that is asked for; name another folder")
    return photos


def _places(uri: str, to: str) -> Iterator[tuple[str, str]]:
    """The photo at a URI, or those below it but for what lies where the masks go, with their names."""
    try:
        with translate_storage_errors(uri):
            fs, path = filesystem(uri)
            below = sorted(fs.find(path)) if fs.isdir(path) else None
    except (StorageError, TransientError):
        below = None  # read as a photo it is told why, and the rest goes on
    if below is None:
        yield uri, without_extension(posixpath.basename(uri))
        return
    inside = [posixpath.relpath(file, path) for file in below]
    found = [name for name in inside if name.lower().endswith(IN_FOLDERS)]
    if to.startswith(join(uri, "")):
        found = [name for name in found if not join(uri, name).startswith(join(to, ""))]
    if not found:
        raise UsageError(f"{uri}: a folder without photos ({', '.join(IN_FOLDERS)}); name one that has some")
    for name in found:
        yield join(uri, name), without_extension(name)


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken yet: the name itself, or with a number."""
    number = 1
    own = name
    while own in taken:
        number += 1
        own = f"{name}-{number}"
    return own


def _targets(request: PredictionRequest, photo: Photo) -> Sequence[str]:
    """Where mask and overlay of a photo go; no mask can have the name of an overlay."""
    suffixes = (".png", "-overlay.jpg") if request.overlay else (".png",)
    return [join(request.to, f"{photo.image_id}{suffix}") for suffix in suffixes]


def _write(request: PredictionRequest, photo: Photo, loaded: LoadedPhoto, ids: np.ndarray, palette: np.ndarray) -> None:
    made = [palette_png(resized_ids(ids, loaded.size_hw), palette)]
    if request.overlay:
        made.append(_jpeg(ids_on_photo(np.asarray(loaded.image), ids, palette)))
    for target, content in zip(_targets(request, photo), made, strict=True):
        write_bytes(target, content)


def _jpeg(image_rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_rgb).save(buffer, "JPEG", quality=OVERLAY_QUALITY)
    return buffer.getvalue()
