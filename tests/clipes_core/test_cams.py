from itertools import product

import cv2
import numpy as np
import open_clip
import pytest
import torch
from numpy.testing import assert_allclose
from open_clip.factory import get_model_config
from open_clip.model import CLIP
from PIL import Image
from support import oracle

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.models.clip import load_clip
from clipes_core.affinity import box_mask
from clipes_core.backbone import Backbone
from clipes_core.cams import photo_cams, template_cams
from clipes_core.config.run import CamConfig, ClipConfig, PromptsConfig
from clipes_core.errors import ShapeError
from clipes_core.prompts import text_feature, vocabulary_texts
from clipes_core.text_features import TextFeatures
from clipes_core.vocabulary import Vocabulary

PHOTOS = (
    *("2007_000063", "2007_000068", "2007_000256", "2007_000363", "2007_000392", "2007_000504"),
    *("2007_001185", "2007_001340", "2007_001420"),
)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOKENIZER = open_clip.SimpleTokenizer(context_length=77)
VOCABULARY = Vocabulary.model_validate(
    {
        "classes": [
            {"name": "bird", "words": "bird avian", "synonyms": ["bird", "avian"]},
            {"name": "dog"},
            {"name": "person", "words": "person with clothes,people", "synonyms": ["person", "people", "human"]},
            {"name": "cat"},
        ],
        "background_words": ["sky", "sea", "grass"],
    }
)
CLASS_IDS = [3, 1, 2]  # with three, two and one synonyms


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(golden):
    return oracle.oracle_model(golden / "small_vit.pt").eval()


@pytest.fixture(scope="module")
def voc_texts(model):
    return features_of(model, PromptsConfig(), load_vocabulary("voc12"))


@pytest.fixture(scope="module")
def photo(real_data):
    """A photo reduced to 8 x 10 patches of 16 px, neither side a multiple."""
    return opened(real_data, "2007_001185").resize((157, 121))


@pytest.fixture(scope="module")
def made(golden, real_data, voc_texts):
    """The CAMs of all golden photos in each precision, one by one."""
    visual = load_clip(ClipConfig(pretrained=str(golden / "small_vit.pt"))).model.visual
    return {
        precision: made_by(Backbone(visual, dtype=DTYPES[precision]), golden, real_data, voc_texts)
        for precision in DTYPES
    }


def made_by(backbone, golden, real_data, texts):
    return {
        image_id: cams_of(backbone, texts, opened(real_data, image_id), golden_ids(golden, image_id))
        for image_id in PHOTOS
    }


def opened(real_data, image_id):
    return Image.open(real_data / "JPEGImages" / f"{image_id}.jpg").convert("RGB")


def golden_ids(golden, image_id):
    return np.load(golden / f"{image_id}.npz")["class_ids"].tolist()


def features_of(model, prompts, vocabulary=VOCABULARY):
    texts = vocabulary_texts(vocabulary, prompts)
    features = [text_feature(model, TOKENIZER, text.phrases, prompts.templates).numpy() for text in texts]
    return TextFeatures(
        np.array([text.class_id for text in texts]), np.stack(features), float(model.logit_scale.detach().exp())
    )


def cams_of(backbone, texts, photo, class_ids, **cam):
    (cams,) = photo_cams(backbone, texts, [photo], [class_ids], CamConfig(**cam))
    return cams


def assert_same(actual, expected, atol):
    assert_allclose(actual.scores, expected.scores, rtol=0, atol=atol)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=atol)
    assert_allclose(actual.refined_cam, expected.refined_cam, rtol=0, atol=atol)


# The published program


@pytest.mark.parametrize("image_id", PHOTOS)
def test_cams_are_the_published_program_s(image_id, made, golden):
    expected, actual = np.load(golden / f"{image_id}.npz"), made["fp32"][image_id]
    assert {actual.scores.dtype, actual.cam.dtype, actual.refined_cam.dtype} == {np.dtype(np.float32)}
    assert_allclose(actual.scores, expected["softmax_scores"], rtol=0, atol=1e-5)
    assert_allclose(actual.cam, expected["cam"], rtol=0, atol=1e-3)
    assert_allclose(actual.refined_cam, expected["refined_cam"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_changes_hardly_a_mask(precision, made, golden, real_data):
    same = {"published": [], "fp32": []}
    for image_id in PHOTOS:
        size = opened(real_data, image_id).size
        mask = argmax_mask(made[precision][image_id].refined_cam, size)
        same["published"].append(mask == argmax_mask(np.load(golden / f"{image_id}.npz")["refined_cam"], size))
        same["fp32"].append(mask == argmax_mask(made["fp32"][image_id].refined_cam, size))
    for agreeing in same.values():
        assert np.concatenate([one.ravel() for one in agreeing]).mean() >= 0.995


def argmax_mask(refined, size):
    """0 or the number of the class with the largest CAM, at the photo's (width, height)."""
    maps = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in refined])
    return np.concatenate([1 - maps.max(axis=0, keepdims=True), maps]).argmax(axis=0)


