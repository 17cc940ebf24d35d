import copy
from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from support.cam_cases import (
    CLASS_IDS,
    assert_like_the_oracle,
    assert_same,
    cams_of,
    features_of,
)

from clipes_core.affinity import box_mask
from clipes_core.backbones.vit import VitBackbone
from clipes_core.cams import cams_of_batch, photo_cams
from clipes_core.config.pseudo_masks import CamConfig, PromptsConfig
from clipes_core.device import finish
from clipes_core.errors import ErrorKind, PhotoError, ShapeError
from clipes_core.text_features import TextFeatures
from clipes_core.views import Viewer, list_views

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("fusion", ["sentence", "feature", "cam"])
@pytest.mark.parametrize(
    ("softmax", "pooling", "refine"),
    list(product([True, False], ["patch_mean", "cls"], ["none", "mhsa", "caa"])),
)
def test_cams_equal_the_oracle_for_each_score_refinement_and_fusion(model, photo, softmax, pooling, refine, fusion):
    assert_like_the_oracle(model, photo, PromptsConfig(fusion=fusion), pooling, softmax=softmax, refine=refine)


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_cams_without_background_words_equal_the_oracle(model, photo, fusion, softmax):
    assert_like_the_oracle(model, photo, PromptsConfig(fusion=fusion, background=False), softmax=softmax)


@pytest.mark.parametrize("fusion", ["sentence", "feature", "cam"])
def test_cams_of_several_templates_equal_the_oracle(model, photo, fusion):
    templates = ("a clean origami {}.", "a rendering of a weird {}.", "{} in a photo")
    assert_like_the_oracle(model, photo, PromptsConfig(template=templates, fusion=fusion))


@pytest.mark.parametrize("box_threshold", [0, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_cams_equal_the_oracle_at_each_box_threshold(model, photo, box_threshold, fusion):
    assert_like_the_oracle(model, photo, PromptsConfig(fusion=fusion), box_threshold=box_threshold)


@pytest.mark.parametrize("attention_blocks", [1, 3, 12, 40])
@pytest.mark.parametrize("refine", ["mhsa", "caa"])
def test_cams_equal_the_oracle_for_each_number_of_attention_blocks(model, photo, attention_blocks, refine):
    assert_like_the_oracle(model, photo, PromptsConfig(), refine=refine, attention_blocks=attention_blocks)


@pytest.mark.parametrize("sinkhorn_rounds", [0, 1, 3])
@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_cams_equal_the_oracle_for_each_sinkhorn_round_and_power(model, photo, sinkhorn_rounds, power):
    assert_like_the_oracle(model, photo, PromptsConfig(), sinkhorn_rounds=sinkhorn_rounds, power=power)


@pytest.mark.parametrize("class_ids", [[4], [2, 4, 1, 3], [3, 2]])
def test_cams_of_classes_in_any_order_equal_the_oracle(model, photo, class_ids):
    assert_like_the_oracle(model, photo, PromptsConfig(fusion="cam"), class_ids=class_ids)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (300, 33), (5, 5)])
def test_cams_of_photos_of_any_size_equal_the_oracle(model, photo, size):
    assert_like_the_oracle(model, photo.resize(size), PromptsConfig())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"cam": {"softmax": False}}, ("scores", "cam", "refined_cam")),
        ({"cam": {"refine": "none"}}, ("refined_cam",)),
        ({"cam": {"refine": "mhsa"}}, ("refined_cam",)),
        ({"cam": {"box_threshold": 0.7}}, ("refined_cam",)),
        ({"cam": {"attention_blocks": 1}}, ("refined_cam",)),
        ({"cam": {"attention_blocks": 3}}, ("refined_cam",)),
        ({"cam": {"attention_blocks": 12}}, ("refined_cam",)),
        ({"cam": {"sinkhorn_rounds": 0}}, ("refined_cam",)),
        ({"cam": {"sinkhorn_rounds": 1}}, ("refined_cam",)),
        ({"cam": {"power": 0}}, ("refined_cam",)),
        ({"cam": {"power": 1}}, ("refined_cam",)),
        ({"cam": {"power": 3}}, ("refined_cam",)),
        ({"cam": {"scales": (0.5, 1.0)}}, ("scores", "cam", "refined_cam")),
        ({"cam": {"flip": True}}, ("scores", "cam", "refined_cam")),
        ({"pooling": "cls"}, ("scores", "cam", "refined_cam")),
        ({"prompts": {"fusion": "feature"}}, ("scores", "cam", "refined_cam")),
        ({"prompts": {"fusion": "cam"}}, ("scores", "cam", "refined_cam")),
        ({"prompts": {"template": "a photo of {}"}}, ("scores", "cam", "refined_cam")),
        ({"prompts": {"template": ("a clean origami {}.", "{}")}}, ("scores", "cam", "refined_cam")),
        ({"prompts": {"background": False}}, ("scores", "cam", "refined_cam")),
    ],
    ids=str,
)
def test_a_setting_changes_only_the_results_it_is_meant_to_change(model, photo, changes, what):
    plain, changed = (cams_with(model, photo, **some) for some in ({}, changes))
    moved = {
        name: float(np.abs(getattr(plain, name) - getattr(changed, name)).max())
        for name in ("scores", "cam", "refined_cam")
    }
    assert {name for name, distance in moved.items() if distance > 1e-3} == set(what), moved
    assert all(moved[name] < 1e-5 for name in moved.keys() - set(what)), moved


