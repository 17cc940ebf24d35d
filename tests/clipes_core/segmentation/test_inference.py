import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmseg.models.segmentors import BaseSegmentor
from support.small_segmenters import built, small_config
from torch import nn

from clipes_core.config.segmenter import EvaluationConfig
from clipes_core.dense_crf import dense_crf
from clipes_core.errors import PhotoError, ShapeError
from clipes_core.segmentation.inference import photo_mask, photo_probs


class Pointwise(BaseSegmentor):
    """A network whose logits at a pixel depend on its normalised colour alone.

    It returns every `every`-th row and column; `seen` lists the (height, width) of its inputs.
    """

    def __init__(self, weights, preprocessor, every=1):
        super().__init__(data_preprocessor=preprocessor)
        self.seen, self.every = [], every
        self.convolution = nn.Conv2d(3, len(weights), 1, bias=False)
        self.convolution.weight.data = torch.tensor(weights, dtype=torch.float32)[:, :, None, None]

    def encode_decode(self, inputs, batch_img_metas):
        self.seen.append(tuple(inputs.shape[2:]))
        return self.convolution(inputs)[..., :: self.every, :: self.every]

    def extract_feat(self, inputs):
        raise NotImplementedError

    _forward = loss = predict = extract_feat


RGB = {"type": "SegDataPreProcessor", "mean": [10, 20, 30], "std": [1, 2, 4], "bgr_to_rgb": True}


def pointwise(weights=((0, 0, 0), (0.1, 0, 0), (0, 0, 0.1)), preprocessor=RGB, every=1):
    with DefaultScope.overwrite_default_scope("mmseg"):
        return Pointwise(weights, preprocessor, every).eval()


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def config(**values):
    return EvaluationConfig.model_validate(values)


def logits_by_hand(image_rgb):
    """Return the logits of `pointwise()`: 0, a tenth of the normalised red and a tenth of the normalised blue."""
    red, blue = (image_rgb[..., 0] - 10.0) / 1, (image_rgb[..., 2] - 30.0) / 4
    return np.stack([0 * red, red / 10, blue / 10])


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=0))
    return raised / raised.sum(axis=0)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(PhotoError, match=r"^the output of the segmenter contains NaN or infinity"):
        photo_probs(pointwise([[np.nan, 0, 0], [0, 1, 0]]), np.full((4, 4, 3), 9, np.uint8), EvaluationConfig())


def test_probabilities_are_the_softmax_of_logits_of_normalised_colours():
    image = photo(5, 7)
    probs = photo_probs(pointwise(), image, config())
    assert (probs.dtype, probs.shape) == (torch.float32, (3, 5, 7))
    np.testing.assert_allclose(probs.numpy(), softmax(logits_by_hand(image)), atol=1e-5)


def test_a_preprocessor_that_keeps_bgr_receives_bgr():
    image = photo(4, 4)
    model = pointwise(preprocessor={"type": "SegDataPreProcessor", "mean": [30, 20, 10], "std": [4, 2, 1]})
    probs = photo_probs(model, image, config())
    red, blue = (image[..., 0] - 10.0) / 1, (image[..., 2] - 30.0) / 4
    np.testing.assert_allclose(probs.numpy(), softmax(np.stack([0 * red, blue / 10, red / 10])), atol=1e-5)


@pytest.mark.parametrize("size_hw", [(32, 32), (33, 70), (70, 33), (95, 97), (5, 40)])
def test_crops_and_the_whole_photo_agree_for_a_pointwise_network(size_hw):
    image, model = photo(*size_hw), pointwise()
    whole = photo_probs(model, image, config())
    slid = photo_probs(model, image, config(mode="slide", crop=32, stride=20))
    torch.testing.assert_close(slid, whole)


def test_crops_are_a_stride_apart_and_stay_within_the_photo():
    model = pointwise()
    photo_probs(model, photo(32, 73), config(mode="slide", crop=32, stride=20))
    assert model.seen == [(32, 32)] * 4  # starting at columns 0, 20, 40 and 41
    model.seen.clear()
    photo_probs(model, photo(20, 72), config(mode="slide", crop=32, stride=20))
    assert model.seen == [(20, 32)] * 3  # starting at columns 0, 20 and 40; in rows, one crop covers the photo


def test_logits_of_overlapping_crops_are_averaged():
    class FirstColumn(Pointwise):
        """A network that repeats the logits of a crop's first column in all columns."""

        def encode_decode(self, inputs, batch_img_metas):
            logits = super().encode_decode(inputs, batch_img_metas)
            return logits[..., :1].expand_as(logits)

    with DefaultScope.overwrite_default_scope("mmseg"):
        model = FirstColumn(((0, 0, 0), (0.1, 0, 0), (0, 0, 0.1)), RGB).eval()
    image = photo(1, 48)

    probs = photo_probs(model, image, config(mode="slide", crop=32, stride=16)).numpy()

    first, second = logits_by_hand(image)[:, :, 0], logits_by_hand(image)[:, :, 16]
    np.testing.assert_allclose(probs[:, :, 3], softmax(first), atol=1e-5)
    np.testing.assert_allclose(probs[:, :, 20], softmax((first + second) / 2), atol=1e-5)
    np.testing.assert_allclose(probs[:, :, 40], softmax(second), atol=1e-5)