@pytest.mark.parametrize("precision", DTYPES)
def test_scores_hold_in_each_precision(precision, made, golden):
    for image_id in PHOTOS:
        expected = np.load(golden / f"{image_id}.npz")["softmax_scores"]
        assert_allclose(made[precision][image_id].scores, expected, rtol=0.02)


@pytest.mark.parametrize(
    "image_ids",
    [
        ("2007_000063", "2007_000068", "2007_001185", "2007_001340"),  # 500 x 375, of 2, 1, 4 and 3 classes
        ("2007_000392", "2007_001420"),  # 500 x 332, of 2 and 3
    ],
)
def test_a_batch_of_photos_with_different_numbers_of_classes_is_its_photos(
    image_ids, model, voc_texts, made, golden, real_data
):
    photos = [opened(real_data, image_id) for image_id in image_ids]
    class_ids = [golden_ids(golden, image_id) for image_id in image_ids]
    batch = photo_cams(Backbone(model.visual), voc_texts, photos, class_ids, CamConfig())
    for image_id, cams in zip(image_ids, batch, strict=True):
        assert_same(cams, made["fp32"][image_id], atol=1e-5)


# The oracle, switch by switch


def oracle_words(class_ids, fusion):
    entries = [VOCABULARY.classes[class_id - 1] for class_id in class_ids]
    return [[entry.sentence_words] if fusion == "sentence" else list(entry.separate_words) for entry in entries]


def assert_like_the_oracle(model, photo, prompts, pooling="patch_mean", class_ids=CLASS_IDS, **cam):
    """Scores and initial CAMs to the oracle's; each refined CAM to what the oracle makes of that very CAM.

    A cell at the threshold of its box would turn a difference of 1e-6 into one of 1e-2, if the oracle refined
    its own CAM.
    """
    actual = cams_of(Backbone(model.visual, pooling), features_of(model, prompts), photo, class_ids, **cam)
    switches = {"templates": prompts.templates, "fusion": prompts.fusion, "pooling": pooling, **cam}
    background = VOCABULARY.background_words if prompts.background else ()
    words = oracle_words(class_ids, prompts.fusion)
    expected = oracle.oracle_cams(model, photo, words, background, **{**switches, "refine": "none"})
    assert_allclose(actual.scores, expected.scores, rtol=1e-4)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=1e-4)
    pixels = oracle.view_pixels(photo, 1.0, oracle.patch_size(model), mirrored=False)
    attentions = oracle.visual_pass(model, pixels, pooling).attentions
    chosen = oracle.CamSwitches(**switches)
    refined = [oracle.refined_cam(one.astype(np.float64), attentions, chosen) for one in actual.cam]
    assert_allclose(actual.refined_cam, refined, rtol=0, atol=5e-5)


@pytest.mark.parametrize("fusion", ["sentence", "feature", "cam"])
@pytest.mark.parametrize(
    ("softmax", "pooling", "refine"),
    list(product([True, False], ["patch_mean", "cls"], ["none", "mhsa", "caa"])),
)
def test_scores_pooling_refinement_and_fusion(model, photo, softmax, pooling, refine, fusion):
    assert_like_the_oracle(model, photo, PromptsConfig(fusion=fusion), pooling, softmax=softmax, refine=refine)


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_classes_without_background_words(model, photo, fusion, softmax):
    assert_like_the_oracle(model, photo, PromptsConfig(fusion=fusion, background=False), softmax=softmax)


@pytest.mark.parametrize("fusion", ["sentence", "feature", "cam"])
def test_several_templates(model, photo, fusion):
    templates = ("a clean origami {}.", "a rendering of a weird {}.", "{} in a photo")
    assert_like_the_oracle(model, photo, PromptsConfig(template=templates, fusion=fusion))


@pytest.mark.parametrize("box_threshold", [0, 0.4, 0.7, 0.95])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_box_thresholds(model, photo, box_threshold, fusion):
    assert_like_the_oracle(model, photo, PromptsConfig(fusion=fusion), box_threshold=box_threshold)


