"""ResNets, compared with OpenCLIP's own forward pass and with the oracle."""

import numpy as np
import open_clip
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image
from support import oracle
from support.cam_cases import VOCABULARY, cams_of, features_of, oracle_words
from support.small_resnets import resnet_architecture, resnet_clip
from support.tiny_networks import normalised

from clipes_core.backbones.resnet import ResNetBackbone
from clipes_core.cams import photo_cams
from clipes_core.config.pseudo_masks import CamConfig, PromptsConfig

pytestmark = pytest.mark.usefixtures("one_thread")

VARIANTS = {
    "small": {},
    "one block per stage": {"layers": [1, 1, 1, 1]},
    "wide": {"width": 24, "layers": [2, 1, 1, 1]},
    "large native grid": {"image_size": 160},
    "native grid of one": {"image_size": 32},
}
CLASS_IDS = [3, 1]
REAL_PHOTOS = ("2007_000063", "2007_000256", "2007_001420")


@pytest.fixture(scope="module")
def clip():
    return resnet_clip()


def opened(visual, precision="fp32"):
    return ResNetBackbone(visual, "attention", precision=precision)


def random_photos(count, height, width):
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("variant", VARIANTS)
def test_embeddings_at_the_native_size_equal_those_of_open_clip(variant):
    visual = resnet_clip(architecture=resnet_architecture(**VARIANTS[variant])).visual
    photos_rgb = random_photos(2, *2 * (visual.image_size,))
    encoded = opened(visual).encode(photos_rgb)
    with torch.no_grad():
        assert_allclose(encoded.embedding, visual(normalised(photos_rgb)), rtol=1e-3, atol=1e-4)
    side = visual.image_size // 32
    assert encoded.grid_hw == (side, side)
    assert encoded.features.shape == (2, side * side, 32 * VARIANTS[variant].get("width", 16))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size_hw", [(32, 32), (96, 160), (224, 64)])
def test_features_and_embeddings_of_any_size_equal_those_of_the_oracle(variant, size_hw):
    model = resnet_clip(architecture=resnet_architecture(**VARIANTS[variant]))
    photos_rgb = random_photos(2, *size_hw)
    encoded = opened(model.visual).encode(photos_rgb, attention_blocks=8)
    for at, pixels in enumerate(photos_rgb):
        seen = oracle.visual_pass(model, pixels, "attention")
        scale = float(seen.patches.detach().abs().max())
        assert_allclose(encoded.features[at], seen.patches.detach(), atol=1e-5 * scale)
        assert_allclose(encoded.embedding[at], seen.embedding.detach(), rtol=1e-4, atol=1e-5 * scale)
    assert encoded.attn_weights is None


@pytest.mark.parametrize("counts", [[1, 1], [3, 1]])
def test_gradients_equal_those_through_open_clips_attention_pooling(clip, counts):
    photos_rgb, visual = random_photos(2, 64, 64), clip.visual
    gradients = torch.randn(sum(counts), 48, generator=torch.Generator().manual_seed(2))
    encoded = opened(visual).encode(photos_rgb)
    found = encoded.pull_back(gradients, counts)
    owners = [photo for photo, count in enumerate(counts) for _ in range(count)]
    for own, gradient, photo in zip(found, gradients, owners, strict=True):
        maps = encoded.features[photo].T.reshape(1, -1, 2, 2).clone().requires_grad_()
        (expected,) = torch.autograd.grad(visual.attnpool(maps), maps, gradient[None])
        assert_allclose(own, expected.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-6)


def test_a_batch_equals_its_photos_one_by_one(clip):
    backbone, photos_rgb = opened(clip.visual), random_photos(3, 64, 96)
    batch = backbone.encode(photos_rgb)
    for at in range(3):
        alone = backbone.encode(photos_rgb[at : at + 1])
        assert_allclose(batch.features[at], alone.features[0], rtol=1e-4, atol=1e-4)
        assert_allclose(batch.embedding[at], alone.embedding[0], rtol=1e-4, atol=1e-4)


def test_a_position_stands_for_32_pixels_and_no_block_has_attention(clip):
    backbone = opened(clip.visual)
    assert (backbone.patch_size, backbone.depth) == (32, 0)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "fast"])
def test_the_given_network_is_not_modified_and_its_statistics_stay_frozen(precision):
    visual = resnet_clip().visual.train().requires_grad_()
    before = {name: tensor.clone() for name, tensor in visual.state_dict().items()}
    backbone, photos_rgb = opened(visual, precision), random_photos(2, 64, 64)
    first, second = (backbone.encode(photos_rgb) for _ in range(2))
    first.pull_back(torch.ones(2, 48), [1, 1])
    assert torch.equal(first.embedding, second.embedding)
    assert all(torch.equal(tensor, before[name]) for name, tensor in visual.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in visual.parameters())
    assert not any(each.requires_grad for each in (first.features, first.embedding))
    assert visual.training
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.visual.modules())


