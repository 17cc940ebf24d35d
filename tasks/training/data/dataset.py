"""An MMSegmentation data set of photos and their pseudo masks, in a reproducible order."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from mmengine.dataset import Compose
from mmengine.structures import BaseDataElement
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from clipes.tasks.inputs.decoding import open_image, translate_photo_errors
from clipes.tasks.training.data.cached_files import CachedFiles, FileRead
from clipes.tasks.training.data.training_set import StoredMask, TrainingPhoto, TrainingSet
from clipes.tasks.training.hooks.randomness import seeded
from clipes_core.errors import DatasetError, ErrorKind, PhotoError
from clipes_core.photos.rgb_conversion import to_rgb
from clipes_core.pseudo_mask import ignore_unsure

logger = logging.getLogger(__name__)

UNUSABLE_IN_A_ROW = 100  # the training fails after this many; a likely cause is expired credentials or a missing folder


@DATASETS.register_module()
class PseudoMaskDataset(Dataset[dict[str, Any]]):
    """The photos of a run, each with its pseudo mask and its confidence map.

    The index of a sample is called its draw. The samples of a whole training run, over all epochs and processes, have
    the draws 0, 1, 2, ... With N photos, epoch e consists of the draws from e * N to (e + 1) * N - 1. Each epoch has
    its own order of photos. The sample of a draw is the same in every process. `DrawSampler` divides the draws among
    the processes.

    A sample is the result of the pipeline with three more entries. If the result has `data_samples`, the metainfo of
    `data_samples` holds the three entries:

    - `image_id`: id of the photo;
    - `reads`: a tuple with one `FileRead` for the photo and one for the mask;
    - `unusable`: a tuple with a text 'image_id: reason' for each unusable photo that this sample replaces.

    Args:
        training_set: photos and the locations of their masks, or a mapping with the keys `store` (URI of a store) and
            `run` (name of the run whose photos and masks are used).
        pipeline: MMSegmentation transforms, or configs of transforms. The input of the first transform is a dict:
            `img` is (H, W, 3) uint8 BGR, `gt_seg_map` and `gt_confidence` are (H, W) uint8, and `seg_fields` lists
            the names `gt_seg_map` and `gt_confidence`.
        seed: seed for the order of the photos and for the transforms.
        ignore_below: confidence threshold in [0, 1]. Labels of lower confidence become 255. None: no label changes.
        cache: cache for files from other hosts, or a mapping with the cache's `folder` and `size_gb`.

    Raises:
        DatasetError: no photo has a mask.
        UsageError, StageError, ArtifactError, StorageError, TransientError: for the same reasons as
            `TrainingSet.of_run`.
    """

    def __init__(
        self,
        training_set: TrainingSet | Mapping[str, str],
        pipeline: Sequence[Mapping[str, Any] | Callable],
        seed: int = 0,
        ignore_below: float | None = None,
        cache: CachedFiles | Mapping[str, Any] | None = None,
    ) -> None:
        found = training_set if isinstance(training_set, TrainingSet) else TrainingSet.of_run(**training_set)
        if len(found) == 0:
            raise DatasetError(f"none of the {found.left_out} photos has a pseudo mask; training needs at least one")
        self.training_set = found
        self.files = cache if isinstance(cache, CachedFiles) else CachedFiles(**(cache or {}))
        self.seed, self.ignore_below = seed, ignore_below
        self.pipeline = Compose(pipeline)
        self._reported: set[str] = set()

    @property
    def metainfo(self) -> dict[str, Any]:
        """The `classes` and `palette` that MMSegmentation expects, background first."""
        vocabulary = self.training_set.vocabulary
        classes = ("background", *vocabulary.ids)
        return {"classes": classes, "palette": [list(colour) for colour in vocabulary.palette[: len(classes)]]}

    def __len__(self) -> int:
        return len(self.training_set)

    def __getitem__(self, draw: int) -> dict[str, Any]:
        """Return the sample of a draw. If its photo is unusable, the next usable photo of the epoch replaces the photo.

        Raises:
            PhotoError: UNUSABLE_IN_A_ROW photos in a row are unusable, or all photos if there are fewer.
            BrokenArtifactError: the artifact that holds the mask is missing or damaged.
            StorageError: the store of the masks refuses access.
            TransientError: a store did not answer in any attempt.
        """
        unusable: dict[str, PhotoError] = {}
        for index in self._candidates(draw):
            photo = self.training_set.photo(index)
            try:
                packed, reads = self._packed(draw, index, photo)
            except PhotoError as error:
                unusable[photo.image_id] = error
                continue
            self._warn_once(unusable, photo)
            reasons = tuple(f"{image_id}: {error.reason}" for image_id, error in unusable.items())
            return _with_facts(packed, image_id=photo.image_id, reads=reads, unusable=reasons)
        *_, (image_id, last) = unusable.items()
        reason = (
            f"{len(unusable)} photos in a row are unusable: repair them and rerun. The last one is {image_id}: "
            f"{last.reason}"
        )
        raise PhotoError(last.kind, reason) from last

    def _candidates(self, draw: int) -> Iterator[int]:
        """Yield the index of the photo of a draw, and then the indices of the photos that may replace this photo."""
        count = len(self)
        epoch, position = divmod(draw, count)
        order = _order(self.seed, epoch, count)
        return (int(order[(position + ahead) % count]) for ahead in range(min(count, UNUSABLE_IN_A_ROW)))

    def _packed(self, draw: int, index: int, photo: TrainingPhoto) -> tuple[dict[str, Any], tuple[FileRead, FileRead]]:
        image_bgr, photo_read = self._image_bgr(photo)
        mask, mask_read = self.training_set.mask(index, self.files)
        _check_size(photo, image_bgr, mask)
        with seeded(self.seed, draw, index):
            packed = self.pipeline(self._results(index, photo, image_bgr, mask))
        if packed is None:
            raise PhotoError(ErrorKind.UNREADABLE, f"{photo.uri}: the training pipeline returned None for this photo")
        return packed, (photo_read, mask_read)

    def _image_bgr(self, photo: TrainingPhoto) -> tuple[np.ndarray, FileRead]:
        try:
            return self._read_photo(photo)
        except PhotoError:
            if not self.files.evict(photo.uri, photo.fingerprint):  # nothing was cached, so the photo itself is bad
                raise
            return self._read_photo(photo)

    def _read_photo(self, photo: TrainingPhoto) -> tuple[np.ndarray, FileRead]:
        with translate_photo_errors(photo.uri):
            data, read = self.files.read(photo.uri, photo.fingerprint)
        with open_image(photo.uri, data) as encoded:
            image = to_rgb(encoded, self.training_set.exif).image
            return np.ascontiguousarray(np.asarray(image)[..., ::-1]), read

    def _results(self, index: int, photo: TrainingPhoto, image_bgr: np.ndarray, mask: StoredMask) -> dict[str, Any]:
        ids = mask.ids
        if self.ignore_below is not None:
            ids = ignore_unsure(ids, mask.confidence, self.ignore_below)
        return transform_input(photo.uri, index, image_bgr, ids, mask.confidence)

    def _warn_once(self, unusable: Mapping[str, PhotoError], replacement: TrainingPhoto) -> None:
        for image_id, error in unusable.items():
            if image_id not in self._reported:
                logger.warning("photo %s: %s; photo %s is used instead", image_id, error.reason, replacement.image_id)
                self._reported.add(image_id)


def transform_input(
    uri: str, index: int, image_bgr: np.ndarray, ids: np.ndarray, confidence: np.ndarray
) -> dict[str, Any]:
    """Return a loaded photo as the dict that MMSegmentation's transforms expect.

    Args:
        uri: path or URI of the photo.
        index: index of the photo in the data set.
        image_bgr: (H, W, 3) uint8.
        ids: (H, W) uint8: 0 for background, 1..K for classes, 255 for ignored pixels.
        confidence: (H, W) uint8, round(255 c) for a confidence c in [0, 1].
    """
    return {
        "img_path": uri,
        "sample_idx": index,
        "img": image_bgr,
        "img_shape": image_bgr.shape[:2],
        "ori_shape": image_bgr.shape[:2],
        "gt_seg_map": ids,
        "gt_confidence": confidence,
        "seg_fields": ["gt_seg_map", "gt_confidence"],
        "reduce_zero_label": False,
    }


@lru_cache(maxsize=2)  # two epochs, because a batch may contain the end of an epoch and the beginning of the next
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the indices of the photos in the order in which an epoch uses them, (count,) int64."""
    order = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch]))).permutation(count)
    order.setflags(write=False)
    return order


def _check_size(photo: TrainingPhoto, image_bgr: np.ndarray, mask: StoredMask) -> None:
    (height, width), (mask_height, mask_width) = image_bgr.shape[:2], mask.ids.shape
    if (height, width) != (mask_height, mask_width):
        before = f"{mask_width}x{mask_height}"
        reason = f"{photo.uri} is {width}x{height}, but was {before} when its mask was made: rerun to update the mask"
        raise PhotoError(ErrorKind.UNREADABLE, reason)


def _with_facts(packed: dict[str, Any], **facts: Any) -> dict[str, Any]:
    sample = packed.get("data_samples")
    if isinstance(sample, BaseDataElement):
        sample.set_metainfo(facts)
        return packed
    return {**packed, **facts}
