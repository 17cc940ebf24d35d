"""CAMs of real photos, compared with those of the published program."""

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from support import oracle
from support.cam_cases import (
    assert_same,
    cams_of,
    features_of,
)

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.models.clip import load_clip
from clipes_core.backbones.vit import VitBackbone
from clipes_core.cams import photo_cams
from clipes_core.config.pseudo_masks import CamConfig, ClipConfig, PromptsConfig
from clipes_core.vit.precision import PRECISIONS

pytestmark = pytest.mark.usefixtures("one_thread")

PHOTOS = (
    "2007_000063",
    "2007_000068",
    "2007_000256",
    "2007_000363",
    "2007_000392",
    "2007_000504",
    "2007_001185",
    "2007_001340",
    "2007_001420",
)


@pytest.fixture(scope="module")
def model(golden):
    """Return the network that produced the published outputs."""
    return oracle.oracle_model(golden / "small_vit.pt").eval()


@pytest.fixture(scope="module")
def voc_texts(model):
    return features_of(model, PromptsConfig(), load_vocabulary("voc12"))


@pytest.fixture(scope="module")
def made(golden, real_data, voc_texts):
    """Return the CAMs of all golden photos in each precision, computed photo by photo."""
    visual = load_clip(ClipConfig(pretrained=str(golden / "small_vit.pt"))).model.visual
    return {
        precision: cams_made_by(VitBackbone(visual, precision=precision), golden, real_data, voc_texts)
        for precision in PRECISIONS
    }


def cams_made_by(backbone, golden, real_data, texts):
    return {
        image_id: cams_of(backbone, texts, open_photo(real_data, image_id), golden_ids(golden, image_id))
        for image_id in PHOTOS
    }


def open_photo(real_data, image_id):
    return Image.open(real_data / "JPEGImages" / f"{image_id}.jpg").convert("RGB")


def golden_ids(golden, image_id):
    return np.load(golden / f"{image_id}.npz")["class_ids"].tolist()


@pytest.mark.parametrize("image_id", PHOTOS)
def test_cams_equal_those_of_the_published_program(image_id, made, golden):
    expected, actual = np.load(golden / f"{image_id}.npz"), made["fp32"][image_id]
    assert {actual.scores.dtype, actual.cam.dtype, actual.refined_cam.dtype} == {np.dtype(np.float32)}
    assert_allclose(actual.scores, expected["softmax_scores"], rtol=0, atol=1e-5)
    assert_allclose(actual.cam, expected["cam"], rtol=0, atol=1e-3)
    assert_allclose(actual.refined_cam, expected["refined_cam"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("precision", "worst", "mean"), [("bf16", 0.998, 0.999), ("fp16", 0.98, 0.995), ("fast", 0.97, 0.99)]
)
def test_half_precision_changes_few_pixels_of_the_masks(precision, worst, mean, made, golden, real_data):
    same = {"published": [], "fp32": []}
    for image_id in PHOTOS:
        size = open_photo(real_data, image_id).size
        mask = argmax_mask(made[precision][image_id].refined_cam, size)
        same["published"].append(mask == argmax_mask(np.load(golden / f"{image_id}.npz")["refined_cam"], size))
        same["fp32"].append(mask == argmax_mask(made["fp32"][image_id].refined_cam, size))
    for agreeing in same.values():
        assert min(one.mean() for one in agreeing) >= worst
        assert np.concatenate([one.ravel() for one in agreeing]).mean() >= mean


def argmax_mask(refined, size):
    """Return a mask of the photo's (width, height): 0, or the position of the class with the largest CAM, from 1."""
    maps = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in refined])
    return np.concatenate([1 - maps.max(axis=0, keepdims=True), maps]).argmax(axis=0)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_scores_equal_those_of_the_published_program_in_each_precision(precision, made, golden):
    for image_id in PHOTOS:
        expected = np.load(golden / f"{image_id}.npz")["softmax_scores"]
        assert_allclose(made[precision][image_id].scores, expected, rtol=0.02)


@pytest.mark.parametrize(
    "image_ids",
    [
        ("2007_000063", "2007_000068", "2007_001185", "2007_001340"),  # 500 x 375 px; 2, 1, 4 and 3 classes
        ("2007_000392", "2007_001420"),  # 500 x 332 px; 2 and 3 classes
    ],
)
def test_a_batch_equals_its_single_photos_if_their_class_counts_differ(
    image_ids, model, voc_texts, made, golden, real_data
):
    photos = [open_photo(real_data, image_id) for image_id in image_ids]
    class_ids = [golden_ids(golden, image_id) for image_id in image_ids]
    batch = photo_cams(VitBackbone(model.visual), voc_texts, photos, class_ids, CamConfig())
    for image_id, cams in zip(image_ids, batch, strict=True):
        assert_same(cams, made["fp32"][image_id], atol=1e-5)


@pytest.mark.parametrize("image_id", ["2007_000256", "2007_001420"])
def test_cams_of_whole_photos_equal_those_of_the_oracle(image_id, model, made, golden, real_data):
    words = [[oracle.VOC_WORDS[class_id - 1]] for class_id in golden_ids(golden, image_id)]
    expected, actual = oracle.oracle_cams(model, open_photo(real_data, image_id), words), made["fp32"][image_id]
    assert_allclose(actual.scores, expected.scores, rtol=1e-4)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=1e-4)
    assert_allclose(actual.refined_cam, expected.refined, rtol=0, atol=1e-4)
