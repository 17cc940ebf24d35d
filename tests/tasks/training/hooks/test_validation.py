from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.models.segmentors import BaseSegmentor
from PIL import Image
from support.masked_photos import ids_of, noise, png

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.training.hooks.clock import Clock
from clipes.tasks.training.hooks.curve import Curve, Point
from clipes.tasks.training.hooks.validation import ValidationHook
from clipes_core.config.dataset import DatasetConfig

SIZE_HW = (24, 32)


class RedModuloThree(BaseSegmentor):
    """A network that predicts the ids of `ids_of`: the red value of each pixel modulo three."""

    def __init__(self):
        super().__init__(data_preprocessor={"type": "SegDataPreProcessor", "bgr_to_rgb": True})
        self.modes = []

    def encode_decode(self, inputs, batch_img_metas):
        self.modes.append(self.training)
        return torch.nn.functional.one_hot(inputs[:, 0].long() % 3, 3).permute(0, 3, 1, 2).float()

    def extract_feat(self, inputs):
        raise NotImplementedError

    _forward = loss = predict = extract_feat


@pytest.fixture
def model():
    with DefaultScope.overwrite_default_scope("mmseg"):
        return RedModuloThree().train()


@pytest.fixture
def photo(tmp_path):
    """Return a function that writes a photo and its truth and returns the photo."""

    def photo(image_id, truth, labels=()):
        (tmp_path / f"{image_id}.png").write_bytes(png(noise(0, SIZE_HW)))
        Image.fromarray(truth).save(tmp_path / f"{image_id}-truth.png")
        truth_uri = str(tmp_path / f"{image_id}-truth.png")
        return Photo(image_id, str(tmp_path / f"{image_id}.png"), 1, "1", labels, truth_uri, "1")

    return photo


def validated(model, photos, iterations=30, every=10):
    """Return the mIoU of each validated iteration."""
    curve = Curve()
    hook = ValidationHook(photos, DatasetConfig(root="/"), every, 3, curve, Clock())
    for done in range(1, iterations + 1):
        curve.points.append(Point(done, 1.0, 0.1, 1.0))
        hook.after_train_iter(SimpleNamespace(model=model, max_iters=iterations), done - 1)
    return {point.iteration: point.miou for point in curve.points if point.miou is not None}


def test_the_network_is_scored_at_intervals_and_at_the_end(model, photo):
    scores = validated(model, [photo("a", ids_of(noise(0, SIZE_HW)))], iterations=25)
    assert scores == {10: 1.0, 20: 1.0, 25: 1.0}


def test_the_network_is_validated_in_eval_mode_and_returns_to_training(model, photo):
    validated(model, [photo("a", ids_of(noise(0, SIZE_HW)))], iterations=1)
    assert model.modes == [False]
    assert model.training


def test_pixels_of_all_photos_are_pooled_and_255_is_ignored(model, photo):
    ids = ids_of(noise(0, SIZE_HW))
    half_wrong = np.where(ids == 1, 2, 255).astype(np.uint8)  # the truth of all pixels of class 1 is class 2
    scores = validated(model, [photo("a", ids), photo("b", half_wrong)], iterations=1)
    background, one, two = (np.count_nonzero(ids == each) for each in range(3))
    assert background
    assert scores[1] == pytest.approx((1 + one / (2 * one) + two / (two + one)) / 3)


def test_a_photo_that_cannot_be_scored_is_skipped_and_logged_once(model, photo, tmp_path, caplog):
    photos = [photo("a", ids_of(noise(0, SIZE_HW))), photo("b", ids_of(noise(0, SIZE_HW)))]
    (tmp_path / "b-truth.png").unlink()
    assert validated(model, photos, iterations=20) == {10: 1.0, 20: 1.0}
    (warning,) = caplog.messages
    assert warning.startswith("photo b is skipped in the validation: ")


def test_true_masks_without_any_class_give_no_score(model, photo):
    background = np.zeros(SIZE_HW, np.uint8)
    assert validated(model, [photo("a", background), photo("b", background)], iterations=1) == {}


def test_true_masks_without_the_labels_give_no_score_and_one_warning(model, photo, caplog):
    ids = ids_of(noise(0, SIZE_HW))
    shifted = np.where(ids == 0, 0, 1).astype(np.uint8)
    assert validated(model, [photo(name, shifted, (2,)) for name in "ab"]) == {}
    assert caplog.messages == [
        "validation during the training: 2 of 2 true masks contain none of the labels of their photo, so clipes shows "
        "no scores for them; check the ids in the true masks"
    ]


def test_photos_without_a_labelled_pixel_give_no_score(model, photo):
    assert validated(model, [photo("a", np.full(SIZE_HW, 255, np.uint8))], iterations=1) == {}
