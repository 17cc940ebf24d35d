"""Measure the mIoU of a network during the training."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.inputs.pngs import resized_ids
from clipes.tasks.inputs.truth import load_truth
from clipes.tasks.training.hooks.checkpoints import unwrapped_model
from clipes.tasks.training.hooks.clock import Clock
from clipes.tasks.training.hooks.curve import Curve
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.execution import DECODE_MEMORY_MIB
from clipes_core.config.segmenter import EvaluationConfig
from clipes_core.errors import PhotoError
from clipes_core.evaluation.metrics import confusion, scores_from_confusion
from clipes_core.evaluation.truth_check import PhotoTruth, check_truths
from clipes_core.segmentation.inference import photo_mask

logger = logging.getLogger(__name__)


class ValidationHook(Hook):
    """Scores the network on photos with true masks during the training.

    The network predicts at one scale, without mirroring and without a CRF. The section `evaluation` of the run config
    does not change this.

    Args:
        photos: photos with true masks. A photo that cannot be scored is skipped, with a warning the first time. If many
            true masks contain none of the labels of their photo, a warning says so.
        dataset: settings for reading the photos.
        every: number of iterations between two validations. The last iteration is always followed by a validation.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.
        curve: curve that receives the mIoU.
        clock: clock that is paused during a validation.
        memory_mib: memory for decoding photos [MiB]; see `load_photos`.
    """

    priority = "VERY_LOW"  # runs after CurveHook, which adds the point that the mIoU belongs to

    def __init__(
        self,
        photos: Sequence[Photo],
        dataset: DatasetConfig,
        every: int,
        num_classes: int,
        curve: Curve,
        clock: Clock,
        memory_mib: int = DECODE_MEMORY_MIB,
    ) -> None:
        self._photos, self._dataset, self._every, self._num_classes = photos, dataset, every, num_classes
        self._curve, self._clock, self._memory_mib = curve, clock, memory_mib
        self._reported: set[str] = set()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Score the network if a validation is due."""
        done = batch_idx + 1
        if done % self._every == 0 or done == runner.max_iters:
            with self._clock.paused(self._clock.validations):
                self._curve.add_miou(self._miou(unwrapped_model(runner)))

    def _miou(self, model: torch.nn.Module) -> float:
        model.eval()
        pooled = np.zeros((self._num_classes, self._num_classes), np.int64)
        truths: list[PhotoTruth] = []
        for photo, loaded in load_photos(self._photos, self._dataset, self._memory_mib):
            try:
                matrix = self._confusion(model, photo, loaded)
            except PhotoError as error:
                skipped = f"photo {photo.image_id} is skipped in the validation: {error.reason}"
                self._warn_once(photo.image_id, skipped)
                continue
            pooled += matrix
            classes = np.flatnonzero(matrix[1:].any(axis=1)) + 1
            truths.append(PhotoTruth(photo.image_id, frozenset(photo.class_ids), frozenset(classes.tolist())))
        model.train()
        check = check_truths(truths)
        if check.suspicious:
            self._warn_once(
                "all photos", f"validation during the training: {check.summary}; check the ids in the true masks"
            )
        return math.nan if check.meaningless else scores_from_confusion(pooled).miou

    def _confusion(self, model: torch.nn.Module, photo: Photo, loaded: LoadedPhoto | PhotoError) -> np.ndarray:
        if isinstance(loaded, PhotoError):
            raise loaded
        truth = load_truth(photo, loaded.size_hw)
        ids = photo_mask(model, np.asarray(loaded.image), EvaluationConfig())
        return confusion(truth, resized_ids(ids, loaded.size_hw), self._num_classes)

    def _warn_once(self, subject: str, warning: str) -> None:
        """Log a warning, unless there has been one about the same subject: the id of a photo, or `all photos`."""
        if subject not in self._reported:
            self._reported.add(subject)
            logger.warning("%s", warning)
