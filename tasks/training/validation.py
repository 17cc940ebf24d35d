"""The mIoU of a network that is being trained, every few steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from clipes_core.config import DatasetConfig
from clipes_core.errors import PhotoError
from clipes_core.metrics import confusion, scores_from_confusion
from clipes_core.segmentation.inference import photo_mask
from clipes_core.segmenter_config import EvaluationConfig
from tasks.photos import Photo, load_ids, load_photos
from tasks.training.checkpoints import unwrapped
from tasks.training.clock import Clock
from tasks.training.curve import Curve


class ValidationHook(Hook):
    """Scores the network on photos with truth: the photo once and whole, without CRF, whatever the evaluation does.

    Args:
        photos: to score on; those that cannot be read are left out here, the scores at the end name them.
        dataset: how they are read.
        every: steps between two.
        num_classes: 1 + K.
        curve: gets the mIoU.
        clock: is off meanwhile.
    """

    priority = "VERY_LOW"  # after the curve's point

    def __init__(
        self, photos: Sequence[Photo], dataset: DatasetConfig, every: int, num_classes: int, curve: Curve, clock: Clock
    ) -> None:
        self._photos, self._dataset, self._every, self._num_classes = photos, dataset, every, num_classes
        self._curve, self._clock = curve, clock

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Score where it is time to."""
        done = batch_idx + 1
        if done % self._every == 0 or done == runner.max_iters:
            with self._clock.off():
                self._curve.add_miou(done, self._miou(unwrapped(runner)))

    def _miou(self, model: torch.nn.Module) -> float:
        model.eval()
        pooled = np.zeros((self._num_classes, self._num_classes), np.int64)
        for photo, loaded in load_photos(self._photos, self._dataset):
            if isinstance(loaded, PhotoError):
                continue
            image = np.asarray(loaded.image)
            try:
                truth = load_ids(str(photo.truth_uri))
                if truth.shape == image.shape[:2]:
                    pooled += confusion(truth, photo_mask(model, image, EvaluationConfig()), self._num_classes)
            except PhotoError:
                continue
        model.train()
        return scores_from_confusion(pooled).miou
