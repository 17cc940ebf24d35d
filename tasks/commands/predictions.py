"""Predict masks for any photos with the segmenter of a run."""

import io
import logging
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from clipes.tasks.commands.output_folder import OutputFolder
from clipes.tasks.inputs.datasets.entries import PHOTO_EXTENSIONS, without_extension
from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.inputs.pngs import palette_png, resized_ids
from clipes.tasks.machine.devices import available_devices
from clipes.tasks.machine.terminal import announce
from clipes.tasks.models.segmenter_file import load_segmenter, predict_ids
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.storage.checksums.weights import check_weights
from clipes.tasks.storage.layout import weights_uri
from clipes.tasks.storage.listing import list_paths_below
from clipes.tasks.storage.parquet.footer import notice_replacement, read_footer
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import read_run
from clipes.tasks.storage.user_files import absolute, canonical, is_below, join
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.config.uri import refusal
from clipes_core.dense_crf import check_crf, prepare_crf, with_installed_backend
from clipes_core.errors import PhotoError, StorageError, TransientError, UsageError
from clipes_core.pictures.overlay import ids_on_photo

FOLDER_EXTENSIONS = (*PHOTO_EXTENSIONS, ".webp", ".bmp", ".tif", ".tiff")  # in a folder, only these are photos
OVERLAY_QUALITY = 90

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictionRequest:
    """The photos whose masks are predicted, and where and how the masks are written.

    Attributes:
        images: paths or URIs of photos and folders; a folder stands for all photos below it.
        to: path or URI of the folder for the masks.
        overlay: if true, also write each photo with its mask drawn over it.
        device: auto, cpu, cuda, cuda:N or mps.
    """

    images: tuple[str, ...]
    to: str
    overlay: bool = False
    device: str = "auto"


@dataclass(frozen=True)
class Prediction:
    """The outcome of the prediction for one photo.

    Attributes:
        uri: URI of the photo.
        reason: None if the mask was written. Otherwise, the error message, which contains the photo's URI.
    """

    uri: str
    reason: str | None = None


def predict(store_uri: str, name: str, request: PredictionRequest) -> Iterator[Prediction]:
    """Predict the mask of each photo, and write it as a PNG to the folder `request.to`.

    The PNG is named after the photo's file. If the request gives a folder instead of the photo, the path from this
    folder to the photo precedes the name. If two masks would have the same name, the second name gets a number.
    Photos are read with the run's `dataset` settings, and masks are predicted with its `evaluation` settings.

    Args:
        store_uri: URI of the run's store.
        name: name of the run whose segmenter predicts.
        request: the photos, and where and how to write the masks.

    Yields:
        The outcome for each photo. A photo that cannot be used does not affect the other photos.

    Raises:
        UsageError: the run does not exist or has no segmenter, a folder holds no photo, a file would replace one
            that clipes did not write or an input, the device does not exist, the target cannot be written, or the
            package of the CRF backend is not installed.
        ArtifactError: the segmenter's file is missing or broken.
        StorageError: the store refuses access, or the disk of the target is full.
        TransientError: the store does not answer.
    """
    config, weights = _find_segmenter(store_uri, name)
    crf = with_installed_backend(config.evaluation.crf)
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"crf": crf})})
    if config.evaluation.crf.enabled:
        check_crf(config.evaluation.crf, "evaluation.crf")
    (device, *_) = available_devices(request.device, "--device")
    photos = _list_photos(request)
    output = OutputFolder(
        request.to, lambda: [*(photo.uri for photo in photos), *RunFiles(store_uri, name).input_uris()]
    )
    output.check(file for photo in photos for file in _file_names(photo, request.overlay))
    with announce("loading the segmenter"):
        segmenter = load_segmenter(weights, device)
    if config.evaluation.crf.enabled:
        prepare_crf(config.evaluation.crf, logger.info, logger.warning)
    palette = np.asarray(segmenter.palette, dtype=np.uint8)
    for photo, loaded in load_photos(photos, config.dataset, config.execution.decode_memory_mib):
        try:
            if isinstance(loaded, PhotoError):
                raise loaded
            ids = predict_ids(segmenter, loaded, config.evaluation)
            contents = _encode(loaded, ids, palette, request.overlay)
            for file, content in zip(_file_names(photo, request.overlay), contents, strict=True):
                output.write(file, content)
            yield Prediction(photo.uri)
        except PhotoError as error:
            named = photo.uri in error.reason
            yield Prediction(photo.uri, error.reason if named else f"{photo.uri}: {error.reason}")