def cams_with(model, photo, cam=None, prompts=None, pooling="patch_mean"):
    texts = features_of(model, PromptsConfig(**prompts or {}))
    return cams_of(VitBackbone(model.visual, pooling), texts, photo, CLASS_IDS, **cam or {})


def test_more_attention_blocks_than_the_network_has_mean_all(model, photo):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig())
    all_blocks, more = (cams_of(backbone, texts, photo, CLASS_IDS, attention_blocks=n) for n in (12, 40))
    assert_same(more, all_blocks, atol=0)


def test_a_text_without_competitors_has_an_empty_cam(model, photo):
    texts = features_of(model, PromptsConfig(background=False))
    cams = cams_of(VitBackbone(model.visual), texts, photo, [2])
    assert cams.scores.tolist() == [1]
    assert not cams.cam.any()
    assert not cams.refined_cam.any()
    assert cams_of(VitBackbone(model.visual), texts, photo, [2], softmax=False).cam.max() > 0.99


def texts_of_pass(texts, places):
    """Return the texts at the given indices, one per class, followed by the background words."""
    chosen = [*places, *np.flatnonzero(texts.class_ids == 0)]
    return TextFeatures(texts.class_ids[chosen], texts.features[chosen], texts.logit_scale)


def test_cam_fusion_is_the_mean_of_one_cam_per_synonym(model, photo):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig(fusion="cam"))
    assert texts.class_ids[:6].tolist() == [1, 1, 2, 3, 3, 3]  # bird avian, dog, person people human

    fused = cams_of(backbone, texts, photo, [3, 1, 2])

    alone = [cams_of(backbone, texts_of_pass(texts, at), photo, [3, 1, 2]) for at in ((3, 0, 2), (4, 1, 2), (5, 0, 2))]
    for name in ("scores", "cam"):
        first, second, third = (getattr(each, name) for each in alone)
        expected = [(first[0] + second[0] + third[0]) / 3, (first[1] + second[1]) / 2, first[2]]
        assert_allclose(getattr(fused, name), expected, rtol=0, atol=1e-5)
        assert np.abs(first[1] + second[1] - 2 * third[1]).max() > 1e-3  # the mean has no third pass


def test_each_synonym_costs_one_backward_pass(model, photo):
    backbone, texts = VitBackbone(model.visual, "cls"), features_of(model, PromptsConfig(fusion="cam"))
    passes = []
    backbone.visual.ln_post.register_full_backward_hook(lambda *_: passes.append(1))
    cams_of(backbone, texts, photo, [3, 1, 2])
    assert len(passes) == 3 + 2 + 1


VIEWS = {"scales": (0.5, 1.0, 1.5), "flip": True}


@pytest.mark.parametrize("cam", [{}, VIEWS, {"softmax": False, "refine": "mhsa", "flip": True}, {"refine": "none"}])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_a_batch_equals_its_single_photos_for_all_settings(model, photo, large_scene, fusion, cam):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig(fusion=fusion))
    photos = [photo, large_scene.crop((0, 0, *photo.size)), photo.rotate(180)]
    class_ids = [[2], [3, 1, 2, 4], [4, 3]]
    batch = photo_cams(backbone, texts, photos, class_ids, CamConfig(**cam))
    for one, ids, cams in zip(photos, class_ids, batch, strict=True):
        assert cams.cam.shape == cams.refined_cam.shape == (len(ids), 8, 10)
        assert_same(cams, cams_of(backbone, texts, one, ids, **cam), atol=1e-5)


def test_the_network_runs_once_per_batch_however_many_classes_and_synonyms(model, photo):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig(fusion="cam"))
    runs = []
    for block in backbone.visual.transformer.resblocks:
        block.mlp.c_fc.register_forward_hook(lambda _module, inputs, _output: runs.append(len(inputs[0])))
    photo_cams(backbone, texts, [photo] * 3, [[1], [1, 2, 3, 4], [3]], CamConfig())
    assert runs == [3] * 12