@pytest.mark.parametrize(("precision", "dtype", "atol"), [("fp16", torch.float16, 0.01), ("fast", torch.bfloat16, 0.1)])
def test_only_the_convolutions_have_half_precision(clip, precision, dtype, atol):
    photos_rgb = random_photos(2, 96, 64)
    exact, half = (opened(clip.visual, each) for each in ("fp32", precision))
    own = dict(half.visual.named_parameters())
    assert {name for name, weight in own.items() if weight.dtype != dtype} == {
        name for name in own if name.startswith("attnpool.")
    }
    expected, found = exact.encode(photos_rgb), half.encode(photos_rgb)
    assert {found.features.dtype, found.embedding.dtype} == {torch.float32}
    assert_allclose(found.embedding, expected.embedding, atol=atol * float(expected.embedding.std()))
    assert not torch.equal(found.embedding, expected.embedding)


def assert_cams_like_the_oracle(model, photos):
    """Compare the scores and CAMs of a batch of photos with the oracle's."""
    config, prompts = CamConfig(refine="none"), PromptsConfig()
    backbone, texts = opened(model.visual), features_of(model, prompts)
    words, background = oracle_words(CLASS_IDS, "sentence"), VOCABULARY.background_words
    peaks = []
    for photo, cams in zip(photos, photo_cams(backbone, texts, photos, [CLASS_IDS] * len(photos), config), strict=True):
        expected = oracle.oracle_cams(model, photo, words, background, pooling="attention", refine="none")
        assert cams.cam.shape == (2, -(-photo.height // 32), -(-photo.width // 32))
        assert_allclose(cams.scores, expected.scores, rtol=0, atol=2e-3)
        assert_allclose(cams.cam, expected.cam, rtol=0, atol=2e-3)
        assert_allclose(cams.refined_cam, cams.cam, rtol=0, atol=1e-6)
        peaks += [float(each.max()) for each in cams.cam]
    assert max(peaks) > 0.99


def real_photo(real_data, image_id):
    return Image.open(real_data / "JPEGImages" / f"{image_id}.jpg").convert("RGB")


@pytest.mark.parametrize("variant", ["small", "wide", "large native grid"])
@pytest.mark.parametrize("image_id", REAL_PHOTOS)
def test_cams_of_real_photos_equal_those_of_the_oracle(real_data, variant, image_id):
    model = resnet_clip(architecture=resnet_architecture(**VARIANTS[variant]))
    photo = real_photo(real_data, image_id)
    assert_cams_like_the_oracle(model, [photo, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)])


def test_cams_of_several_views_equal_those_of_the_oracle(clip, real_data):
    photo, prompts = real_photo(real_data, REAL_PHOTOS[0]).resize((150, 130)), PromptsConfig(fusion="cam")
    views = {"scales": (0.5, 1.0), "flip": True, "refine": "none"}
    cams = cams_of(opened(clip.visual), features_of(clip, prompts), photo, CLASS_IDS, **views)
    words = oracle_words(CLASS_IDS, "cam")
    expected = oracle.oracle_cams(clip, photo, words, VOCABULARY.background_words, fusion="cam", **views)
    assert_allclose(cams.scores, expected.scores, rtol=0, atol=2e-3)
    assert_allclose(cams.cam, expected.cam, rtol=0, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RN50-quickgelu", "RN101-quickgelu", "RN50x4-quickgelu"])
def test_cams_of_openais_resnets_with_random_weights_equal_those_of_the_oracle(real_data, name):
    architecture = open_clip.get_model_config(name)
    model = resnet_clip(architecture=architecture | {"text_cfg": architecture["text_cfg"] | {"layers": 1}})
    assert_cams_like_the_oracle(model, [real_photo(real_data, REAL_PHOTOS[0])])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RN50x16-quickgelu", "RN50x64-quickgelu"])
def test_cams_of_wide_resnets_with_a_block_per_stage_equal_those_of_the_oracle(real_data, name):
    """The networks of full depth would need gigabytes."""
    architecture = open_clip.get_model_config(name)
    vision, text = architecture["vision_cfg"] | {"layers": [1] * 4}, architecture["text_cfg"] | {"layers": 1}
    model = resnet_clip(architecture=architecture | {"vision_cfg": vision, "text_cfg": text})
    assert_cams_like_the_oracle(model, [real_photo(real_data, REAL_PHOTOS[0]).resize((250, 187))])