@pytest.mark.parametrize("attention_blocks", [1, 3, 12, 40])
@pytest.mark.parametrize("refine", ["mhsa", "caa"])
def test_attention_blocks(model, photo, attention_blocks, refine):
    assert_like_the_oracle(model, photo, PromptsConfig(), refine=refine, attention_blocks=attention_blocks)


@pytest.mark.parametrize("sinkhorn_rounds", [0, 1, 3])
@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_sinkhorn_rounds_and_powers(model, photo, sinkhorn_rounds, power):
    assert_like_the_oracle(model, photo, PromptsConfig(), sinkhorn_rounds=sinkhorn_rounds, power=power)


@pytest.mark.parametrize("class_ids", [[4], [2, 4, 1, 3], [3, 2]])
def test_classes_in_any_number_and_order(model, photo, class_ids):
    assert_like_the_oracle(model, photo, PromptsConfig(fusion="cam"), class_ids=class_ids)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (300, 33), (5, 5)])
def test_photos_of_any_size(model, photo, size):
    assert_like_the_oracle(model, photo.resize(size), PromptsConfig())


@pytest.mark.parametrize("image_id", ["2007_000256", "2007_001420"])
def test_whole_photos_go_all_the_way_as_the_oracle_s(image_id, model, made, golden, real_data):
    words = [[oracle.VOC_WORDS[class_id - 1]] for class_id in golden_ids(golden, image_id)]
    expected, actual = oracle.oracle_cams(model, opened(real_data, image_id), words), made["fp32"][image_id]
    assert_allclose(actual.scores, expected.scores, rtol=1e-4)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=1e-4)
    assert_allclose(actual.refined_cam, expected.refined, rtol=0, atol=1e-4)


# Scales and mirrors

VIEWS = {"scales": (0.5, 1.0, 1.5), "flip": True}


@pytest.mark.parametrize("fusion", ["sentence", "cam"])
@pytest.mark.parametrize("refine", ["none", "mhsa"])
@pytest.mark.parametrize("views", [{"scales": (0.5, 1.0, 1.5)}, {"flip": True}, VIEWS, {"scales": (1.5,)}])
def test_scales_and_mirrors_are_averaged_as_the_oracle_s(model, photo, views, refine, fusion):
    # without boxes nothing jumps, so that the oracle may go all the way by itself
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig(fusion=fusion))
    actual = cams_of(backbone, texts, photo, CLASS_IDS, refine=refine, **views)
    words = oracle_words(CLASS_IDS, fusion)
    background = VOCABULARY.background_words
    expected = oracle.oracle_cams(model, photo, words, background, refine=refine, fusion=fusion, **views)
    assert actual.cam.shape == (3, 8, 10)
    assert_allclose(actual.scores, expected.scores, rtol=1e-4)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=1e-4)
    assert_allclose(actual.refined_cam, expected.refined, rtol=0, atol=1e-4)


@pytest.mark.parametrize("views", [VIEWS, {"scales": (1.5, 0.5), "flip": False}])
def test_boxed_cams_are_averaged_over_photos_resized_and_mirrored_by_hand(model, photo, views):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig())
    actual = cams_of(backbone, texts, photo, CLASS_IDS, **views)
    seen = []
    for scale, mirrored in product(views["scales"], (False, True) if views["flip"] else (False,)):
        view = Image.fromarray(oracle.view_pixels(photo, scale, 16, mirrored))
        cams = cams_of(backbone, texts, view, CLASS_IDS)
        upright = [maps[:, :, ::-1] if mirrored else maps for maps in (cams.cam, cams.refined_cam)]
        seen.append((cams.scores, *(oracle.resized(maps, (8, 10)) for maps in upright)))
    for result, parts in zip((actual.scores, actual.cam, actual.refined_cam), zip(*seen, strict=True), strict=True):
        assert_allclose(result, np.mean(parts, axis=0), atol=1e-5)


# Every switch does something


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
def test_a_switch_changes_its_part_and_no_other(model, photo, changes, what):
    plain, changed = (with_switches(model, photo, **some) for some in ({}, changes))
    moved = {
        name: float(np.abs(getattr(plain, name) - getattr(changed, name)).max())
        for name in ("scores", "cam", "refined_cam")
    }
    assert {name for name, distance in moved.items() if distance > 1e-3} == set(what), moved
    assert all(moved[name] < 1e-5 for name in moved.keys() - set(what)), moved


