import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from support.tiny_networks import normalised, tiny_visual

from clipes_core.backbones.backbone import Encoded
from clipes_core.backbones.pull_back import by_autograd
from clipes_core.backbones.vit import VitBackbone
from clipes_core.errors import ShapeError
from clipes_core.gradcam import GRADIENT_PEAK, gradcam, normalise_cam, score_gradients
from clipes_core.text_features import TextFeatures

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def random(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def photos(count, height, width):
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def class_scores(embedding, texts, logit_scale, softmax=True):
    """Return the scores of all texts; autograd can follow this plain form."""
    logits = logit_scale * texts @ (embedding / embedding.norm())
    return logits.softmax(dim=0) if softmax else logits


def scored(embedding, texts, logit_scale, classes, softmax=True):
    """Return the scores and gradients of the first texts, which belong to classes; the others are background words."""
    class_ids = list(range(1, classes + 1))
    features = TextFeatures(np.array([*class_ids, *[0] * (len(texts) - classes)]), texts.numpy(), logit_scale)
    return score_gradients(embedding.detach()[None], features, features.pairs([class_ids]), softmax)


def directions(texts, width):
    vectors = random(texts, width, seed=2)
    return vectors / vectors.norm(dim=1, keepdim=True)


def encoded_by_hand(patches, weights):
    """Return an encoding of 2 x 2 patches with two channels, whose embedding is one weighted sum of all features."""
    features, weights = torch.tensor([patches]), torch.tensor(weights)
    embedding, pull_back = by_autograd(lambda leaf: (leaf * weights).sum(dim=(1, 2))[:, None], features)
    return Encoded(features, embedding, None, (2, 2), pull_back)


def test_scores_are_the_softmax_of_scaled_cosines():
    embedding = torch.tensor([3.0, 4.0])  # length 5, so the cosines are 0.6 and 0.8
    texts = torch.tensor([E1, E2])
    assert_allclose(scored(embedding, texts, 10, 2, softmax=False)[0], [6, 8], rtol=1e-6)
    odds = [math.exp(6), math.exp(8)]
    assert_allclose(scored(embedding, texts, 10, 2)[0], np.array(odds) / sum(odds), rtol=1e-6)
    assert_allclose(scored(1000 * embedding, texts, 10, 2)[0], scored(embedding, texts, 10, 2)[0], rtol=1e-6)


def test_probabilities_depend_on_the_other_texts_but_logits_do_not():
    embedding, texts = random(16), directions(5, 16)
    alone, among = (scored(embedding, some, 20, 2, softmax=False)[0] for some in (texts[:2], texts))
    assert_allclose(alone, among, rtol=1e-12)
    assert scored(embedding, texts[:2], 20, 2)[0].sum() == pytest.approx(1)
    assert scored(embedding, texts, 20, 2)[0].sum() < 0.95


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("logit_scale", [1, 20])
def test_the_closed_form_of_a_batch_with_synonyms_equals_autograd(logit_scale, softmax):
    ids = np.array([1, 1, 2, 3, 3, 3, 0, 0])
    features = TextFeatures(ids, directions(8, 16).numpy(), logit_scale)
    embeddings, pairs = random(3, 16), features.pairs([[2], [3, 1], [1, 2, 3]])
    scores, gradients = score_gradients(embeddings, features, pairs, softmax)
    for pair, (photo, text) in enumerate(zip(pairs.photos, pairs.texts, strict=True)):
        point = embeddings[photo].double().requires_grad_()
        competing = np.flatnonzero(pairs.competes[pair])
        own = class_scores(point, torch.from_numpy(features.features[competing]).double(), logit_scale, softmax)
        expected = own[competing.tolist().index(text)]
        assert_allclose(scores[pair], expected.detach(), rtol=1e-12)
        (gradient,) = torch.autograd.grad(expected, point)
        assert_allclose(gradients[pair], gradient, rtol=1e-9, atol=1e-12 * gradient.abs().max())


@pytest.mark.parametrize("softmax", [True, False])
def test_gradients_equal_finite_differences(softmax):
    embedding, texts, step = random(16), directions(6, 16), 1e-6
    scores, gradients = scored(embedding, texts, 20, classes=2, softmax=softmax)
    assert_allclose(scores, class_scores(embedding, texts, 20, softmax)[:2], rtol=1e-5)
    assert gradients.shape == (2, 16)
    point, exact_texts = embedding.double(), texts.double()
    for entry, axis in enumerate(torch.eye(16, dtype=torch.float64)):
        above, below = (class_scores(point + side * step * axis, exact_texts, 20, softmax)[:2] for side in (1, -1))
        assert_allclose(gradients[:, entry], (above - below) / (2 * step), rtol=1e-4, atol=1e-8)


def test_gradients_equal_those_worked_out_by_hand():
    # At (2, 0), the cosines 1, 0 have gradients (0, 0), (0, 1/2); the logits 3, 0 have scores s, 1 - s.
    _, logits = scored(torch.tensor([2.0, 0.0]), torch.tensor([E1, E2]), 3, classes=2, softmax=False)
    assert_allclose(logits, [[0, 0], [0, 1.5]], atol=1e-12)
    _, probs = scored(torch.tensor([2.0, 0.0]), torch.tensor([E1, E2]), 3, classes=2)
    s = math.exp(3) / (math.exp(3) + 1)
    assert_allclose(probs, [[0, -1.5 * s * (1 - s)], [0, 1.5 * s * (1 - s)]], atol=1e-12)


def test_a_saturated_softmax_still_has_a_gradient():
    embedding, texts = torch.tensor([1.0, 0.1]), torch.tensor([E1, E2])
    scores, gradients = scored(embedding, texts, 30, classes=1)
    assert scores.float().item() == 1
    point = embedding.clone().requires_grad_()
    (rounded,) = torch.autograd.grad(class_scores(point, texts, 30)[0], point)
    assert rounded.abs().max() < 1e-9 < gradients.abs().max() * 1e4
    # ds/de = s (1 - s) (dl_1 - dl_2), which points along the gradient of the difference of the logits
    _, logits = scored(embedding, texts, 30, classes=2, softmax=False)
    parting = logits[0] - logits[1]
    assert_allclose(gradients[0] / gradients.norm(), parting / parting.norm(), rtol=1e-4)


def test_a_class_without_competitors_has_no_gradient():
    scores, gradients = scored(random(16), directions(1, 16), 100, classes=1)
    assert scores.tolist() == [1]
    assert not gradients.any()


def test_scores_and_gradients_mutate_nothing():
    embedding, texts = random(16), directions(3, 16)
    before = embedding.clone(), texts.clone()
    scores, gradients = scored(embedding, texts, 20, classes=2)
    assert torch.equal(embedding, before[0])
    assert torch.equal(texts, before[1])
    assert (scores.dtype, gradients.dtype) == (torch.float64, torch.float64)


def test_channels_are_weighted_by_the_mean_gradient_over_the_patches():
    patches = [[1.0, 2.0], [3.0, 0.0], [0.0, 4.0], [2.0, 2.0]]
    gradients = [[8.0, 0.0], [0.0, 0.0], [0.0, -4.0], [0.0, 0.0]]  # their means are 2 and -1
    cam = gradcam(encoded_by_hand(patches, gradients), torch.ones(1, 1), [1])
    # 2 A_1 - A_2 = (0, 6, -4, 2), then ReLU
    assert_allclose(cam, [[[0, 1], [0, 1 / 3]]], atol=1e-6)


def test_a_map_without_positive_values_is_empty():
    negative = encoded_by_hand([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]], [[-1.0, 0.0]] * 4)
    assert gradcam(negative, torch.ones(1, 1), [1]).tolist() == torch.zeros(1, 2, 2).tolist()