def scaled_logits(image, scale):
    """Return the logits of the scaled photo, resized to the size of the photo."""
    height, width, _ = image.shape
    small = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    logits = torch.from_numpy(logits_by_hand(small))[None]
    return F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)[0].numpy()


def test_probabilities_are_averaged_over_scales_and_flips():
    image = photo(9, 13)
    probs = photo_probs(pointwise(), image, config(scales=[1, 0.5, 1.5], flip=True))
    expected = np.mean([softmax(scaled_logits(image, scale)) for scale in (1, 0.5, 1.5)], axis=0)
    np.testing.assert_allclose(probs.numpy(), expected, atol=1e-5)  # the network is pointwise: flips change nothing


def test_merge_max_takes_the_maximum_of_the_logits_over_scales():
    image = photo(12, 11)
    probs = photo_probs(pointwise(), image, config(scales=[1, 0.75, 0.5], merge="max"))
    expected = softmax(np.max([scaled_logits(image, scale) for scale in (1, 0.75, 0.5)], axis=0))
    np.testing.assert_allclose(probs.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("merge", ["mean", "max"])
def test_a_mirrored_photo_has_the_mirrored_probabilities(merge):
    model, image, both = built(small_config(3)), photo(41, 55), config(flip=True, merge=merge)
    probs = photo_probs(model, image, both)
    mirrored = photo_probs(model, image[:, ::-1], both)
    torch.testing.assert_close(mirrored.flip(-1), probs, atol=1e-6, rtol=1e-4)
    assert not torch.allclose(photo_probs(model, image, config()), probs)  # one view alone is not symmetric


@pytest.mark.parametrize("size_hw", [(31, 57), (2, 3), (97, 2)])
def test_odd_sizes_are_preserved_and_probabilities_add_up_to_one(size_hw):
    probs = photo_probs(built(small_config(4)), photo(*size_hw), config(scales=[1, 0.5], flip=True))
    assert probs.shape == (4, *size_hw)
    torch.testing.assert_close(probs.sum(dim=0), torch.ones(size_hw))
    assert not probs.requires_grad


def test_the_test_cfg_of_the_network_is_ignored():
    image = photo(40, 50)
    sliding = small_config(3) | {"test_cfg": {"mode": "slide", "crop_size": (16, 16), "stride": (8, 8)}}
    whole = photo_probs(built(small_config(3)), image, config())
    torch.testing.assert_close(photo_probs(built(sliding), image, config()), whole)


def test_padding_by_the_preprocessor_is_cut_off():
    model = pointwise(preprocessor=RGB | {"test_cfg": {"size_divisor": 8}})
    image = photo(13, 21)
    probs = photo_probs(model, image, config())
    assert model.seen == [(16, 24)]
    np.testing.assert_allclose(probs.numpy(), softmax(logits_by_hand(image)), atol=1e-5)


def test_logits_of_a_coarser_grid_are_resized_bilinearly():
    image = photo(8, 12)
    probs = photo_probs(pointwise(every=2), image, config())
    coarse = torch.from_numpy(logits_by_hand(image[::2, ::2]))[None]
    expected = F.interpolate(coarse, (8, 12), mode="bilinear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(probs.numpy(), softmax(expected), atol=1e-5)


def test_a_mask_holds_the_most_probable_class():
    image, model = photo(6, 5), pointwise()
    mask = photo_mask(model, image, config())
    assert mask.dtype == np.uint8
    assert (mask == logits_by_hand(image).argmax(axis=0)).all()


def test_the_crf_refines_the_probabilities_if_enabled():
    image, model = photo(16, 20), pointwise()
    crf = {"enabled": True, "iter_max": 2}
    settings = config(crf=crf)
    mask = photo_mask(model, image, settings)
    posterior = dense_crf(image, photo_probs(model, image, settings).numpy(), settings.crf)
    assert (mask == posterior.argmax(axis=0)).all()
    assert (mask != photo_mask(model, image, config())).any()


def test_the_photo_is_not_changed():
    image = photo(9, 9)
    before = image.copy()
    image.setflags(write=False)
    photo_mask(built(small_config(3)), image, config(scales=[1, 2], flip=True, mode="slide", crop=32, stride=8))
    assert (image == before).all()


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_an_array_that_is_not_a_photo_is_refused(image):
    with pytest.raises(ShapeError, match=r"image_rgb must be \(H, W, 3\) uint8, got"):
        photo_probs(pointwise(), image, config())


def test_probabilities_of_a_transformer_add_up_to_one():
    segformer = small_config(3) | {
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 8,
            "num_layers": [1, 1, 1, 1],
            "num_heads": [1, 1, 1, 1],
            "patch_sizes": [7, 3, 3, 3],
        },
        "decode_head": {
            "type": "SegformerHead",
            "in_channels": [8, 8, 8, 8],
            "in_index": [0, 1, 2, 3],
            "channels": 8,
            "num_classes": 3,
            "norm_cfg": {"type": "BN"},
            "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
        },
    }
    probs = photo_probs(built(segformer), photo(37, 53), config())
    assert probs.shape == (3, 37, 53)