def with_switches(model, photo, cam=None, prompts=None, pooling="patch_mean"):
    texts = features_of(model, PromptsConfig(**prompts or {}))
    return cams_of(Backbone(model.visual, pooling), texts, photo, CLASS_IDS, **cam or {})


def test_more_attention_blocks_than_the_network_has_are_all_of_them(model, photo):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig())
    all_blocks, more = (cams_of(backbone, texts, photo, CLASS_IDS, attention_blocks=n) for n in (12, 40))
    assert_same(more, all_blocks, atol=0)


def test_the_only_text_of_a_photo_has_no_competitor_and_so_no_cam(model, photo):
    texts = features_of(model, PromptsConfig(background=False))
    cams = cams_of(Backbone(model.visual), texts, photo, [2])
    assert cams.scores.tolist() == [1]
    assert not cams.cam.any()
    assert not cams.refined_cam.any()
    assert cams_of(Backbone(model.visual), texts, photo, [2], softmax=False).cam.max() > 0.99


# Other networks


def small_clip(quick_gelu=True, **vision):
    """A CLIP with three blocks of width 64 on patches of 8 px, and two of text; weights and biases random."""
    vision_cfg = {"image_size": 48, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8} | vision
    text_cfg = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        clip = CLIP(embed_dim=32, vision_cfg=vision_cfg, text_cfg=text_cfg, quick_gelu=quick_gelu)
        for weight in clip.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    return clip.eval().requires_grad_(False)


def named_clip(name):
    """OpenCLIP's network of this name with its initial weights, but one block of text."""
    sizes = get_model_config(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIP(**sizes | {"text_cfg": sizes["text_cfg"] | {"layers": 1}}).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({}, "patch_mean"),
        ({"quick_gelu": False}, "patch_mean"),
        ({"ls_init_value": 0.5}, "patch_mean"),
        ({"no_ln_pre": True}, "patch_mean"),
        ({"final_ln_after_pool": True}, "cls"),  # the oracle norms before it pools; one token is the same
        ({"image_size": (32, 64)}, "patch_mean"),
        ({"layers": 1}, "patch_mean"),
        ({"head_width": 64, "mlp_ratio": 2.5, "patch_size": 16}, "patch_mean"),
    ],
    ids=str,
)
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_small_netshard_runners_any_layout(photo, settings, pooling, fusion):
    assert_like_the_oracle(small_clip(**settings), photo, PromptsConfig(fusion=fusion), pooling, attention_blocks=2)


@pytest.mark.parametrize(
    ("name", "size"), [("ViT-B-32-quickgelu", (150, 100)), ("ViT-B-32", (96, 96)), ("ViT-L-14-quickgelu", (70, 50))]
)
def test_netshard_runners_open_clip_s_sizes(photo, name, size):
    assert_like_the_oracle(named_clip(name), photo.resize(size), PromptsConfig())


# One CAM per synonym


def pass_of(texts, places):
    """Texts of which each class has one: those at some places, and the background words."""
    chosen = [*places, *np.flatnonzero(texts.class_ids == 0)]
    return TextFeatures(texts.class_ids[chosen], texts.features[chosen], texts.logit_scale)


def test_cam_fusion_is_the_mean_of_one_cam_per_synonym(model, photo):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig(fusion="cam"))
    assert texts.class_ids[:6].tolist() == [1, 1, 2, 3, 3, 3]  # bird avian, dog, person people human

    fused = cams_of(backbone, texts, photo, [3, 1, 2])

    alone = [cams_of(backbone, pass_of(texts, at), photo, [3, 1, 2]) for at in ((3, 0, 2), (4, 1, 2), (5, 0, 2))]
    for name in ("scores", "cam"):
        first, second, third = (getattr(each, name) for each in alone)
        expected = [(first[0] + second[0] + third[0]) / 3, (first[1] + second[1]) / 2, first[2]]
        assert_allclose(getattr(fused, name), expected, rtol=0, atol=1e-5)
        assert np.abs(first[1] + second[1] - 2 * third[1]).max() > 1e-3  # a third pass would be seen


def test_a_synonym_costs_one_backward_pass(model, photo):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig(fusion="cam"))
    passes = []
    backbone.visual.ln_post.register_full_backward_hook(lambda *_: passes.append(1))
    cams_of(backbone, texts, photo, [3, 1, 2])
    assert len(passes) == 3 + 2 + 1


# Batches, cost and care