def test_no_argument_is_mutated(model, photo):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig(fusion="cam"))
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    pixels, features, class_ids = np.array(photo), texts.features.copy(), [3, 1]
    random_state = torch.random.get_rng_state()
    first = cams_of(backbone, texts, photo, class_ids, flip=True)
    assert np.array_equal(np.array(photo), pixels)
    assert np.array_equal(texts.features, features)
    assert class_ids == [3, 1]
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in (*model.parameters(), *backbone.visual.parameters()))
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert_same(cams_of(backbone, texts, photo, class_ids, flip=True), first, atol=0)


def test_without_refinement_the_refined_cams_are_a_copy_of_the_initial_ones(model, photo):
    cams = cams_of(VitBackbone(model.visual), features_of(model, PromptsConfig()), photo, CLASS_IDS, refine="none")
    assert np.array_equal(cams.cam, cams.refined_cam)
    cams.cam[:] = -1
    assert cams.refined_cam.min() == 0


def test_refined_cams_are_empty_if_the_boxes_are_empty(model, photo):
    # a single row of patches is also the last row, which no box includes
    cams = cams_of(VitBackbone(model.visual), features_of(model, PromptsConfig()), photo.resize((100, 16)), CLASS_IDS)
    assert cams.cam.max() > 0.99
    assert not any(box_mask(one, 0.4).any() for one in cams.cam)
    assert not cams.refined_cam.any()


def test_damaged_weights_never_give_a_result_that_is_not_finite(model, photo):
    """Enlarge one weight of some layers so far that sums overflow, and expect finite CAMs or an error."""
    refused, texts = 0, features_of(model, PromptsConfig())
    for name in list(dict(model.visual.named_parameters()))[::5]:
        visual = copy.deepcopy(model.visual)
        weight = visual.get_parameter(name).data.view(-1)
        weight[len(weight) // 2] = 3e38
        try:
            (cams,) = photo_cams(VitBackbone(visual), texts, [photo.resize((32, 32))], [[1]], CamConfig())
        except PhotoError as error:
            refused += error.kind == ErrorKind.NOT_FINITE
        else:
            assert all(np.isfinite(values).all() for values in (cams.scores, cams.cam, cams.refined_cam)), name
    assert refused > 5


@pytest.mark.parametrize("cam", [{}, {"refine": "none"}, {"scales": [1.0, 0.5], "flip": True, "softmax": False}])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_templates_share_one_encoding_and_equal_each_template_alone(model, photo, fusion, cam):
    backbone = CountingBackbone(model.visual)
    sets = [
        features_of(model, PromptsConfig(template=template, fusion=fusion)) for template in ("a {}.", "one weird {}.")
    ]
    photos, class_ids = [photo, photo.rotate(180)], [CLASS_IDS, [4]]

    config = CamConfig(**cam)
    viewer = Viewer(list_views(config), backbone.patch_size)
    together = finish(cams_of_batch(backbone, sets, [viewer.show(each) for each in photos], class_ids, config))

    assert backbone.encoded == len(config.scales) * (2 if cam.get("flip") else 1)
    for place, texts in enumerate(sets):
        alone = photo_cams(backbone, texts, photos, class_ids, config)
        for of_photo, expected in zip(together, alone, strict=True):
            assert_same(of_photo[place], expected, atol=1e-4)
    assert np.abs(together[0][0].cam - together[0][1].cam).max() > 1e-3


class CountingBackbone(VitBackbone):
    """A backbone that counts the batches it encodes."""

    encoded = 0

    def encode(self, photos_rgb, attention_blocks=0):
        self.encoded += 1
        return super().encode(photos_rgb, attention_blocks)


def test_refuses_photos_of_several_sizes(model, photo):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig())
    expected = r"must have the same size, .*: got 2 images of sizes \[\(20, 30\), \(157, 121\)\] and 2 lists"
    with pytest.raises(ShapeError, match=expected):
        photo_cams(backbone, texts, [photo, photo.resize((20, 30))], [[1], [1]], CamConfig())


@pytest.mark.parametrize("class_ids", [[], [[1]], [[1]] * 3])
def test_refuses_a_number_of_class_id_lists_other_than_one_per_photo(model, photo, class_ids):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig())
    expected = rf"got 2 images of sizes \[\(157, 121\)\] and {len(class_ids)} lists of class ids"
    with pytest.raises(ShapeError, match=expected):
        photo_cams(backbone, texts, [photo, photo], class_ids, CamConfig())


def test_refuses_a_photo_without_classes(model, photo):
    backbone, texts = VitBackbone(model.visual), features_of(model, PromptsConfig())
    with pytest.raises(ShapeError, match=r"class_ids must be one or more ids in 1..4 that have texts, got \[\]"):
        photo_cams(backbone, texts, [photo, photo], [[1], []], CamConfig())
