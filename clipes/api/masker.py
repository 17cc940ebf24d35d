"""Compute masks of single photos in the calling process, exactly as a run does."""

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from clipes.api.masked_photo import MaskedPhoto
from clipes.api.settings import ConfigSource, clip_values, masker_config
from clipes.tasks.inputs.batches import compute_batch
from clipes.tasks.inputs.photos import LoadedPhoto, Photo, converted_image, load_photo
from clipes.tasks.inputs.pngs import resized_ids
from clipes.tasks.machine.devices import check_crf_device, clip_precision, cores, crf_workers, gpu_slots
from clipes.tasks.models.clip import load_clip
from clipes.tasks.models.loaded_clip import image_network, torch_threads
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary
from clipes.tasks.stages.cams import CamsRow, batch_cams, cams_row, known_cams
from clipes.tasks.stages.columns.cams import stored_cams
from clipes.tasks.stages.masks import batch_masks
from clipes.tasks.stages.texts import text_features
from clipes.tasks.storage.user_files import absolute
from clipes_core.config.uri import refusal
from clipes_core.dense_crf import check_crf, prepare_crf
from clipes_core.device import Job, finish
from clipes_core.errors import PhotoError, UsageError
from clipes_core.pseudo_mask import resize_cams
from clipes_core.views import Viewer, list_views

PhotoSource = str | os.PathLike[str] | Image.Image | np.ndarray
_COMPUTING = threading.Lock()  # the number of torch's threads is a setting of the whole process

logger = logging.getLogger(__name__)