@pytest.mark.parametrize("cam", [{}, VIEWS, {"softmax": False, "refine": "mhsa", "flip": True}, {"refine": "none"}])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_batches_are_single_photos_under_any_switches(model, photo, real_data, fusion, cam):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig(fusion=fusion))
    photos = [photo, opened(real_data, "2007_000068").resize(photo.size), photo.rotate(180)]
    class_ids = [[2], [3, 1, 2, 4], [4, 3]]
    batch = photo_cams(backbone, texts, photos, class_ids, CamConfig(**cam))
    for one, ids, cams in zip(photos, class_ids, batch, strict=True):
        assert cams.cam.shape == cams.refined_cam.shape == (len(ids), 8, 10)
        assert_same(cams, cams_of(backbone, texts, one, ids, **cam), atol=1e-5)


def test_the_network_runs_once_per_batch_however_many_classes_and_synonyms(model, photo):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig(fusion="cam"))
    runs = []
    for block in backbone.visual.transformer.resblocks:
        block.mlp.register_forward_hook(lambda _module, inputs, _output: runs.append(len(inputs[0])))
    photo_cams(backbone, texts, [photo] * 3, [[1], [1, 2, 3, 4], [3]], CamConfig())
    assert runs == [3] * 12


@pytest.mark.parametrize("cam", [{}, {"refine": "none"}, {"scales": [1.0, 0.5], "flip": True, "softmax": False}])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_several_templates_give_what_each_gives_alone_from_one_encoding(model, photo, fusion, cam):
    backbone = CountingBackbone(model.visual)
    sets = [
        features_of(model, PromptsConfig(template=template, fusion=fusion)) for template in ("a {}.", "one weird {}.")
    ]
    photos, class_ids = [photo, photo.rotate(180)], [CLASS_IDS, [4]]

    together = template_cams(backbone, sets, photos, class_ids, CamConfig(**cam))

    assert backbone.encoded == len(CamConfig(**cam).scales) * (2 if cam.get("flip") else 1)
    for place, texts in enumerate(sets):
        alone = photo_cams(backbone, texts, photos, class_ids, CamConfig(**cam))
        for of_photo, expected in zip(together, alone, strict=True):
            assert_same(of_photo[place], expected, atol=1e-4)
    assert np.abs(together[0][0].cam - together[0][1].cam).max() > 1e-3


class CountingBackbone(Backbone):
    """Knows how many batches it has encoded."""

    encoded = 0

    def encode(self, pixels, attention_blocks=0):
        self.encoded += 1
        return super().encode(pixels, attention_blocks)


def test_nothing_given_is_mutated(model, photo):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig(fusion="cam"))
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


def test_initial_and_refined_cams_without_refinement_are_equal_but_apart(model, photo):
    cams = cams_of(Backbone(model.visual), features_of(model, PromptsConfig()), photo, CLASS_IDS, refine="none")
    assert np.array_equal(cams.cam, cams.refined_cam)
    cams.cam[:] = -1
    assert cams.refined_cam.min() == 0


def test_refined_cams_are_empty_where_the_boxes_are(model, photo):
    # one row of patches: it is the last one, which no box reaches
    cams = cams_of(Backbone(model.visual), features_of(model, PromptsConfig()), photo.resize((100, 16)), CLASS_IDS)
    assert cams.cam.max() > 0.99
    assert not any(box_mask(one, 0.4).any() for one in cams.cam)
    assert not cams.refined_cam.any()


def test_refuses_photos_of_several_sizes(model, photo):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig())
    expected = r"one size with class ids each, got 2 of sizes \[\(20, 30\), \(157, 121\)\] with 2 lists"
    with pytest.raises(ShapeError, match=expected):
        photo_cams(backbone, texts, [photo, photo.resize((20, 30))], [[1], [1]], CamConfig())


@pytest.mark.parametrize("class_ids", [[], [[1]], [[1]] * 3])
def test_refuses_other_than_one_list_of_class_ids_per_photo(model, photo, class_ids):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig())
    expected = rf"got 2 of sizes \[\(157, 121\)\] with {len(class_ids)} lists of class ids"
    with pytest.raises(ShapeError, match=expected):
        photo_cams(backbone, texts, [photo, photo], class_ids, CamConfig())


def test_refuses_a_photo_without_classes(model, photo):
    backbone, texts = Backbone(model.visual), features_of(model, PromptsConfig())
    with pytest.raises(ShapeError, match=r"class_ids must be one or more of 1..4, which have texts, got \[\]"):
        photo_cams(backbone, texts, [photo, photo], [[1], []], CamConfig())