def test_a_map_is_normalised_twice():
    # The first pass leaves a peak of x / (x + 1e-7), and the second raises it to 1.
    faint = encoded_by_hand([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 0.0]], [[4e-10, 0.0]] * 4)
    raw = GRADIENT_PEAK * 4e-10
    once = raw / (raw + 1e-7)
    assert once == pytest.approx(0.506, abs=1e-3)
    assert gradcam(faint, torch.ones(1, 1), [1]).max() == pytest.approx(once / (once + 1e-7), abs=1e-6)


@pytest.mark.parametrize("pooling", ["cls", "patch_mean"])
def test_cams_equal_those_computed_by_autograd_through_open_clip(pooling):
    visual = tiny_visual(pool_type="tok" if pooling == "cls" else "avg")
    photos_rgb, texts = photos(2, 32, 32), directions(6, 16)
    encoded = VitBackbone(visual, pooling).encode(photos_rgb)
    gradients = torch.cat([scored(one, texts, 20, classes=4)[1] for one in encoded.embedding])
    cams = gradcam(encoded, gradients, [4, 4])
    assert (cams.amax(dim=(1, 2)) > 0.99).sum() >= 4  # the remaining CAMs are empty
    pixels, exact = normalised(photos_rgb).double(), visual.double()  # in float32, 1 - s is lost if a score s is near 1
    expected = [cam_through_open_clip(exact, pixels[i : i + 1], texts.double(), k) for i in range(2) for k in range(4)]
    assert_allclose(cams.flatten(1), torch.stack(expected), atol=1e-4)


