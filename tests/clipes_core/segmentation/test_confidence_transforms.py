import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

import clipes_core.segmentation  # noqa: F401 - registers what the pipelines name
from clipes_core.errors import ConfigError, ShapeError

ODD_SIZE = (37, 53)
HALF_TO_DOUBLE = [[{"type": "Resize", "scale_factor": factor}] for factor in (0.5, 0.75, 1.5)]


def results(size=ODD_SIZE) -> dict:
    """Return a photo whose confidence is a function of its labels, so that tests notice if the two drift apart."""
    labels = np.random.default_rng(0).integers(0, 200, size, dtype=np.uint8)
    return {
        "img": np.repeat(labels[..., None], 3, axis=2),
        "img_shape": size,
        "ori_shape": size,
        "gt_seg_map": labels,
        "gt_confidence": 255 - labels,
        "seg_fields": ["gt_seg_map", "gt_confidence"],
        "reduce_zero_label": False,
    }


def pipeline(*transforms: dict) -> Compose:
    register_all_modules()
    with DefaultScope.overwrite_default_scope("mmseg"):
        return Compose(list(transforms))


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "Resize", "scale": (31, 45)},
        {"type": "Resize", "scale": (31, 45), "keep_ratio": True},
        {"type": "RandomResize", "scale": (60, 40), "ratio_range": (0.5, 2.0), "keep_ratio": True},
        {"type": "RandomChoiceResize", "scales": [(30, 20), (75, 55)]},
        {"type": "RandomChoice", "transforms": HALF_TO_DOUBLE},
        {"type": "RandomCrop", "crop_size": (17, 23)},
        {"type": "RandomCrop", "crop_size": (17, 23), "cat_max_ratio": 0.75},
        {"type": "RandomFlip", "prob": 1.0},
        {"type": "RandomFlip", "prob": 1.0, "direction": "vertical"},
    ],
    ids=lambda transform: transform["type"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_stock_transforms_treat_confidence_like_labels(transform, seed):
    np.random.seed(seed)
    given = results()

    moved = pipeline(transform)(given.copy())

    assert moved["gt_confidence"].dtype == np.uint8
    assert moved["gt_confidence"].shape == moved["img"].shape[:2]
    assert (moved["gt_confidence"] == 255 - moved["gt_seg_map"]).all()
    assert not np.array_equal(moved["gt_seg_map"], given["gt_seg_map"])


def test_photo_labels_and_confidence_are_each_padded_with_their_own_value():
    pad = {"type": "PadWithConfidence", "size": (60, 40), "pad_val": {"img": (104, 117, 123), "seg": 255}}
    given = results()

    padded = pipeline(pad)(given.copy())

    assert padded["img"].shape == (40, 60, 3)
    for key, value in (("img", (104, 117, 123)), ("gt_seg_map", 255), ("gt_confidence", 0)):
        assert (padded[key][:37, :53] == given[key]).all()
        assert (padded[key][37:] == value).all()
        assert (padded[key][:, 53:] == value).all()


def test_photos_without_confidence_are_padded_too():
    given = results()
    del given["gt_confidence"]
    padded = pipeline({"type": "PadWithConfidence", "size_divisor": 8})(given)
    assert padded["gt_seg_map"].shape == (40, 56)


def test_photo_labels_and_confidence_are_packed():
    given = results()

    packed = pipeline({"type": "PackConfidence"})(given.copy())

    sample = packed["data_samples"]
    assert packed["inputs"].shape == (3, *ODD_SIZE)
    assert sample.gt_sem_seg.data.dtype == torch.int64
    assert sample.gt_confidence.data.dtype == torch.uint8
    assert (sample.gt_confidence.data[0].numpy() == given["gt_confidence"]).all()
    assert sample.metainfo["img_shape"] == ODD_SIZE


def test_photos_and_confidence_stay_aligned_from_file_to_batch():
    # The photos have odd sizes, smaller and larger than the crop; the preprocessor pads them and their labels to it.
    np.random.seed(0)
    whole = pipeline(
        {"type": "RandomChoice", "transforms": HALF_TO_DOUBLE},
        {"type": "RandomCrop", "crop_size": (33, 33)},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "PackConfidence"},
    )
    photos = [whole(results(size)) for size in [(37, 53), (65, 21), (90, 90)]]
    batch = {key: [photo[key] for photo in photos] for key in photos[0]}
    preprocessor = MODELS.build({"type": "SegDataPreProcessor", "size": (33, 33), "pad_val": 0, "seg_pad_val": 255})

    given = preprocessor(batch, training=True)

    assert given["inputs"].shape == (3, 3, 33, 33)
    for sample in given["data_samples"]:
        height, width = sample.gt_confidence.shape
        labels = sample.gt_sem_seg.data[0]
        assert labels.shape == (33, 33)
        assert (labels[:height, :width] == 255 - sample.gt_confidence.data[0]).all()
        assert (labels[height:] == 255).all()
        assert (labels[:, width:] == 255).all()


def test_rejects_photos_without_confidence():
    given = results()
    del given["gt_confidence"]
    with pytest.raises(ConfigError, match="no gt_confidence"):
        pipeline({"type": "PackConfidence"})(given)


def test_rejects_confidence_whose_size_a_transform_did_not_update():
    given = results() | {"seg_fields": ["gt_seg_map"]}
    with pytest.raises(ShapeError, match=r"\(37, 53\), but gt_seg_map is \(17, 23\).*seg_fields"):
        pipeline({"type": "RandomCrop", "crop_size": (17, 23)}, {"type": "PackConfidence"})(given)
