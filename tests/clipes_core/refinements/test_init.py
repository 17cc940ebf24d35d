import numpy as np
import pytest
import torch
from PIL import Image
from support.tiny_networks import tiny_visual

from clipes_core.affinity import Attention
from clipes_core.backbones.vit import VitBackbone
from clipes_core.cams import photo_cams
from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.errors import PhotoError
from clipes_core.refinements import REFINEMENTS, Refinement
from clipes_core.refinements.none import none
from clipes_core.text_features import TextFeatures

TEXTS = TextFeatures(np.array([1, 2, 0]), np.eye(3, 16, dtype=np.float32), 10.0)


class RecordingBackbone(VitBackbone):
    """A network that records the requested number of attention blocks."""

    def encode(self, photos_rgb, attention_blocks=0):
        self.attention_blocks = attention_blocks
        return super().encode(photos_rgb, attention_blocks)


@pytest.fixture
def photo():
    """Return a photo of 3 x 4 patches of 8 px that is dark on the left and bright on the right."""
    grey = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (24, 1))
    return Image.fromarray(np.stack([grey, grey, grey], axis=2))


@pytest.fixture
def toy(monkeypatch):
    row = Refinement("support.toy_refinements:brightness", needs_attention=False)
    monkeypatch.setitem(REFINEMENTS, "brightness", row)


def test_a_refinement_that_returns_nan_is_refused(photo, monkeypatch):
    row = Refinement("support.toy_refinements:undefined", needs_attention=False)
    monkeypatch.setitem(REFINEMENTS, "undefined", row)
    with pytest.raises(PhotoError, match=r"^a refined CAM contains NaN or infinity\. Likely causes: the weights"):
        photo_cams(VitBackbone(tiny_visual()), TEXTS, [photo], [[1]], CamConfig(refine="undefined"))


@pytest.mark.parametrize("name", REFINEMENTS)
def test_every_refinement_names_a_function_that_can_be_imported(name):
    assert callable(REFINEMENTS[name].load())


@pytest.mark.parametrize("name", REFINEMENTS)
def test_every_refinement_returns_new_cams_and_mutates_nothing(name):
    random = np.random.default_rng(0)
    cams, photo_rgb = random.random((2, 3, 4), np.float32), random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    weights = torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(1)).softmax(dim=2)
    before = cams.copy(), weights.clone(), photo_rgb.copy()
    attention = Attention(weights, [2]) if REFINEMENTS[name].needs_attention else None

    refined = REFINEMENTS[name].load()(cams, attention, [photo_rgb] * 2, CamConfig())

    assert (refined.shape, refined.dtype) == (cams.shape, torch.float32)
    assert 0 <= refined.min() <= refined.max() <= 1
    refined.fill_(-1)
    assert np.array_equal(cams, before[0])
    assert torch.equal(weights, before[1])
    assert np.array_equal(photo_rgb, before[2])


def test_no_refinement_returns_the_initial_cams():
    cams = np.random.default_rng(0).random((2, 3, 4), np.float32)
    assert np.array_equal(none(cams, None, [np.zeros((24, 32, 3), np.uint8)] * 2, CamConfig()), cams)


@pytest.mark.parametrize("name", REFINEMENTS)
def test_the_network_computes_attention_only_for_a_refinement_that_needs_it(name, photo):
    backbone = RecordingBackbone(tiny_visual())
    photo_cams(backbone, TEXTS, [photo], [[1, 2]], CamConfig(refine=name, attention_blocks=2))
    assert backbone.attention_blocks == (2 if REFINEMENTS[name].needs_attention else 0)


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("views", [{}, {"flip": True}])
def test_an_added_refinement_reads_the_pixels_of_each_view_of_each_photo(photo, views):
    backbone = RecordingBackbone(tiny_visual())
    photos = [photo, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), photo]

    found = photo_cams(backbone, TEXTS, photos, [[1, 2], [2], [1]], CamConfig(refine="brightness", **views))

    assert backbone.attention_blocks == 0
    for own, cams in zip(photos, found, strict=True):
        brightness = np.asarray(own)[..., 0].reshape(3, 8, 4, 8).mean(axis=(1, 3)) / 255
        np.testing.assert_allclose(cams.refined_cam, cams.cam * brightness, atol=1e-6)