def cam_through_open_clip(visual, pixels, texts, k):
    """Return a CAM from OpenCLIP's forward pass; a leaf that only the attention branch reads replaces the last ln_1."""
    leaves = []

    def cut(_module, _inputs, output):
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    hook = visual.transformer.resblocks[-1].ln_1.register_forward_hook(cut)
    logits = 20 * texts @ torch.nn.functional.normalize(visual(pixels)[0], dim=0)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits.softmax(dim=0)[k], leaves)
    raw = (leaves[0].detach()[0, 1:] @ gradient[0, 1:].mean(dim=0)).relu()
    return (raw - raw.min()) / (raw.max() - raw.min()).clamp_min(1e-12)


def test_the_scale_of_the_gradients_does_not_matter():
    encoded = VitBackbone(tiny_visual()).encode(photos(1, 32, 32))
    gradients = random(2, 16, dtype=torch.float64)
    cams = gradcam(encoded, gradients, [2])
    for scale in (1e-30, 1e-9, 1e30):
        assert_allclose(gradcam(encoded, scale * gradients, [2]), cams, atol=1e-6)
    assert not torch.allclose(gradcam(encoded, -gradients, [2]), cams)


def test_a_zero_gradient_gives_an_empty_cam_and_leaves_others_unchanged():
    encoded = VitBackbone(tiny_visual()).encode(photos(2, 32, 32))
    gradients = random(6, 16)
    full = gradcam(encoded, gradients, [3, 3])
    gradients[2] = 0
    without = gradcam(encoded, gradients, [3, 3])
    assert not without[2].any()
    without[2] = full[2]
    assert_allclose(without, full, atol=1e-6)


@pytest.mark.parametrize("pooling", ["cls", "patch_mean"])
@pytest.mark.parametrize("counts", [[2, 2], [1, 3], [4, 2]])
def test_the_gradients_of_a_photo_affect_no_other_photo_of_the_batch(counts, pooling):
    backbone, photos_rgb, gradients = VitBackbone(tiny_visual(), pooling), photos(2, 32, 32), random(sum(counts), 16)
    together = gradcam(backbone.encode(photos_rgb), gradients, counts)
    for photo, own in enumerate((slice(0, counts[0]), slice(counts[0], None))):
        alone = backbone.encode(photos_rgb[photo : photo + 1])
        assert_allclose(gradcam(alone, gradients[own], [counts[photo]]), together[own], atol=1e-5)


def test_gradcam_can_be_called_again_and_mutates_no_argument():
    encoded = VitBackbone(tiny_visual()).encode(photos(1, 32, 32))
    gradients = random(2, 16)
    before = gradients.clone(), encoded.features.detach().clone()
    first = gradcam(encoded, gradients, [2])
    assert torch.equal(gradcam(encoded, gradients, [2]), first)
    assert torch.equal(gradients, before[0])
    assert torch.equal(encoded.features, before[1])
    assert encoded.features.grad is None
    assert not first.requires_grad
    assert first.dtype == torch.float32


@pytest.mark.parametrize("pooling", ["cls", "patch_mean"])
@pytest.mark.parametrize("side", [16, 448])
def test_half_precision_neither_underflows_nor_overflows(pooling, side):
    visual, photos_rgb, gradients = tiny_visual(), photos(1, side, side), random(2, 16)
    exact, half = (
        gradcam(VitBackbone(visual, pooling, precision=precision).encode(photos_rgb), gradients, [2])
        for precision in ("fp32", "fp16")
    )
    assert_allclose(half, exact, atol=0.005)


@pytest.mark.parametrize(("shape", "counts"), [((2, 5), [2]), ((2, 16), [1]), ((2, 16), [1, 1]), ((16,), [1])])
def test_refuses_gradients_of_a_different_shape(shape, counts):
    encoded = VitBackbone(tiny_visual()).encode(photos(1, 32, 32))
    expected = rf"gradients of 1 photos must be \({sum(counts)}, 16\), got \({', '.join(map(str, shape))}"
    with pytest.raises(ShapeError, match=expected):
        gradcam(encoded, torch.zeros(shape), counts)


def test_normalisation_subtracts_the_minimum_and_divides_by_the_new_maximum():
    maps = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[-4.0, -2.0], [-3.0, -3.0]]])
    expected = [[[0, 0.5], [0.25, 1]], [[0, 1], [0.5, 0.5]]]
    assert_allclose(normalise_cam(maps), expected, atol=1e-6)
    assert maps[0, 0, 0] == 1


def test_normalisation_adds_epsilon_to_the_maximum():
    faint = torch.tensor([[0.0, 1e-7], [0.0, 3e-7]], dtype=torch.float64)
    assert_allclose(normalise_cam(faint), [[0, 0.25], [0, 0.75]])
    assert normalise_cam(torch.full((1, 2, 2), 7.0)).tolist() == [[[0, 0], [0, 0]]]