class Masker:
    """Computes masks of photos whose classes are known. The masks are those that a run with the same settings makes.

    The constructor loads CLIP and encodes the words of the classes. Several threads may use one masker; it computes one
    photo at a time.

    Args:
        classes: names of the classes, the name of a vocabulary that clipes ships, or the path or URI of a YAML file. By
            default, the classes of `config` or, without a config, those of PASCAL VOC.
        config: settings: path or URI of a YAML file, a dict like its content, or a RunConfig.
        model: "demo" for the small CLIP that clipes ships, or the name of an OpenCLIP model. By default, the model of
            `config` or, without a config, the ViT-B/16 of OpenAI.
        device: auto, cpu, cuda, cuda:N or mps.
        settings: sections of the config whose values replace those of `config`, such as `cam={"box_threshold": 0.7}`,
            `crf={"enabled": False}` or `clip={"pretrained": "weights.pt"}`.

    Attributes:
        config: all settings.
        vocabulary: the classes, their words and their colours.

    Raises:
        UsageError: a setting, the vocabulary or the weights cannot be used.
        TransientError: the server from which the weights are downloaded does not answer.
    """

    def __init__(
        self,
        classes: str | Sequence[str] | None = None,
        *,
        config: ConfigSource | None = None,
        model: str | None = None,
        device: str | None = None,
        **settings: Mapping[str, Any],
    ) -> None:
        changes: dict[str, Any] = dict(settings)
        if classes is not None:
            named = classes if isinstance(classes, str) else list(classes)
            changes["dataset"] = {**changes.get("dataset", {}), "classes": named}
        if chosen := clip_values(model, device):
            changes["clip"] = {**chosen, **changes.get("clip", {})}
        self.config = masker_config(config, changes)
        self.vocabulary = checked_vocabulary(self.config)
        if not self.config.prompts.templates:
            raise UsageError("prompts.template is auto, but a choice needs a whole data set: name a template")
        if self.config.crf.enabled:
            check_crf(self.config.crf, "crf")
        self._slot = gpu_slots(self.config.clip, self.config.execution)[0]
        check_crf_device(self.config.crf, [self._slot])
        precision = clip_precision(self.config.clip, [self._slot])
        with _COMPUTING, torch_threads(self._slot.threads):
            clip = load_clip(self.config.clip)
            self._texts = text_features(clip, self.vocabulary, self.config.prompts)
            self._backbone = image_network(clip, self.config.clip, self._slot.device, precision)
        self._viewer = Viewer(list_views(self.config.cam), self._backbone.patch_size)
        self._crf_device = self._slot.device if self._crf_workers() == "gpu" else None
        if self.config.crf.enabled and self._crf_device is None:
            prepare_crf(self.config.crf, logger.info, logger.warning)

    def __repr__(self) -> str:
        clip = self.config.clip
        return f"Masker({len(self.classes)} classes, model={clip.model!r}, device={self._slot.device!r})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their ids, which start at 1."""
        return tuple(self.vocabulary.ids)

    def __call__(self, photo: PhotoSource, labels: str | Sequence[str] | None = None) -> MaskedPhoto:
        """Compute the mask of a photo.

        Args:
            photo: path or URI of a photo, an image of PIL, or an (H, W, 3) uint8 RGB array.
            labels: names of the classes that the photo shows. Without any, the whole mask is background.

        Raises:
            UsageError: a label is not a class of this masker, or `photo` or `labels` has another type.
            PhotoError: the photo cannot be read or decoded, or is too small.
        """
        class_ids = self._class_ids(labels)
        listed, loaded = self._loaded(photo, tuple(class_ids.values()))
        with _COMPUTING, torch_threads(self._slot.threads):
            row = vars(self._cams(listed, loaded))
            made = _only(batch_masks, self.config, {listed.image_id: row}, self._crf_device)(listed, loaded)
        mask, levels = (resized_ids(each, loaded.size_hw) for each in (made.mask, made.confidence))
        cams = resize_cams(stored_cams(row, "refined_cam"), loaded.size_hw) if class_ids else ()
        return MaskedPhoto(
            mask=mask,
            confidence=levels.astype(np.float32) / 255,
            cams=dict(zip(class_ids, cams, strict=True)),
            class_ids=class_ids,
            image=loaded.image,
            vocabulary=self.vocabulary,
            notes=tuple(row["notes"]),
        )

    def _crf_workers(self) -> str:
        """Return the kind of worker that would compute the CRF in a run on this machine with a single GPU worker."""
        return crf_workers(self.config.crf, {"gpu": [self._slot.device], "cpu": ["cpu"] * cores()})

    def _class_ids(self, labels: str | Sequence[str] | None) -> dict[str, int]:
        if labels is None:
            raise UsageError(
                f"labels: name the classes that the photo shows, such as labels={[self.classes[0]]}; the method needs "
                "them. labels=masker.classes stands for all classes"
            )
        names = [labels] if isinstance(labels, str) else list(labels)
        known = self.vocabulary.known_names
        for name in names:
            if name not in known:
                similar = get_close_matches(str(name), known, n=1)
                hint = f"did you mean {similar[0]!r}?" if similar else f"the classes are {', '.join(self.classes)}"
                raise UsageError(f"labels: {name!r} is no class of this masker; {hint}")
        return {self.classes[known[name] - 1]: known[name] for name in names}

    def _loaded(self, photo: PhotoSource, class_ids: tuple[int, ...]) -> tuple[Photo, LoadedPhoto]:
        if isinstance(photo, str | os.PathLike):
            named = os.fspath(photo)
            if message := refusal(named):
                raise UsageError(f"photo: {message}")
            listed = Photo("photo", absolute(named), size_bytes=0, fingerprint="", class_ids=class_ids)
            return listed, load_photo(listed, self.config.dataset)
        if isinstance(photo, np.ndarray) and photo.ndim == 3 and photo.shape[2] == 3 and photo.dtype == np.uint8:
            photo = Image.fromarray(photo)
        if not isinstance(photo, Image.Image):
            found = f"{photo.shape} {photo.dtype}" if isinstance(photo, np.ndarray) else type(photo).__name__
            raise UsageError(f"photo: expected a path, an image of PIL or an (H, W, 3) uint8 RGB array, got {found}")
        listed = Photo("photo", "photo", size_bytes=0, fingerprint="", class_ids=class_ids)
        return listed, converted_image(photo, self.config.dataset)

    def _cams(self, photo: Photo, loaded: LoadedPhoto) -> CamsRow:
        """Compute the row of the stage `cams`."""
        viewed = LoadedPhoto(self._viewer.show(loaded.image), loaded.size_hw, loaded.notes)
        (cams,) = known_cams(photo) or _only(batch_cams, self._backbone, [self._texts], self.config.cam)(photo, viewed)
        return cams_row(photo, viewed, self._backbone.patch_size, cams, ())


def _only(compute: Any, *arguments: Any) -> Any:
    """Return a function that computes the result of one photo, or raises the PhotoError that is its result."""

    def result(photo: Photo, loaded: LoadedPhoto[Any]) -> Any:
        job: Job[list[Any]] = compute_batch([(photo, loaded)], partial(compute, *arguments))
        ((_, _, made),) = finish(job)
        if isinstance(made, PhotoError):
            raise made
        return made

    return result