def _find_segmenter(store_uri: str, name: str) -> tuple[RunConfig, str]:
    """Return the config of a run and the URI of its segmenter's weights."""
    status = read_run(store_uri, name)
    artifacts = status.artifacts(SEGMENTER.name)
    if not artifacts:
        raise UsageError(
            f"run {name} has no segmenter: run it again with {SEGMENTER.enabled_by}, "
            f"up to the stage {SEGMENTER.name} or a later one"
        )
    footer = read_footer(artifacts[0])
    with notice_replacement(artifacts[0], footer.content):
        check_weights(artifacts[0], footer.metadata.get("weights", ""), whole=True)
    return parse_config(status.run["config"]), weights_uri(artifacts[0])


def _list_photos(request: PredictionRequest) -> list[Photo]:
    """Return the photos of a request without duplicates; the `image_id` of each photo is the name of its mask."""
    found: dict[str, str] = {}
    for number, image in enumerate(request.images, start=1):
        if message := refusal(image):
            raise UsageError(f"photo {number} of the command: {message}")
        found |= {uri: name for uri, name in _find_photos(absolute(image), absolute(request.to)) if uri not in found}
    photos, taken = [], set[str]()
    for uri, name in found.items():
        own = _unused_name(name, taken)
        if own != name:
            logger.info("%s: its mask is written as %s.png, because another photo is also named %s", uri, own, name)
        taken.add(own)
        photos.append(Photo(own, uri, size_bytes=0, fingerprint="", class_ids=()))
    return photos


def _find_photos(uri: str, to: str) -> Iterator[tuple[str, str]]:
    """Yield the URI and the mask's name for the photo at `uri` or, if `uri` is a folder, for each photo below it.

    Files in `to`, the target folder of the masks, are left out.
    """
    try:
        below = list_paths_below(uri)
    except (StorageError, TransientError):
        below = None  # Treat the URI as a photo. Reading it reports the error without stopping the other photos.
    if below is None:
        yield uri, without_extension(posixpath.basename(uri))
        return
    found = [name for name in below if name.lower().endswith(FOLDER_EXTENSIONS)]
    folder, target = canonical(uri), canonical(to)
    if target != folder and is_below(target, folder):
        found = [name for name in found if not is_below(join(folder, name), target)]
    if not found:
        raise UsageError(f"{uri}: the folder holds no photos ({', '.join(FOLDER_EXTENSIONS)}); name another folder")
    for name in found:
        yield join(uri, name), without_extension(name)


def _unused_name(name: str, taken: set[str]) -> str:
    """Return the name itself or, if it is taken, the name with a number appended."""
    number = 1
    own = name
    while own in taken:
        number += 1
        own = f"{name}-{number}"
    return own


def _file_names(photo: Photo, overlay: bool) -> tuple[str, ...]:
    """Return the names of a photo's mask and, if requested, of its overlay in the target folder.

    Masks are .png and overlays are .jpg, so the mask of one photo never replaces the overlay of another.
    """
    mask = f"{photo.image_id}.png"
    return (mask, f"{photo.image_id}-overlay.jpg") if overlay else (mask,)


def _encode(loaded: LoadedPhoto, ids: np.ndarray, palette: np.ndarray, overlay: bool) -> Iterator[bytes]:
    """Yield the content of a photo's mask and, if requested, of its overlay."""
    yield palette_png(resized_ids(ids, loaded.size_hw), palette)
    if overlay:
        yield _jpeg(ids_on_photo(np.asarray(loaded.image), ids, palette))


def _jpeg(image_rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_rgb).save(buffer, "JPEG", quality=OVERLAY_QUALITY)
    return buffer.getvalue()
